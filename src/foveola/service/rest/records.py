"""The fields of a record, as a form sends them."""

import json
from typing import Annotated, Any, Literal

from fastapi import Form, HTTPException

from foveola.cases import Case, Scalar
from foveola.datasets import cells
from foveola.datasets.faults import Faults

LONGEST = 200  # characters of a text
MOST = 100  # further columns
PLAIN = r"^[^\x00-\x1f\x7f]*$"  # no line ends and other invisible signs


def record_of(
    subject: Annotated[
        str | None, Form(max_length=LONGEST, pattern=PLAIN, description="pseudonym of the person")
    ] = None,
    collection: Annotated[
        str, Form(max_length=LONGEST, pattern=PLAIN, description="name space of the pseudonym")
    ] = "",
    eye: Annotated[Literal["left", "right"] | None, Form()] = None,
    visit: Annotated[
        str | None,
        Form(max_length=40, description="months since the first visit, or an ISO date"),
    ] = None,
    grade: Annotated[int | None, Form(ge=0, le=4, description="ICDR")] = None,
    findings: Annotated[
        str | None,
        Form(
            max_length=LONGEST, pattern=PLAIN,
            description='labels, "D;H"; ";" says that somebody looked and found none',
        ),
    ] = None,
    extra: Annotated[
        str | None,
        Form(max_length=10_000, description='further columns, a JSON object: {"age": 61}'),
    ] = None,
) -> Case:  # fmt: skip
    """The record that a form describes, by the rules of a manifest; it has no photograph yet."""
    text = None if not findings else cells.findings([findings])[0]
    return Case(
        image="", path="", subject=subject or None, collection=collection, eye=eye,
        visit=visit_of(visit), grade=grade, extra=_extra(extra),
        findings=None if text is None else cells.split_findings(text),
    )  # fmt: skip


def visit_of(text: str | None) -> float | str | None:
    """Months or an ISO date."""
    if text is None or not text.strip():
        return None
    faults = Faults()
    (visit,) = cells.visits([text.strip()], [1], faults)
    if visit is None:
        raise HTTPException(422, "visit: expected months, such as 6, or a date, such as 2026-03-31")
    return visit


def _extra(text: str | None) -> dict[str, Scalar]:
    if not text:
        return {}
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or len(values) > MOST:
        raise HTTPException(422, f"extra: expected a JSON object of at most {MOST} columns")
    return {_name(key): _scalar(value) for key, value in values.items()}


def _name(key: str) -> str:
    fixed = ("image", "path", "subject", "eye", "visit", "grade", "findings", "collection")
    if not key or len(key) > LONGEST or not key.isprintable() or key.lower() in fixed:
        raise HTTPException(422, "extra: a column has no name, or one that is taken or too long")
    return key


def _scalar(value: Any) -> Scalar:
    if isinstance(value, str) and len(value) <= LONGEST and (value.isprintable() or not value):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
        return value
    if isinstance(value, float) and abs(value) < float("inf"):
        return value
    raise HTTPException(422, f"extra: expected texts of up to {LONGEST} characters, and numbers")

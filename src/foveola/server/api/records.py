"""The fields of a record, as a form sends them."""

import json
from typing import Annotated, Any, Literal

from fastapi import Form, HTTPException
from pydantic import BeforeValidator, Field

from foveola.datasets import cells
from foveola.datasets.tables import Faults
from foveola.records import PLAIN, RESERVED, Case, Scalar, is_missing

LONGEST = 200  # characters of a text
MOST = 100  # further columns


def _told(value: Any) -> Any:
    """None for what stands for an unknown value, as in a manifest."""
    return None if isinstance(value, str) and is_missing(value) else value


Told = BeforeValidator(_told)


def record_of(
    subject: Annotated[
        str | None, Form(max_length=LONGEST, pattern=PLAIN, description="pseudonym of the person")
    ] = None,
    collection: Annotated[str, Form(max_length=LONGEST, pattern=PLAIN, description="name space of the pseudonym")] = "",
    eye: Annotated[Literal["left", "right"] | None, Told, Form()] = None,
    visit: Annotated[
        str | None, Form(max_length=40, description="months since the first visit, or an ISO date")
    ] = None,
    grade: Annotated[Annotated[int, Field(ge=0, le=4)] | None, Told, Form(description="ICDR")] = None,
    findings: Annotated[
        str | None,
        Form(
            max_length=LONGEST, pattern=PLAIN, description='labels, "D;H"; ";" says that somebody looked and found none'
        ),
    ] = None,
    extra: Annotated[
        str | None, Form(max_length=10_000, description='further columns, a JSON object: {"age": 61}')
    ] = None,
) -> Case:
    """The record that a form describes, by the rules of a manifest; it has no photograph yet."""
    text = None if not findings else cells.findings([findings])[0]
    return Case(
        image="",
        path="",
        subject=_subject(subject),
        collection=collection,
        eye=eye,
        visit=cells.visit_of(visit),
        grade=grade,
        extra=_extra(extra),
        findings=None if text is None else cells.split_findings(text),
    )


def _subject(text: str | None) -> str | None:
    faults = Faults()
    (subject,) = cells.identifiers("subject", [text or ""], [1], faults)
    cells.check_broken("subject", [subject or ""], [1], faults)
    if faults:
        raise HTTPException(
            422, "subject: a date, a number that a spreadsheet rounded, or its error; send it as it was given"
        )
    return subject


def _extra(text: str | None) -> dict[str, Scalar]:
    if not text:
        return {}
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or len(values) > MOST:
        raise HTTPException(422, f"extra: expected a JSON object of at most {MOST} columns")
    return {_name(key): _scalar(value) for key, value in values.items() if _told(value) is not None}


def _name(key: str) -> str:
    if not key or len(key) > LONGEST or not key.isprintable() or key.lower() in RESERVED:
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

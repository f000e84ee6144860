"""A data set in numbers: the data card, and the mark of a split. No subject is named."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from foveola.records import Case

MOST_FINDINGS = 12  # in a card; the rest are counted together


def summarise(cases: Sequence[Case]) -> dict[str, Any]:
    """Summarise what a set of photographs holds, in plain types.

    Args:
        cases: of one data set, or of a part of it.

    Returns:
        images, subjects (of the images whose subject is known), subject_unknown, eyes, grades
        and findings with their counts ("unknown" where not given), columns (name to number of
        values known), and mark: 16 hexadecimal digits that change when any image is added, left
        out or renamed, but not with their order.
    """
    known = [case.subject for case in cases if case.subject is not None]
    findings = Counter(f for case in cases for f in case.findings or ())
    common = dict(findings.most_common(MOST_FINDINGS))
    rest = {f"{len(findings) - len(common)} others": findings.total() - sum(common.values())}
    columns = Counter(name for case in cases for name, value in case.extra.items() if value not in (None, ""))
    return {
        "images": len(cases),
        "subjects": len(set(known)),
        "subject_unknown": len(cases) - len(known),
        "eyes": _counts(case.eye for case in cases),
        "grades": _counts(case.grade for case in cases),
        "findings": common | (rest if len(findings) > len(common) else {}),
        "columns": dict(sorted(columns.items())),
        "mark": mark(cases),
    }


def mark(cases: Iterable[Case]) -> str:
    """Hash the names of the images, with which a split can be checked without being shown."""
    names = sorted(case.image for case in cases)
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def render_data_card(title: str, summary: Mapping[str, Any], terms: str = "") -> str:
    """Write the data card in Markdown.

    Args:
        title: of the data set.
        summary: from `summarise`.
        terms: under which the photographs may be used; says so where it is not known.
    """
    people = f"{summary['subjects']:,} subjects"
    if summary["subject_unknown"]:
        people += f", and {summary['subject_unknown']:,} images of unknown subjects"
    parts = [f"# {title}", f"{summary['images']:,} photographs of {people}. Images marked `{summary['mark']}`."]
    for name, one in (("grades", "grade"), ("eyes", "eye"), ("findings", "finding")):
        if set(summary[name]) - {"unknown"}:
            parts += [f"## {name.capitalize()}", _table(one, summary[name])]
    if summary["columns"]:
        parts += ["## Further columns", _table("column", summary["columns"], "images with a value")]
    parts += ["## Terms", terms or "Not stated. Ask who published the photographs."]
    return "\n\n".join(parts) + "\n"


def _table(name: str, counts: Mapping[str, int], what: str = "images") -> str:
    rows = [f"| {name} | {what} |", "|---|---|"]
    return "\n".join([*rows, *(f"| {key} | {count:,} |" for key, count in counts.items())])


def _counts(values: Iterable[object]) -> dict[str, int]:
    counts = Counter("unknown" if value is None else str(value) for value in values)
    return dict(sorted(counts.items()))

"""What codes are called where people read them."""

from typing import Final

from foveola.records import Case

GRADES: Final = {0: "no DR", 1: "mild NPDR", 2: "moderate NPDR", 3: "severe NPDR", 4: "PDR"}
GRADES_IN_FULL: Final = (
    "DR diabetic retinopathy, NPDR non-proliferative, PDR proliferative; "
    "International Clinical Diabetic Retinopathy scale"
)

# The eight labels of ODIR-5K.
FINDINGS: Final = {
    "N": "normal",
    "D": "diabetes",
    "G": "glaucoma",
    "C": "cataract",
    "A": "AMD",
    "H": "hypertension",
    "M": "myopia",
    "O": "other",
}

NO_DIAGNOSIS: Final = "Probabilities for whoever looks at the photographs; no diagnosis."


def grade_word(grade: int | None) -> str:
    """Return the name of a grade: "moderate NPDR" for 2, "unlabelled" for None."""
    return "unlabelled" if grade is None else GRADES.get(grade, f"grade {grade}")


def label_word(label: str, value: str) -> str:
    """Return a label value in words: "2" of "grade" is "moderate NPDR", "G" of "findings" glaucoma.

    >>> label_word("grade", "2"), label_word("findings", "G")
    ('moderate NPDR', 'glaucoma')
    """
    if label == "grade":
        return GRADES.get(int(value), value) if value.isdecimal() else value
    return finding_word(value) if label == "findings" else value


def finding_word(finding: str) -> str:
    """Return ODIR's letters in full, anything else as it is with spaces for underscores."""
    return FINDINGS.get(finding, finding.replace("_", " "))


def findings_of(case: Case) -> list[str] | None:
    """Return findings in words, sorted; None where nobody looked."""
    return None if case.findings is None else sorted(map(finding_word, case.findings))


def record_words(grade: int | None, findings: frozenset[str] | None) -> list[str]:
    """Return grade and findings in words; "none" of no finding, "-" where nobody looked."""
    found = "-" if findings is None else ", ".join(sorted(map(finding_word, findings))) or "none"
    return [grade_word(grade), found]


def visit_word(visit: float | str | None) -> str | None:
    """Say when it was taken: "first visit" for 0, "month 12" for 12, a date as it is."""
    if visit is None or isinstance(visit, str):
        return visit or None
    return "first visit" if visit == 0 else f"month {visit:g}"


def is_phantom(case: Case) -> bool:
    """Return whether the photograph was generated: the manifest's column "phantom" says so."""
    return str(case.extra.get("phantom", "")).strip().lower() not in {"", "0", "0.0", "false", "no"}


def percent(chance: float) -> str:
    """Return a probability in whole percent; never 0 or 100 %, which no experiment shows."""
    return "< 1 %" if chance < 0.01 else "> 99 %" if chance > 0.99 else f"{100 * chance:.0f} %"

"""What a user ticks, as a condition on the cases."""

from dataclasses import dataclass

from foveola.archive.info import ArchiveInfo
from foveola.words import finding_word, grade_word

MOST = 100  # hits on a page
COUNT = 12


@dataclass(frozen=True)
class Chosen:
    """What was ticked; empty is everything.

    Attributes:
        grades: "0" to "4", and "none" for the unlabelled.
        eye: "left", "right" or "".
        finding: a label, or "".
        where: a condition in words of docs/archive.md, or "".
        count: hits wanted.
    """

    grades: tuple[str, ...] = ()
    eye: str = ""
    finding: str = ""
    where: str = ""
    count: int = COUNT

    def condition(self) -> str | None:
        """As the archive's filter understands it; None for everything."""
        parts = [self._grades(), self._eye(), self._finding(), self.where.strip()]
        said = [f"({part})" for part in parts if part]
        return " and ".join(said) or None

    def _grades(self) -> str:
        numbers = sorted({g for g in self.grades if g.isdecimal()})
        parts = [f"grade in ({', '.join(numbers)})"] if numbers else []
        if "none" in self.grades:
            parts.append("grade is null")
        return " or ".join(parts)

    def _eye(self) -> str:
        return f"eye = {quoted(self.eye)}" if self.eye else ""

    def _finding(self) -> str:
        return f"findings has {quoted(self.finding)}" if self.finding else ""


def quoted(text: str) -> str:
    """A text of a condition: quotes within are doubled."""
    return "'" + text.replace("'", "''") + "'"


def offered(info: ArchiveInfo) -> dict[str, list[tuple[str, str]]]:
    """What can be ticked in an archive: values and their words."""
    grades = [(g, f"{g} {grade_word(int(g))}") for g in info.grades if g.isdecimal()]
    return {
        "grades": grades,
        "eyes": [(eye, eye) for eye in info.eyes if eye in ("left", "right")],
        "findings": [(f, finding_word(f)) for f in info.findings],
    }

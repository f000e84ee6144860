"""What a user ticks, as a condition on the cases."""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from foveola.answers import Order
from foveola.archive import ArchiveInfo
from foveola.labels import finding_word, grade_word
from foveola.relevance.order import ORDERS
from foveola.retrieval import Marks, Retriever

MOST = 100  # hits on a page
COUNT = 12
FIELDS = ("eye", "finding", "camera", "youngest", "oldest", "where", "by", "label")
CAMERA = ("camera", "camera model", "device")


@dataclass(frozen=True)
class Chosen:
    """What was ticked; empty is everything.

    Attributes:
        grades: "0" to "4", and "none" for the unlabelled.
        eye: "left", "right" or "".
        finding: a label, or "".
        camera: column and value with a colon between them, or "".
        youngest, oldest: years in digits, or "".
        where: a condition in words of docs/reference/archive.md, or "".
        by: the order, "" for the archive's own.
        label: that the order is learnt of, "" for the one that most cases have.
        count: hits wanted.
        marks: cases to be more like, and less like.
    """

    grades: tuple[str, ...] = ()
    eye: str = ""
    finding: str = ""
    camera: str = ""
    youngest: str = ""
    oldest: str = ""
    where: str = ""
    by: str = ""
    label: str = ""
    count: int = COUNT
    marks: Marks = field(default_factory=Marks)

    @property
    def order(self) -> Order | None:
        """Return the order that is asked for; None for the archive's own."""
        return next((order for order in ORDERS if order == self.by), None)

    def condition(self) -> str | None:
        """Write it as the archive's filter understands it; None for everything."""
        column, _, value = self.camera.partition(":")
        bounds = ((">=", self.youngest), ("<=", self.oldest))
        parts = (
            self._grades(),
            self.eye and f"eye = {quoted(self.eye)}",
            self.finding and f"findings has {quoted(self.finding)}",
            self.camera and f"{named(column)} = {quoted(value)}",
            " and ".join(f"age {sign} {age}" for sign, age in bounds if age.isdecimal()),
            self.where.strip(),
        )
        said = [f"({part})" for part in parts if part]
        return " and ".join(said) or None

    def address(self, marks: bool = False) -> str:
        """Write it as the rest of an address, to take the same along to another page; "" for everything."""
        said = [("grade", grade) for grade in self.grades]
        said += [(name, value) for name in FIELDS if (value := getattr(self, name))]
        said += [("count", str(self.count))] if self.count != COUNT else []
        if marks:
            said += [(way, str(i)) for way in ("more", "less") for i in getattr(self.marks, way)]
        return "&" + urlencode(said) if said else ""

    def _grades(self) -> str:
        numbers = sorted({g for g in self.grades if g.isdecimal()})
        parts = [f"grade in ({', '.join(numbers)})"] if numbers else []
        if "none" in self.grades:
            parts.append("grade is null")
        return " or ".join(parts)


def named(column: str) -> str:
    """Write a column of a condition."""
    return '"' + column.replace('"', '""') + '"'


def quoted(text: str) -> str:
    """Write a text of a condition: quotes within are doubled.

    >>> quoted("Stargardt's")
    "'Stargardt''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def offered(retriever: Retriever) -> dict[str, Any]:
    """Return what can be ticked in an archive: values and their words; and what it can be ordered by."""
    archive, info = retriever.archive, retriever.archive.info()
    grades = [(g, f"{g} {grade_word(int(g))}") for g in info.grades if g.isdecimal()]
    cameras = camera_columns(info)
    return {
        "grades": grades,
        "eyes": [(eye, eye) for eye in info.eyes if eye in ("left", "right")],
        "findings": [(f, finding_word(f)) for f in info.findings],
        "cameras": [(f"{c}:{v}", v) for c in cameras for v in archive.values(c)],
        "ages": [("age", "age")] if "age" in info.columns else [],
        "labels": retriever.labels(),
    }


def camera_columns(info: ArchiveInfo) -> list[str]:
    """Return the columns that say with which camera a photograph was taken; often none."""
    return [name for name in info.columns if name.lower().replace("_", " ") in CAMERA]

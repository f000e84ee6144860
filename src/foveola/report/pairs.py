"""A page of pairs of photographs with what speaks for and against each: matches, audits."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from foveola.labels import findings_of, grade_word, is_phantom, visit_word
from foveola.records import Case
from foveola.report.pages import render
from foveola.report.views import data_uri


@dataclass(frozen=True, kw_only=True)
class Photograph:
    """One of the photographs of a pair, or a picture made of both.

    Attributes:
        title: what it is, such as "Query" or "Laid over each other".
        picture: JPEG or PNG bytes; None where there is none to show.
        name: of the file.
        facts: what is known of it, in words.
    """

    title: str
    picture: bytes | None
    name: str = ""
    facts: Sequence[tuple[str, str]] = ()

    @classmethod
    def of(cls, title: str, case: Case, picture: bytes | None) -> "Photograph":
        """A case, with what its record says."""
        said = [
            ("Subject", case.subject),
            ("Eye", case.eye),
            ("Visit", visit_word(case.visit)),
            ("Grade", None if case.grade is None else f"{case.grade} {grade_word(case.grade)}"),
            ("Findings", ", ".join(findings_of(case) or ()) or None),
            ("Phantom", "yes" if is_phantom(case) else None),
        ]
        facts = tuple((key, value) for key, value in said if value)
        return cls(title=title, picture=picture, name=case.image, facts=facts)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One entry of the page.

    Attributes:
        title: what is said of the pair.
        badge: a few characters beside it, such as "98 %".
        strong: whether the badge stands out.
        pictures: side by side.
        evidence: what that rests on, in words and numbers.
        note: a sentence below.
    """

    title: str
    badge: str = ""
    strong: bool = False
    pictures: Sequence[Photograph] = ()
    evidence: Sequence[tuple[str, str]] = ()
    note: str = ""


@dataclass(frozen=True)
class _View:
    pair: Pair
    sources: list[str | None] = field(default_factory=list)


def pairs_page(
    pairs: Sequence[Pair], *, title: str, lead: str, facts: Sequence[tuple[str, str]] = (), phantoms: bool = False
) -> str:
    """A page that needs nothing else, see `foveola.report.pages`.

    Args:
        pairs: in the order in which they are to be looked at.
        title: of the page.
        lead: what is to be known before looking, such as "No match."
        facts: how it came about.
        phantoms: whether any photograph is a phantom's, which the page then says.
    """
    views = [_View(pair, [data_uri(p.picture) for p in pair.pictures]) for pair in pairs]
    return render(
        "pairs.html",
        title=title,
        lead=lead,
        facts=facts,
        views=views,
        card=[],
        phantoms=int(phantoms),
        pictures=1 + int(phantoms),
    )

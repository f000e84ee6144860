"""A page of what a reader says of a person: probabilities, where they come from, alike people."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from foveola.labels import finding_word
from foveola.people_search import PersonResult
from foveola.records import Eye
from foveola.report.pages import render
from foveola.report.people import view_people
from foveola.report.shapes import Images
from foveola.report.views import data_uri

SEEN: tuple[Eye, Eye] = ("right", "left")  # as whoever faces the person sees them


@dataclass(frozen=True, kw_only=True)
class Line:
    """One label.

    Attributes:
        name: of the label.
        word: in full.
        percent: of the person, 0 to 100.
        threshold: likewise.
        found: whether it is above.
        eyes: of each eye in SEEN's order, as text; "" of a missing one.
    """

    name: str
    word: str
    percent: float
    threshold: float
    found: bool
    eyes: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A picture of an eye.

    Attributes:
        title: which eye.
        picture: data URI; None where there is none.
        alt: what it shows, read out.
        note: below it.
    """

    title: str
    picture: str | None
    alt: str
    note: str = ""


class EyeShape(Protocol):
    """What is shown of one eye's reading; `foveola.reading.EyeReading` has this shape."""

    @property
    def probabilities(self) -> Iterable[float]: ...  # noqa: D102


class ReadingShape(Protocol):
    """What is shown of a reading; `foveola.reading.Reading` has this shape."""

    @property
    def labels(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def probabilities(self) -> Iterable[float]: ...  # noqa: D102
    @property
    def eyes(self) -> Mapping[Eye, EyeShape]: ...  # noqa: D102
    @property
    def found(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def warnings(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def thresholds(self) -> tuple[float, ...]: ...  # noqa: D102
    @property
    def reader(self) -> str: ...  # noqa: D102
    @property
    def fingerprint(self) -> str: ...  # noqa: D102
    @property
    def refused(self) -> Mapping[Eye, str]: ...  # noqa: D102


def reading_page(
    reading: ReadingShape,
    pictures: Mapping[Eye, bytes],
    evidence: Mapping[str, Mapping[Eye, bytes]],
    *,
    similar: PersonResult | None = None,
    images: Images | None = None,
    title: str = "Reading of both eyes",
) -> str:
    """A page of one person.

    Args:
        reading: of this person.
        pictures: of each eye, JPEG or PNG.
        evidence: of the labels that are shown in pictures, of each eye.
        similar: people of an archive that are alike, best first.
        images: gives their pictures, as for `search_page`.
        title: of the page.
    """
    by_eye = {
        eye: dict(zip(reading.labels, map(_percent, of.probabilities), strict=True)) for eye, of in reading.eyes.items()
    }
    return render(
        "reading.html",
        title=title,
        r=reading,
        lines=_lines(reading, by_eye),
        s=None if similar is None else view_people(similar, images or (lambda _: None)),
        among=None if similar is None else among(similar),
        eyes=[_shown(eye, pictures, "fundus photograph", note=reading.refused.get(eye, "")) for eye in SEEN],
        evidence=[
            (
                finding_word(label),
                [
                    _shown(
                        eye,
                        of,
                        f"where it speaks for {finding_word(label)}",
                        note=by_eye[eye][label] if eye in by_eye else "",
                    )
                    for eye in SEEN
                ],
            )
            for label, of in evidence.items()
        ],
        seen=SEEN,
        phantoms=0,
        pictures=len(pictures),
        card=(),
    )


def _lines(reading: ReadingShape, by_eye: Mapping[Eye, Mapping[str, str]]) -> list[Line]:
    of_labels = zip(reading.labels, reading.probabilities, reading.thresholds, strict=True)
    return [
        Line(
            name=label,
            word=finding_word(label),
            percent=round(100 * float(probability), 1),
            threshold=round(100 * threshold, 1),
            found=label in reading.found,
            eyes=[by_eye[eye][label] if eye in by_eye else "" for eye in SEEN],
        )
        for label, probability, threshold in of_labels
    ]


def among(similar: PersonResult) -> str:
    """How often each finding is among the alike people whose findings are known, in a sentence."""
    known = [hit.findings for hit in similar.hits if hit.findings is not None]
    if not known:
        return ""
    counts = Counter(finding for found in known for finding in found)
    named = ", ".join(f"{finding_word(name)} {count}" for name, count in counts.most_common())
    return f"Of the {len(known)} whose findings are known: {named or 'no finding'}."


def _shown(eye: Eye, pictures: Mapping[Eye, bytes], what: str, note: str = "") -> Shown:
    given = eye in pictures
    return Shown(
        title=f"{eye} eye",
        picture=data_uri(pictures[eye]) if given else None,
        alt=f"{eye} eye, {what}" if given else f"{eye} eye: {note or 'no photograph'}",
        note=note,
    )


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"

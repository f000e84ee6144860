"""From a search to what a template prints: words, numbers and pictures, all computed here.

What a search says of its query, the archive's suggestion first, is used by the report and by the
page of the service alike, with the template suggestion.html. A person's grades by visit become a
small drawing: where each point stands, and what joins them.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Protocol, TypeAlias

from foveola.answers import Order, Suggestion
from foveola.labels import findings_of, grade_word, is_phantom, label_word, visit_word
from foveola.records import Case, Eye
from foveola.relevance.labels import GRADE
from foveola.trust import HitTrust, QueryTrust
from foveola.trust.sentences import (
    LEAST,
    LIKE,
    of_doubt,
    of_hit,
    of_hundred,
    of_order,
    of_person,
    of_picture,
    of_quality,
    of_recorded,
    of_suggestion,
    unrecorded,
)

# The picture of a case as JPEG or PNG bytes, or None where there is none to show.
Images: TypeAlias = Callable[[Case], bytes | None]
ROWS = 8  # of a drawing, at most
_MAGIC = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"))
_SHORT = 12  # letters of a fingerprint: enough to tell encoders apart by eye
WIDTH, HEIGHT = 320.0, 132.0  # of the drawing of a course
LEFT, RIGHT, TOP, BOTTOM = 26.0, 12.0, 10.0, 22.0  # margins
WORST = 4  # grade


class HitShape(Protocol):
    """One case found: rank from 1, cosine similarity from -1 to 1."""

    @property
    def rank(self) -> int: ...  # noqa: D102
    @property
    def similarity(self) -> float: ...  # noqa: D102
    @property
    def case(self) -> Case: ...  # noqa: D102
    @property
    def trust(self) -> HitTrust | None: ...  # noqa: D102


class SearchShape(Protocol):
    """A query and its hits, best first.

    `considered` is the number of cases compared after filter and exclusion, `where` the
    filter as it was typed, `encoder` the name or fingerprint of the encoder, `gradability` the
    query's, from 0 to 1. `order` is that of the hits, `label` what it is learnt of, and `recorded`
    of how many hits that is recorded.
    """

    @property
    def query(self) -> Case: ...  # noqa: D102
    @property
    def hits(self) -> Sequence[HitShape]: ...  # noqa: D102
    @property
    def excluded_same_subject(self) -> int | None: ...  # noqa: D102
    @property
    def considered(self) -> int | None: ...  # noqa: D102
    @property
    def order(self) -> Order: ...  # noqa: D102
    @property
    def label(self) -> str | None: ...  # noqa: D102
    @property
    def recorded(self) -> int | None: ...  # noqa: D102
    @property
    def where(self) -> str | None: ...  # noqa: D102
    @property
    def encoder(self) -> str: ...  # noqa: D102
    @property
    def gradability(self) -> float: ...  # noqa: D102
    @property
    def trust(self) -> QueryTrust | None: ...  # noqa: D102


@dataclass(frozen=True)
class Chance:
    """A label value: its word, how many of 100 with their interval, and the three as lengths.

    Attributes:
        word: of the value.
        count: such as "55 (46 to 63)".
        value, low, high: of 100.
    """

    word: str
    count: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class AnswerView:
    """An answer as it is printed.

    Attributes:
        suggestion: sentences, the first of which is the headline; empty where nothing is suggested.
        caption: of the drawing.
        chances: its rows.
        trust: sentences on the picture and its nearest case.
        sufficient: whether any hit is sufficiently alike.
        doubt: a warning of the photograph's quality, as a sentence.
        order: how the hits are ordered, and how many have the label.
        person: what was left out of the query's own person.
    """

    suggestion: list[str]
    caption: str
    chances: list[Chance]
    trust: list[str]
    sufficient: bool
    doubt: str | None
    order: str
    person: str


def view_answer(result: SearchShape) -> AnswerView:
    """Prepare what is said of a search."""
    trust = result.trust
    suggestion = None if trust is None else trust.suggestion
    recorded = of_recorded(result.label, result.recorded, len(result.hits))
    order = "; ".join(filter(None, [of_order(result.order, result.label), recorded]))
    return AnswerView(
        suggestion=of_suggestion(suggestion, [hit.case for hit in result.hits]),
        caption=LIKE,
        chances=[] if suggestion is None else _chances(suggestion),
        trust=of_picture(trust),
        sufficient=trust is None or trust.sufficient,
        doubt=of_quality(None if trust is None else trust.looks, result.gradability),
        order=order,
        person=of_person(result.query.subject is not None, result.excluded_same_subject),
    )


def _chances(suggestion: Suggestion) -> list[Chance]:
    """What is drawn: every grade in its order; else what is likely, most first."""
    shares = suggestion.shares
    if suggestion.label == GRADE:
        shares = tuple(sorted(shares, key=lambda each: int(each.value)))
    else:
        shares = (tuple(s for s in shares if round(100 * s.share.value) >= LEAST) or shares[:3])[:ROWS]
    chances = []
    for of in shares:
        word = label_word(suggestion.label, of.value)
        low, value, high = (round(100 * x, 1) for x in (of.share.low, of.share.value, of.share.high))
        word = f"{of.value} {word}" if suggestion.label == GRADE else word
        chances.append(Chance(word, of_hundred(of.share), value, low, high))
    return chances


@dataclass(frozen=True)
class CaseView:
    """A case as it is printed. None means unknown and is said in words on the page."""

    name: str
    picture: str | None  # a data URI
    alt: str
    grade: int | None
    grade_word: str
    findings: list[str] | None
    facts: dict[str, str | None]


@dataclass(frozen=True)
class HitView:
    """A hit as it is printed; bar is its similarity in percent of the bar's length."""

    rank: int
    similarity: str
    bar: float
    same_grade: bool
    case: CaseView
    trust: str | None
    unrecorded: str | None  # the label that it lacks


@dataclass(frozen=True)
class SearchView:
    """A search as it is printed."""

    query: CaseView
    hits: list[HitView]
    answer: AnswerView
    considered: int | None
    where: str | None
    encoder: str
    fingerprint: str | None
    phantoms: int
    pictures: int


def view_search(result: SearchShape, images: Images, encoder_card: Mapping[str, object] | None) -> SearchView:
    """Prepare everything a page says about one search; images is called once a case."""
    card = encoder_card or {}
    cases = [result.query, *(hit.case for hit in result.hits)]
    fingerprint = card.get("fingerprint")
    query = view_case(result.query, images, "Query")
    quality = of_doubt(None if result.trust is None else result.trust.looks, result.gradability)
    return SearchView(
        query=replace(query, facts={**query.facts, "Quality": quality}),
        hits=[_view_hit(hit, result, images) for hit in result.hits],
        answer=view_answer(result),
        considered=result.considered,
        where=result.where or None,
        encoder=shortened(str(card.get("name") or result.encoder)),
        fingerprint=None if fingerprint is None else str(fingerprint)[:_SHORT],
        phantoms=sum(map(is_phantom, cases)),
        pictures=len(cases),
    )


def card_rows(encoder_card: Mapping[str, object] | None) -> list[tuple[str, str]]:
    """List the plain entries of an encoder's card, in its order; tables in it are left out."""
    entries = (encoder_card or {}).items()
    return [
        (key.replace("_", " "), str(value))
        for key, value in entries
        if isinstance(value, str | int | float) and value != ""
    ]


def data_uri(picture: bytes | None) -> str | None:
    """Return JPEG or PNG bytes for the src of an img; None for anything else."""
    for magic, kind in _MAGIC:
        if picture and picture.startswith(magic):
            return f"data:{kind};base64,{base64.b64encode(picture).decode('ascii')}"
    return None


def _view_hit(hit: HitShape, result: SearchShape, images: Images) -> HitView:
    query = result.query
    return HitView(
        rank=hit.rank,
        similarity=f"{hit.similarity:.3f}",
        bar=bar(hit.similarity),
        same_grade=query.grade is not None and query.grade == hit.case.grade,
        case=view_case(hit.case, images, f"Hit {hit.rank}"),
        trust=of_hit(hit.trust),
        unrecorded=result.label if unrecorded(hit.case, result.label) else None,
    )


def bar(similarity: float) -> float:
    """Return the percent of the bar's length; what is below 0 has none."""
    return round(100 * min(max(similarity, 0.0), 1.0), 1)


def view_case(case: Case, images: Images, role: str) -> CaseView:
    """Prepare a case with its picture; the role stands in what is read out for it."""
    eye = f"{case.eye} eye" if case.eye else "eye not recorded"
    graded = "no grade" if case.grade is None else f"grade {case.grade}, {grade_word(case.grade)}"
    return CaseView(
        name=case.image,
        picture=data_uri(images(case)),
        alt=f"{role}: {'phantom' if is_phantom(case) else 'fundus photograph'}, {eye}, {graded}",
        grade=case.grade,
        grade_word=grade_word(case.grade),
        findings=findings_of(case),
        facts={
            "Subject": case.subject,
            "Eye": case.eye,
            "Visit": visit_word(case.visit),
            **{key.title(): str(case.extra[key]) for key in ("age", "sex") if case.extra.get(key)},
        },
    )


def shortened(name: str) -> str:
    """Cut a bare fingerprint; a name stays.

    >>> shortened("screening"), shortened("sha256:" + 64 * "a")
    ('screening', 'aaaaaaaaaaaa')
    """
    bare = len(name) >= 32 and all(c in "0123456789abcdef" for c in name.removeprefix("sha256:"))
    return name.removeprefix("sha256:")[:_SHORT] if bare else name


@dataclass(frozen=True)
class Point:
    """A graded photograph: place in the drawing, and whose."""

    x: float
    y: float
    id: int
    grade: int


@dataclass(frozen=True)
class Line:
    """One eye's points in the order of the visits, and the path that joins them."""

    eye: str
    points: tuple[Point, ...]

    @property
    def path(self) -> str:
        """Return the d of an SVG path."""
        return " ".join(f"{'L' if place else 'M'}{p.x:.1f} {p.y:.1f}" for place, p in enumerate(self.points))


@dataclass(frozen=True)
class Visit:
    """A row of the table: what was found in each eye at a visit."""

    word: str | None
    x: float
    eyes: dict[str, list[tuple[int, Case]]]


@dataclass(frozen=True)
class Timeline:
    """Everything that is drawn and said.

    Attributes:
        visits: in order; what has no visit stands last.
        lines: of each eye with a graded photograph; "" stands for an eye that is not known.
        grades: height of each grade's line.
        to_scale: whether distances are times; else visits stand at equal distances.
    """

    visits: tuple[Visit, ...]
    lines: tuple[Line, ...]
    grades: tuple[tuple[int, float], ...]
    to_scale: bool


def timeline(shown: Sequence[tuple[int, Case]]) -> Timeline | None:
    """Draw a person's photographs; None where fewer than two visits are known.

    Args:
        shown: ids and cases of one person, in the order of their visits.
    """
    known = list(dict.fromkeys(case.visit for _, case in shown if case.visit is not None))
    if len(known) < 2:
        return None
    places, to_scale = _places(known)
    visits = tuple(Visit(visit_word(visit), places[visit], _by_eye(shown, visit)) for visit in known)
    sides: tuple[Eye | None, ...] = ("right", "left", None)
    lines = tuple(line for eye in sides if (line := _line(shown, eye, places)).points)
    return Timeline(visits, lines, tuple((g, _height(g)) for g in range(WORST + 1)), to_scale)


def _places(known: Sequence[float | str]) -> tuple[dict[float | str, float], bool]:
    """Where each visit stands, and whether distances are times."""
    times = [_time(visit) for visit in known]
    numbers = [time for time in times if time is not None]
    kinds = {isinstance(visit, str) for visit in known}
    to_scale = len(numbers) == len(known) and len(kinds) == 1 and max(numbers) > min(numbers)
    at = numbers if to_scale else [float(i) for i in range(len(known))]
    span = WIDTH - LEFT - RIGHT
    low, high = min(at), max(at)
    return {visit: LEFT + span * (t - low) / (high - low) for visit, t in zip(known, at, strict=True)}, to_scale


def _time(visit: float | str) -> float | None:
    if not isinstance(visit, str):
        return float(visit)
    try:
        return float(date.fromisoformat(visit).toordinal())
    except ValueError:
        return None


def _by_eye(shown: Sequence[tuple[int, Case]], visit: float | str) -> dict[str, list[tuple[int, Case]]]:
    eyes: dict[str, list[tuple[int, Case]]] = {}
    for id_, case in shown:
        if case.visit == visit:
            eyes.setdefault(case.eye or "", []).append((id_, case))
    return eyes


def _line(shown: Sequence[tuple[int, Case]], eye: Eye | None, places: dict[float | str, float]) -> Line:
    return Line(
        eye or "",
        tuple(
            Point(places[case.visit], _height(case.grade), id_, case.grade)
            for id_, case in shown
            if case.eye == eye and case.visit is not None and case.grade is not None
        ),
    )


def _height(grade: int) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - grade / WORST)

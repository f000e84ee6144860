"""Pages of a person: the people found for them, and what a reading model says of both eyes."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from foveola.labels import finding_word, grade_word, is_phantom, visit_word
from foveola.people import findings_of, grade_of
from foveola.people_search import PersonHit, PersonResult
from foveola.records import Case, Eye
from foveola.report.pages import render
from foveola.report.views import CaseView, Images, bar, card_rows, data_uri, shortened, view_case
from foveola.trust.sentences import of_person

SEEN: tuple[Eye, Eye] = ("right", "left")  # as whoever faces the person sees them


@dataclass(frozen=True)
class EyeView:
    """One eye as it is printed; without a case it says that there is no photograph."""

    title: str
    case: CaseView | None
    note: str


@dataclass(frozen=True)
class PersonView:
    """A person as it is printed; rank, similarity and bar are empty for the query."""

    rank: int
    similarity: str
    bar: float
    how: str
    same_grade: bool
    eyes: list[EyeView]
    grade: int | None
    grade_word: str
    findings: list[str] | None
    facts: dict[str, str | None]


@dataclass(frozen=True)
class PeopleView:
    """A search for people as it is printed."""

    query: PersonView
    hits: list[PersonView]
    encoder: str
    person: str


def people_page(
    result: PersonResult,
    *,
    images: Images,
    title: str = "Similar people",
    encoder_card: Mapping[str, object] | None = None,
) -> str:
    """Make a page of a person and the people found for them; arguments as for `search_page`."""
    people = [result.query, *(hit.cases for hit in result.hits)]
    cases = [case for eyes in people for case in eyes.values()]
    return render(
        "people.html",
        title=title,
        r=result,
        s=view_people(result, images),
        phantoms=sum(map(is_phantom, cases)),
        pictures=len(cases),
        card=card_rows(encoder_card),
    )


def view_people(result: PersonResult, images: Images) -> PeopleView:
    """Prepare a search for people as it is printed."""
    query = _query(result, images)
    return PeopleView(
        query=query,
        hits=[_hit(hit, query, images) for hit in result.hits],
        encoder=shortened(result.encoder),
        person=of_person(result.subject_known, result.excluded_same_subject),
    )


def _query(result: PersonResult, images: Images) -> PersonView:
    cases = [*result.query.values()]
    how = "" if len(result.judged_by) == 2 else f"Judged by the {result.judged_by[0]} eye alone."
    return _person(
        result.query,
        images,
        "Query",
        how=how,
        findings=findings_of(cases),
        notes={eye: result.doubt(eye) or "" for eye in result.query},
    )


def _hit(hit: PersonHit, query: PersonView, images: Images) -> PersonView:
    return _person(
        hit.cases,
        images,
        f"Hit {hit.rank}",
        rank=hit.rank,
        similarity=f"{hit.similarity:.3f}",
        length=bar(hit.similarity),
        how="left and right exchanged" if hit.crossed else "",
        notes={
            eye: ", ".join(f"{p.similarity:.3f} to the query's {p.query}" for p in hit.pairs if p.eye == eye)
            for eye in hit.cases
        },
        query_grade=query.grade,
        findings=hit.findings,
    )


def _person(
    cases: Mapping[Eye, Case],
    images: Images,
    role: str,
    *,
    findings: frozenset[str] | None,
    rank: int = 0,
    similarity: str = "",
    length: float = 0,
    how: str = "",
    notes: Mapping[Eye, str],
    query_grade: int | None = None,
) -> PersonView:
    grade = grade_of([*cases.values()])
    first = next(iter(cases.values()))
    known = {key: first.extra.get(key) for key in ("age", "sex")}
    return PersonView(
        rank=rank,
        similarity=similarity,
        bar=length,
        how=how,
        same_grade=grade is not None and grade == query_grade,
        eyes=[
            EyeView(
                title=f"{eye.title()} eye",
                case=view_case(cases[eye], images, role) if eye in cases else None,
                note=notes.get(eye, ""),
            )
            for eye in SEEN
        ],
        grade=grade,
        grade_word=grade_word(grade),
        findings=None if findings is None else sorted(map(finding_word, findings)),
        facts={"Subject": first.subject, "Visit": visit_word(first.visit)}
        | {key.title(): str(value) for key, value in known.items() if value},
    )


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
    """Make a page of one person.

    Args:
        reading: of this person.
        pictures: of each eye, JPEG or PNG.
        evidence: of the labels that are shown in pictures, of each eye.
        similar: people of an archive that are alike, best first.
        images: gives their pictures, as for `search_page`.
        title: of the page.
    """
    by_eye = {
        eye: {label: f"{100 * p:.0f} %" for label, p in zip(reading.labels, of.probabilities, strict=True)}
        for eye, of in reading.eyes.items()
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
    """Say how often each finding is among the alike people whose findings are known."""
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

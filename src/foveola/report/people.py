"""A page of a person and of the people found for them, both eyes side by side."""

from collections.abc import Mapping
from dataclasses import dataclass

from foveola.labels import finding_word, grade_word, is_phantom, visit_word
from foveola.people import findings_of, grade_of
from foveola.people_search import PersonHit, PersonResult
from foveola.records import Case, Eye
from foveola.report.pages import render
from foveola.report.shapes import Images
from foveola.report.views import CaseView, bar, card_rows, shortened, view_case
from foveola.trust.sentences import of_person

_AS_SEEN: tuple[Eye, Eye] = ("right", "left")  # facing the person, as eyes are usually shown


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
    """A person and the people found for them; the arguments are those of `search_page`."""
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
    """A search for people as it is printed."""
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
        notes={eye: _note(hit, eye) for eye in hit.cases},
        query_grade=query.grade,
        findings=hit.findings,
    )


def _note(hit: PersonHit, eye: Eye) -> str:
    """How alike an eye is to which of the query's."""
    alike = [f"{p.similarity:.3f} to the query's {p.query}" for p in hit.pairs if p.eye == eye]
    return ", ".join(alike)


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
    notes: Mapping[Eye, str] | None = None,
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
        eyes=[_eye(eye, cases.get(eye), images, role, (notes or {}).get(eye, "")) for eye in _AS_SEEN],
        grade=grade,
        grade_word=grade_word(grade),
        findings=None if findings is None else sorted(map(finding_word, findings)),
        facts={"Subject": first.subject, "Visit": visit_word(first.visit)}
        | {key.title(): str(value) for key, value in known.items() if value},
    )


def _eye(eye: Eye, case: Case | None, images: Images, role: str, note: str) -> EyeView:
    view = None if case is None else view_case(case, images, role)
    return EyeView(title=f"{eye.title()} eye", case=view, note=note)

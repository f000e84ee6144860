"""From results to what a template prints: words, numbers and pictures, all computed here."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, replace

from foveola.labels import findings_of, grade_word, is_phantom, visit_word
from foveola.records import Case
from foveola.report.answer import AnswerView, view_answer
from foveola.report.shapes import HitShape, Images, SearchShape
from foveola.trust.sentences import of_doubt, of_hit, unrecorded

_MAGIC = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"))
_SHORT = 12  # letters of a fingerprint: enough to tell encoders apart by eye


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
    """Everything a page says about one search; images is called once a case."""
    card = encoder_card or {}
    cases = [result.query, *(hit.case for hit in result.hits)]
    fingerprint = card.get("fingerprint")
    return SearchView(
        query=_view_query(result, images),
        hits=[_view_hit(hit, result, images) for hit in result.hits],
        answer=view_answer(result),
        considered=result.considered,
        where=result.where or None,
        encoder=shortened(str(card.get("name") or result.encoder)),
        fingerprint=None if fingerprint is None else str(fingerprint)[:_SHORT],
        phantoms=sum(map(is_phantom, cases)),
        pictures=len(cases),
    )


def _view_query(result: SearchShape, images: Images) -> CaseView:
    view = view_case(result.query, images, "Query")
    looks = None if result.trust is None else result.trust.looks
    return replace(view, facts={**view.facts, "Quality": of_doubt(looks, result.gradability)})


def card_rows(encoder_card: Mapping[str, object] | None) -> list[tuple[str, str]]:
    """The plain entries of an encoder's card, in its order; tables in it are left out."""
    entries = (encoder_card or {}).items()
    return [
        (key.replace("_", " "), str(value))
        for key, value in entries
        if isinstance(value, str | int | float) and value != ""
    ]


def data_uri(picture: bytes | None) -> str | None:
    """JPEG or PNG bytes for the src of an img; None for anything else."""
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
    """Percent of the bar's length; what is below 0 has none."""
    return round(100 * min(max(similarity, 0.0), 1.0), 1)


def view_case(case: Case, images: Images, role: str) -> CaseView:
    """A case with its picture; the role stands in what is read out for it."""
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
    """A bare fingerprint is cut; a name stays."""
    bare = len(name) >= 32 and all(c in "0123456789abcdef" for c in name.removeprefix("sha256:"))
    return name.removeprefix("sha256:")[:_SHORT] if bare else name

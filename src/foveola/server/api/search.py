"""The interface for programs. /api/openapi.json describes it."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, HTTPException, Response
from fastapi import UploadFile as Upload
from pydantic import BaseModel, Field

from foveola.archive import ArchiveInfo
from foveola.errors import FoveolaError
from foveola.records import Case
from foveola.relevance.order import Order
from foveola.retrieval import Hit, SearchResult
from foveola.server.auth.context import may_match, record_access
from foveola.server.dependencies import CaseId, OnService, Whose
from foveola.server.startup import ALIVE
from foveola.trust import HitTrust, QueryTrust

VERSION = "1"


class Fault(BaseModel):
    """Why something can't be done."""

    detail: str = Field(description="one sentence")


FAULTS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Fault, "description": "it can't be done; detail says why"},
    503: {"model": Fault, "description": "not now; ask again after Retry-After seconds"},
}
_KEPT = "; null for accounts that may not match people"
CONSIDERED = "cases compared, after filter and exclusions" + _KEPT
EXCLUDED = "cases left out, of the same subject or so alike that they may be" + _KEPT
HELD = "whether the archive holds this very file" + _KEPT
router = APIRouter(prefix="/api/v1", responses=FAULTS)


class CaseOut(BaseModel):
    """A case; null is unknown. File names are left out, as they may name a person.

    Whose it is, a pseudonym, is said to those who may match people.
    """

    id: int
    subject: str | None
    collection: str
    eye: Literal["left", "right"] | None
    visit: float | str | None
    grade: int | None
    findings: list[str] | None
    extra: dict[str, Any]

    @classmethod
    def of(cls, id_: int, case: Case) -> "CaseOut":
        """A case of the archive."""
        record_access((id_,))
        return cls(
            id=id_,
            subject=case.subject if may_match() else None,
            collection=case.collection,
            eye=case.eye,
            visit=case.visit,
            grade=case.grade,
            extra=dict(case.extra),
            findings=None if case.findings is None else sorted(case.findings),
        )


class HitOut(BaseModel):
    """A similar case: rank from 1, cosine and score from -1 to 1, and how far to trust it."""

    rank: int
    similarity: float
    score: float = Field(description="by which the hits are ordered; the cosine, by looks")
    case: CaseOut
    trust: HitTrust | None

    @classmethod
    def of(cls, hit: Hit) -> "HitOut":
        """A hit of a search."""
        return cls(
            rank=hit.rank,
            similarity=round(hit.similarity, 6),
            score=round(hit.score, 6),
            trust=hit.trust,
            case=CaseOut.of(hit.id, hit.case),
        )


class SearchOut(BaseModel):
    """What a search found, and how far to trust it."""

    hits: list[HitOut]
    order: Order = Field(description="of the hits; by looks where the photograph can't be compared")
    label: str | None = Field(description="that is learnt of; null where the archive learnt none")
    recorded: int | None = Field(description="of how many hits this label is recorded")
    considered: int | None = Field(description=CONSIDERED)
    excluded_same_subject: int | None = Field(description=EXCLUDED)
    in_archive: bool | None = Field(description=HELD)
    gradability: float = Field(description="of the photograph sent, from 0 to 1")
    trust: QueryTrust
    sentences: list[str] = Field(description="all that is to be known of the answer, in words")
    encoder: str
    fingerprint: str
    milliseconds: float

    @classmethod
    def of(cls, result: SearchResult) -> "SearchOut":
        """The result of a search."""
        return cls(
            hits=[HitOut.of(hit) for hit in result.hits],
            order=result.order,
            label=result.label,
            recorded=result.recorded,
            considered=result.considered,
            excluded_same_subject=result.excluded_same_subject,
            in_archive=result.in_archive,
            gradability=round(result.gradability, 4),
            trust=result.trust,
            sentences=result.sentences,
            encoder=result.encoder,
            fingerprint=result.fingerprint,
            milliseconds=round(result.milliseconds, 2),
        )


@router.post("/search")
def search(
    service: OnService,
    whose: Whose,
    photograph: Annotated[Upload, File(description="JPEG, PNG, TIFF, WebP, BMP or DICOM")],
    k: Annotated[int, Form(ge=1, le=1000)] = 10,
    where: Annotated[str | None, Form(description="condition on the cases")] = None,
    eye: Annotated[Literal["left", "right"] | None, Form()] = None,
    by: Annotated[Order | None, Form(description="learned where the archive learnt a label")] = None,
    label: Annotated[str | None, Form(description="of the order; the one most cases have")] = None,
) -> SearchOut:
    """Find the cases most like a photograph. The photograph is not kept."""
    query = service.embed(photograph.file.read(), eye, *whose)
    return SearchOut.of(service.search_query(query, k, where, by=by, label=label or None))


@router.get("/cases/{id}")
def case(id: CaseId, service: OnService) -> CaseOut:  # noqa: A002 - the path says id
    """A case of the archive."""
    return CaseOut.of(id, service.case(id))


@router.get("/cases/{id}/picture", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}})
def picture(id: CaseId, service: OnService) -> Response:  # noqa: A002
    """The photograph of a case, at most 2048 pixels a side, without metadata."""
    return Response(service.picture(id).jpeg, media_type="image/jpeg")


@router.get("/cases/{id}/thumbnail", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}})
def thumbnail(id: CaseId, service: OnService) -> Response:  # noqa: A002
    """The field of view, 360 pixels a side."""
    data = service.thumbnail(id)
    if data is None:
        raise HTTPException(404, f"the photograph of case {id} can't be read any more")
    return Response(data, media_type="image/jpeg")


@router.get("/archive")
def archive(service: OnService) -> ArchiveInfo:
    """What the archive holds, in numbers."""
    return service.info()


@router.get("/health")
def health() -> dict[str, str]:
    """Whether the process answers."""
    return ALIVE


@router.get("/ready")
def ready(service: OnService) -> dict[str, object]:
    """Whether a search would be answered: archive and encoder are loaded, and there are cases.

    While they are being loaded it waits for up to 10 seconds.
    """
    try:
        loaded = service.ready(10.0)
    except FoveolaError as error:
        raise HTTPException(503, str(error)) from None
    if not loaded:
        raise HTTPException(503, "the encoder and the archive are being loaded; ask again soon")
    cases = len(service.retriever.archive)
    if not cases:
        raise HTTPException(503, "the archive holds no case yet; add some with foveola index")
    return {"status": "ready", "cases": cases}

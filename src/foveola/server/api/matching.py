"""POST /api/v1/match: the same eye again, where that is allowed."""

from typing import Annotated

from fastapi import APIRouter, File, Form
from fastapi import UploadFile as Upload
from pydantic import BaseModel, Field

from foveola.datasets.cells import visit_of
from foveola.matching.match import ACCEPTED, CANDIDATES, Candidate, MatchResult, verdict
from foveola.matching.probability import PRIOR
from foveola.server.api.search import FAULTS, CaseOut
from foveola.server.dependencies import OnService
from foveola.server.services.search import SearchService

router = APIRouter(prefix="/api/v1", responses=FAULTS)


class EvidenceOut(BaseModel):
    """What the probability of a candidate rests on."""

    cosine: float = Field(description="of the two descriptors, from -1 to 1")
    features_that_agree: int = Field(description="on one map from photograph to photograph")
    correlation: float = Field(description="of vessels and lesions under that map")
    overlap: float = Field(description="share of the smaller retina that is on both")


class CandidateOut(BaseModel):
    """A photograph of the archive that may show the eye."""

    rank: int = Field(description="1 is the likeliest")
    probability: float = Field(description="that it shows the same eye, from 0 to 1")
    case: CaseOut
    months_to_query: float | None = Field(description="from this photograph to the one sent")
    evidence: EvidenceOut

    @classmethod
    def of(cls, candidate: Candidate, id_: int) -> "CandidateOut":
        """A candidate; `id_` is the case's in the archive that is served."""
        seen, months = candidate.evidence, candidate.months
        return cls(
            rank=candidate.rank,
            probability=round(candidate.probability, 6),
            case=CaseOut.of(id_, candidate.case),
            months_to_query=None if months is None else round(months, 2),
            evidence=EvidenceOut(
                cosine=round(seen.cosine, 4),
                features_that_agree=seen.inliers,
                correlation=round(seen.correlation, 4),
                overlap=round(seen.overlap, 4),
            ),
        )


class MatchOut(BaseModel):
    """Whether the archive holds other photographs of an eye."""

    match: bool = Field(description=f"whether a candidate's probability is at least {ACCEPTED}")
    verdict: str = Field(description="the same in a sentence")
    probability_of_none: float = Field(description="that no other photograph shows this eye")
    candidates: list[CandidateOut] = Field(description="compared closely, the likeliest first")
    considered: int = Field(description="photographs that were ranked")
    in_archive: bool = Field(description="whether the archive holds this very file")
    prior: float = Field(description="chance, before looking, that there is another")
    most_probable: float = Field(description="the most that evidence can show among so many")
    purpose: str = Field(description="what matching was allowed for")
    encoder: str

    @classmethod
    def of(cls, result: MatchResult, service: SearchService) -> "MatchOut":
        """The result of a match."""
        return cls(
            match=bool(result.found),
            verdict=verdict(result),
            probability_of_none=round(result.none, 6),
            considered=result.considered,
            candidates=[
                CandidateOut.of(each, known[0])
                for each in result.candidates
                if (known := service.retriever.archive.find(path=each.case.path)) is not None
            ],
            in_archive=result.in_archive,
            prior=result.prior,
            most_probable=round(result.most, 6),
            purpose=result.purpose,
            encoder=result.encoder,
        )


@router.post("/match")
def match(
    service: OnService,
    photograph: Annotated[Upload, File(description="JPEG, PNG, TIFF, WebP or BMP")],
    candidates: Annotated[int, Form(ge=1, le=1000, description="photographs to compare closely")] = CANDIDATES,
    visit: Annotated[
        str | None, Form(description="when it was taken: months or an ISO date, as the archive has")
    ] = None,
    prior: Annotated[float, Form(gt=0, lt=1, description="chance, before looking, that there is another")] = PRIOR,
) -> MatchOut:
    """Look for other photographs of the eye that a photograph shows.

    MatchingService is sensitive: this is refused (403) until `foveola matching on` allows it, and every
    use is logged before it is answered. The photograph is not kept.
    """
    try:
        result = service.models.match(photograph.file.read(), candidates, visit_of(visit), prior, by="rest")
    finally:
        photograph.file.close()
    return MatchOut.of(result, service)

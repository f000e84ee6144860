"""POST /api/v1/search/region: cases like one place of a photograph."""

from typing import Annotated, Literal

from fastapi import APIRouter, File, Form
from fastapi import UploadFile as Upload
from pydantic import BaseModel, Field

from foveola.regions import Box, RegionHit
from foveola.regions.search import sentences
from foveola.server.api.search import CONSIDERED, EXCLUDED, FAULTS, HELD, CaseOut
from foveola.server.dependencies import OnRegions, Whose

router = APIRouter(prefix="/api/v1", responses=FAULTS)


class RegionHitOut(BaseModel):
    """A case and where in it the region is found."""

    rank: int
    similarity: float
    box: Box = Field(description="x, y, width and height in shares of the picture")
    case: CaseOut

    @classmethod
    def of(cls, hit: RegionHit) -> "RegionHitOut":
        """A hit."""
        return cls(rank=hit.rank, similarity=round(hit.similarity, 6), box=hit.box, case=CaseOut.of(hit.id, hit.case))


class RegionOut(BaseModel):
    """What a region search found."""

    region: Box = Field(description="what was compared, in shares of the picture")
    hits: list[RegionHitOut]
    itself: float = Field(description="similarity of the region with itself")
    typical: float | None = Field(description="half of the cases have a place this alike or more")
    considered: int | None = Field(description=CONSIDERED)
    undescribed: int = Field(description="cases whose places are not kept yet")
    excluded_same_subject: int | None = Field(description=EXCLUDED)
    in_archive: bool | None = Field(description=HELD)
    sentences: list[str]
    encoder: str
    fingerprint: str
    milliseconds: float


@router.post("/search/region")
def search_region(
    regions: OnRegions,
    whose: Whose,
    photograph: Annotated[Upload, File(description="JPEG, PNG, TIFF, WebP or BMP")],
    region: Annotated[
        str, Form(max_length=200, description="x,y,width,height in shares of the picture, or x,y for a point")
    ],
    k: Annotated[int, Form(ge=1, le=1000)] = 10,
    where: Annotated[str | None, Form(description="condition on the cases")] = None,
    eye: Annotated[Literal["left", "right"] | None, Form()] = None,
) -> RegionOut:
    """Find the cases with a place most like one of a photograph. The photograph is not kept."""
    box = Box.parse(region)
    result = regions.of_file(photograph.file.read(), box, k, where, eye=eye, **whose._asdict())
    return RegionOut(
        region=result.region,
        hits=[RegionHitOut.of(hit) for hit in result.hits],
        itself=round(result.itself, 6),
        typical=None if result.typical is None else round(result.typical, 6),
        considered=result.considered,
        undescribed=result.undescribed,
        excluded_same_subject=result.excluded_same_subject,
        in_archive=result.in_archive,
        sentences=sentences(result),
        encoder=result.encoder,
        fingerprint=result.fingerprint,
        milliseconds=round(result.milliseconds, 2),
    )

"""POST /api/v1/search/region: cases like one place of a photograph."""

from typing import Annotated

from fastapi import APIRouter, File, Form
from fastapi import UploadFile as Upload
from fastapi.responses import JSONResponse

from foveola.answers import RegionAnswer
from foveola.records import Eye
from foveola.regions import Box
from foveola.regions.search import answer
from foveola.server.api import FAULTS, said
from foveola.server.auth.context import show_case
from foveola.server.dependencies import OnRegions, Whose

router = APIRouter(prefix="/api/v1", responses=FAULTS)


@router.post("/search/region", response_model=RegionAnswer)
def search_region(
    regions: OnRegions,
    whose: Whose,
    photograph: Annotated[Upload, File(description="JPEG, PNG, TIFF, WebP or BMP")],
    region: Annotated[
        str, Form(max_length=200, description="x,y,width,height in shares of the picture, or x,y for a point")
    ],
    k: Annotated[int, Form(ge=1, le=1000)] = 10,
    where: Annotated[str | None, Form(description="condition on the cases")] = None,
    eye: Annotated[Eye | None, Form()] = None,
) -> JSONResponse:
    """Find the cases with a place most like one of a photograph. The photograph is not kept."""
    box = Box.parse(region)
    result = regions.of_file(photograph.file.read(), box, k, where, eye=eye, **whose._asdict())
    return said(answer(result, show_case))

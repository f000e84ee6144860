"""POST /api/v1/search and /search/region: the cases most like a photograph, or like one place of it."""

from typing import Annotated

from fastapi import APIRouter, File, Form
from fastapi import UploadFile as Upload
from fastapi.responses import JSONResponse

from foveola.answers import Order, RegionAnswer, SearchAnswer
from foveola.records import Eye
from foveola.regions import Box, RegionResult
from foveola.regions.present import answer as region_answer
from foveola.server.api import FAULTS, said
from foveola.server.auth.context import discreet, show_case
from foveola.server.web.regions import Marking
from foveola.server.web.search import OnService, Whose

router = APIRouter(prefix="/api/v1", responses=FAULTS)
Where = Annotated[str | None, Form(description="condition on the cases")]


@router.post("/search", response_model=SearchAnswer)
def search(
    service: OnService,
    whose: Whose,
    photograph: Annotated[Upload, File(description="JPEG, PNG, TIFF, WebP, BMP or DICOM")],
    k: Annotated[int, Form(ge=1, le=1000)] = 10,
    where: Where = None,
    eye: Annotated[Eye | None, Form()] = None,
    by: Annotated[Order | None, Form(description="learned where the archive learnt a label")] = None,
    label: Annotated[str | None, Form(description="of the order; the one most cases have")] = None,
) -> JSONResponse:
    """Find the cases most like a photograph. The photograph is not kept."""
    query = service.read(photograph.file.read(), eye, *whose)
    return said(service.answer(query, k, where, by=by, label=label or None).answer(show_case))


@router.post("/search/region", response_model=RegionAnswer)
def search_region(
    service: OnService,
    marker: Marking,
    whose: Whose,
    photograph: Annotated[Upload, File(description="JPEG, PNG, TIFF, WebP or BMP")],
    region: Annotated[
        str, Form(max_length=200, description="x,y,width,height in shares of the picture, or x,y for a point")
    ],
    k: Annotated[int, Form(ge=1, le=1000)] = 10,
    where: Where = None,
    eye: Annotated[Eye | None, Form()] = None,
) -> JSONResponse:
    """Find the cases with a place most like one of a photograph. The photograph is not kept."""
    box = Box.parse(region)
    search = marker.search
    data = photograph.file.read()
    query = service.read(data, eye, *whose)
    result: RegionResult = discreet(search.search(query, search.look_at(data, query), box, k, where=where))
    return said(region_answer(result, show_case))

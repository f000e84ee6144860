"""POST /api/v1/search: the cases most like a photograph."""

from typing import Annotated

from fastapi import APIRouter, File, Form
from fastapi import UploadFile as Upload
from fastapi.responses import JSONResponse

from foveola.answers import Order, SearchAnswer
from foveola.records import Eye
from foveola.server.api import FAULTS, said
from foveola.server.auth.context import show_case
from foveola.server.dependencies import OnService, Whose

router = APIRouter(prefix="/api/v1", responses=FAULTS)


@router.post("/search", response_model=SearchAnswer)
def search(
    service: OnService,
    whose: Whose,
    photograph: Annotated[Upload, File(description="JPEG, PNG, TIFF, WebP, BMP or DICOM")],
    k: Annotated[int, Form(ge=1, le=1000)] = 10,
    where: Annotated[str | None, Form(description="condition on the cases")] = None,
    eye: Annotated[Eye | None, Form()] = None,
    by: Annotated[Order | None, Form(description="learned where the archive learnt a label")] = None,
    label: Annotated[str | None, Form(description="of the order; the one most cases have")] = None,
) -> JSONResponse:
    """Find the cases most like a photograph. The photograph is not kept."""
    query = service.embed(photograph.file.read(), eye, *whose)
    return said(service.search_query(query, k, where, by=by, label=label or None).answer(show_case))

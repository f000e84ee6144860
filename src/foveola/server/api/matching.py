"""POST /api/v1/match: the same eye again, where that is allowed."""

from typing import Annotated

from fastapi import APIRouter, File, Form
from fastapi import UploadFile as Upload
from fastapi.responses import JSONResponse

from foveola.answers import MatchAnswer
from foveola.datasets.cells import visit_of
from foveola.matching.match import CANDIDATES, answer
from foveola.matching.pair import PRIOR
from foveola.server.api import FAULTS, said
from foveola.server.auth.context import show_case
from foveola.server.dependencies import OnService

router = APIRouter(prefix="/api/v1", responses=FAULTS)


@router.post("/match", response_model=MatchAnswer)
def match(
    service: OnService,
    photograph: Annotated[Upload, File(description="JPEG, PNG, TIFF, WebP or BMP")],
    candidates: Annotated[int, Form(ge=1, le=1000, description="photographs to compare closely")] = CANDIDATES,
    visit: Annotated[
        str | None, Form(description="when it was taken: months or an ISO date, as the archive has")
    ] = None,
    prior: Annotated[float, Form(gt=0, lt=1, description="chance, before looking, that there is another")] = PRIOR,
) -> JSONResponse:
    """Look for other photographs of the eye that a photograph shows.

    Matching is sensitive: this is refused (403) until `foveola matching on` allows it, and every
    use is logged before it is answered. The photograph is not kept.
    """
    try:
        result = service.models.match(photograph.file.read(), candidates, visit_of(visit), prior, by="rest")
    finally:
        photograph.file.close()
    return said(answer(result, service.retriever.archive, show_case))

"""GET /api/v1/archive, /health, /ready and /metrics: what there is, and how it goes."""

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from foveola.archive import ArchiveInfo
from foveola.errors import FoveolaError
from foveola.server.api import FAULTS, said
from foveola.server.dependencies import OnService
from foveola.server.metrics import TYPE, Metrics
from foveola.server.startup import ALIVE

router = APIRouter(prefix="/api/v1", responses=FAULTS)


@router.get("/archive", response_model=ArchiveInfo)
def archive(service: OnService) -> JSONResponse:
    """Say what the archive holds, in numbers."""
    return said(service.info())


@router.get("/health")
def health() -> dict[str, str]:
    """Say that the process answers."""
    return ALIVE


@router.get("/ready")
def ready(service: OnService) -> dict[str, object]:
    """Say whether a search would be answered: archive and encoder are loaded, and there are cases.

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


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(request: Request) -> Response:
    """Count requests, searches, their times, cases, jobs and faults, as Prometheus reads them."""
    counted: Metrics = request.app.state.metrics
    return Response(counted.text(), media_type=TYPE)

"""GET /api/v1/metrics, for Prometheus."""

from fastapi import APIRouter, Request, Response

from foveola.server.api.search import FAULTS
from foveola.server.metrics import TYPE, Metrics

router = APIRouter(prefix="/api/v1", responses=FAULTS)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(request: Request) -> Response:
    """Requests, searches, their times, cases, jobs and faults, as Prometheus reads them."""
    kept: Metrics = request.app.state.metrics
    return Response(kept.text(), media_type=TYPE)

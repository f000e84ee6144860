"""The map of a pair checked by covering the photograph up, place by place."""

from pathlib import Path

from fastapi import APIRouter, HTTPException, Request, Response

from foveola.errors import ImageError
from foveola.explain import occlusion_map
from foveola.images.decode import decode
from foveola.images.fundus import prepare
from foveola.images.pictures import shares
from foveola.server.auth.context import LARGE, record_access
from foveola.server.ids import CaseId
from foveola.server.services.pictures import LRUCache, Pixels, heat
from foveola.server.services.queries import Sent
from foveola.server.services.search import NAME, SearchService
from foveola.server.web.search import Asked, OnService

MAPS = 128
router = APIRouter(include_in_schema=False)


@router.get("/queries/{token}/occlusion/{id_}/{side}")
def occlusion(token: str, id_: CaseId, side: str, request: Request, service: OnService, sent: Asked) -> Response:
    """What the likeness of photograph and case loses where one of the two is covered up."""
    if side not in ("query", "case"):
        raise HTTPException(404, "there is a map of the query and one of the case")
    state = request.app.state
    if not hasattr(state, "covered"):
        state.covered = LRUCache(MAPS)
    kept: LRUCache[bytes] = state.covered
    case = service.case(id_)  # a case that was removed has no map, also where one was kept
    record_access([id_], LARGE)
    data = kept.get((token, id_, case.path, side), lambda: _covered(service, sent, id_, side))
    return Response(data, media_type="image/png")


def _covered(service: SearchService, sent: Sent, id_: int, side: str) -> bytes:
    own, case = sent.query.case.eye, service.case(id_)
    pixels, eye = decode(sent.picture.jpeg, name=NAME), own
    if side == "case":
        pixels, eye = _pixels(service, id_), case.eye
    encoder = service.retriever.encoder
    other = sent.query.descriptor
    if side == "query":
        ids, matrix = service.retriever.archive.vectors()
        other = matrix[int(ids.searchsorted(id_))]
    prepared = prepare(pixels, encoder.contract, eye)
    found = occlusion_map(prepared, other, encoder.encode)
    parts = found.contributions
    mirrored = encoder.contract.orient and eye == "left"
    return heat(shares(parts[:, ::-1] if mirrored else parts))


def _pixels(service: SearchService, id_: int) -> Pixels:
    try:
        return decode(Path(service.case(id_).path), min_side=service.retriever.encoder.contract.min_side)
    except (ImageError, OSError):
        raise ImageError(f"the photograph of case {id_} can't be read any more") from None

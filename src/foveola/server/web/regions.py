"""Cases like one place of a photograph, on a page."""

import threading
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse

from foveola.images.decode import decode
from foveola.labels import is_phantom
from foveola.regions import Box, Places, RegionResult, RegionSearch
from foveola.regions.present import sentences
from foveola.server.auth.context import discreet, record_access
from foveola.server.services.pictures import LRUCache
from foveola.server.services.queries import Sent
from foveola.server.services.search import NAME, SearchService
from foveola.server.web.search import Asked, OnService, Ticked, page

PLACES = 64  # photographs asked about whose places are kept
router = APIRouter()


class Marker:
    """Region search on a service's archive, begun at the first question."""

    def __init__(self, service: SearchService) -> None:
        self._desk, self._lock = service, threading.Lock()
        self._search: RegionSearch | None = None
        self._places: LRUCache[Places] = LRUCache(PLACES)

    @property
    def search(self) -> RegionSearch:
        """Of the archive.

        Raises:
            RegionError: it does not keep its places.
        """
        with self._lock:
            if self._search is None:
                self._search = RegionSearch(self._desk.retriever)
            return self._search

    def answer(self, sent: Sent, region: Box, k: int, where: str | None) -> RegionResult:
        """The cases with a place most like one of a photograph that was sent.

        Raises:
            RegionError, FilterError: see `RegionSearch.search`.
        """
        search = self.search
        places = self._places.get(
            (sent.query.digest, sent.query.case.eye),
            lambda: search.look(decode(sent.picture.jpeg, name=NAME), sent.query),
        )
        result: RegionResult = discreet(search.search(sent.query, places, region, k, where=where))
        record_access(hit.id for hit in result.hits)
        return result


def marker_of(request: Request, service: OnService) -> Marker:
    """One for the whole application."""
    state = request.app.state
    if not hasattr(state, "marker"):
        state.marker = Marker(service)
    found: Marker = state.marker
    return found


Marking = Annotated[Marker, Depends(marker_of)]


@router.get("/queries/{token}/region", include_in_schema=False)
def region_page(token: str, marker: Marking, sent: Asked) -> HTMLResponse:
    """Where a place of the photograph is marked."""
    _ = marker.search  # an archive without places says so at once
    return page("region.html", token=token, sent=sent, result=None, said=[], noted=False)


@router.get("/queries/{token}/region/hits", include_in_schema=False)
def region_hits(
    token: str,
    request: Request,
    marker: Marking,
    sent: Asked,
    chosen: Ticked,
    region: Annotated[str, Query(max_length=200)],
) -> HTMLResponse:
    """The cases with a place like it; only them where the page is there already."""
    result = marker.answer(sent, Box.parse(region), chosen.count, chosen.condition())
    template = "region_hits.html" if request.headers.get("HX-Request") else "region.html"
    within = template == "region_hits.html"  # the banner of a whole page is at its top
    phantoms = any(is_phantom(hit.case) for hit in result.hits)
    return page(
        template,
        token=token,
        sent=sent,
        result=result,
        said=sentences(result),
        phantoms=phantoms,
        noted=within and phantoms,
    )

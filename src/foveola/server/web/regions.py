"""Cases like one place of a photograph: the page, and the interface for programs."""

import threading
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, File, Form, Query, Request
from fastapi import UploadFile as Upload
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field

from foveola.images.decode import decode
from foveola.labels import is_phantom
from foveola.regions import Box, Places, RegionHit, RegionResult, RegionSearch
from foveola.regions.search import sentences
from foveola.server.api.search import CONSIDERED, EXCLUDED, FAULTS, HELD, CaseOut
from foveola.server.auth.context import discreet, record_access
from foveola.server.services.pictures import LRUCache
from foveola.server.services.queries import Sent
from foveola.server.services.search import NAME, SearchService
from foveola.server.web.search import Asked, OnService, Ticked, Whose, page

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


@router.post("/api/v1/search/region", responses=FAULTS)
def search_region(
    service: OnService,
    marker: Marking,
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
    search = marker.search
    data = photograph.file.read()
    query = service.embed(data, eye, *whose)
    result: RegionResult = discreet(search.search(query, search.look_at(data, query), box, k, where=where))
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

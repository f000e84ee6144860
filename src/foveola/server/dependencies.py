"""What the routes of pages and of the interface for programs are given: services, and what a request says."""

import re
from typing import Annotated, NamedTuple

from fastapi import Depends, Form, HTTPException, Query, Request
from pydantic import BeforeValidator

from foveola.retrieval import Marks
from foveola.server.services.filters import COUNT, MOST, Chosen
from foveola.server.services.matching import MatchingService
from foveola.server.services.memory import Sent
from foveola.server.services.reading import ReadingService
from foveola.server.services.search import RegionService, SearchService
from foveola.server.texts import texts


def service_of(request: Request) -> SearchService:
    """Return the archive that a request is about."""
    service: SearchService = request.app.state.service
    return service


def reading_of(request: Request) -> ReadingService:
    """Return what answers about two eyes."""
    service: ReadingService = request.app.state.reading
    return service


def matching_of(request: Request) -> MatchingService:
    """Return what answers who is who in the archive."""
    service: MatchingService = request.app.state.matching
    return service


def regions_of(request: Request) -> RegionService:
    """Return what answers about a place of a photograph."""
    service: RegionService = request.app.state.regions
    return service


OnService = Annotated[SearchService, Depends(service_of)]
OnReading = Annotated[ReadingService, Depends(reading_of)]
OnMatching = Annotated[MatchingService, Depends(matching_of)]
OnRegions = Annotated[RegionService, Depends(regions_of)]


def _canonical(value: object) -> object:
    """Of the many ways to write a number, one: every case has a single address."""
    if isinstance(value, str) and not re.fullmatch("[1-9][0-9]*", value):
        raise ValueError("expected the number of a case, such as 17")
    return value


CaseId = Annotated[int, BeforeValidator(_canonical)]


class Person(NamedTuple):
    """Whose photograph is sent: a pseudonym of the archive and its name space; None if not said."""

    subject: str | None
    collection: str


def whose_of(
    subject: Annotated[
        str, Form(max_length=200, description="pseudonym of whose photograph it is, who is left out")
    ] = "",
    collection: Annotated[str, Form(max_length=200, description="of that pseudonym")] = "",
) -> Person:
    """Read whose photograph is sent; in a form, as what stands in an address is logged."""
    subject = subject.strip()
    return Person(subject, collection) if subject else Person(None, "")


def chosen_of(
    grade: Annotated[list[str] | None, Query()] = None,
    eye: str = "",
    finding: str = "",
    camera: str = "",
    youngest: str = "",
    oldest: str = "",
    where: str = "",
    by: str = "",
    label: str = "",
    count: Annotated[int, Query(ge=1, le=MOST)] = COUNT,
    more: Annotated[list[int] | None, Query(max_length=MOST)] = None,
    less: Annotated[list[int] | None, Query(max_length=MOST)] = None,
) -> Chosen:
    """Read what was ticked."""
    marks = Marks(tuple(more or ()), tuple(less or ())).plain
    return Chosen(tuple(grade or ()), eye, finding, camera, youngest, oldest, where, by, label, count, marks)


def sent_of(token: str, service: OnService) -> Sent:
    """Return the photograph of a token.

    Raises:
        HTTPException: it is not kept any more.
    """
    service.evict()  # of a person who was forgotten meanwhile
    sent = service.queries.get(token)
    if sent is None:
        raise HTTPException(410, texts()("query.gone"))
    return sent


Whose = Annotated[Person, Depends(whose_of)]
Ticked = Annotated[Chosen, Depends(chosen_of)]
Asked = Annotated[Sent, Depends(sent_of)]

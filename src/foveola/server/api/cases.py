"""/api/v1/cases: list them, add one, take one away."""

from typing import Annotated

from fastapi import APIRouter, Depends, File, Query, Request, Response
from fastapi import UploadFile as Upload
from pydantic import BaseModel, Field

from foveola.records import Case
from foveola.server.api.records import record_of
from foveola.server.api.search import FAULTS, CaseOut
from foveola.server.auth.context import record_access
from foveola.server.dependencies import CaseId, OnService
from foveola.server.services.changes import Changes

LARGEST = 2**63 - 1  # id that the archive can hold
router = APIRouter(prefix="/api/v1", responses=FAULTS)


class CasesOut(BaseModel):
    """Some cases, in order of their ids."""

    cases: list[CaseOut]
    total: int = Field(description="cases that meet the condition, on all pages")
    next: int | None = Field(description="give it as `after` for the next page; null on the last")


class AddedOut(BaseModel):
    """A case that is in the archive now."""

    case: CaseOut
    new: bool = Field(description="false where the archive held the same photograph and record")
    gradability: float | None = Field(description="of the photograph, from 0 to 1, if it is new")
    foreign: bool | None = Field(description="whether it does not look like a retina, if it is new")


def changes_of(request: Request) -> Changes:
    """What changes the archive of a request."""
    changes: Changes = request.app.state.changes
    return changes


OnChanges = Annotated[Changes, Depends(changes_of)]


@router.get("/cases")
def cases(
    service: OnService,
    where: Annotated[str | None, Query(description="condition, see docs/reference/archive.md")] = None,
    after: Annotated[int, Query(ge=0, le=LARGEST, description="`next` of the page before")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="cases on a page")] = 100,
) -> CasesOut:
    """The cases that meet a condition, a page at a time."""
    found, total = service.retriever.archive.page(where, after=after, limit=limit)
    more = len(found) == limit and bool(service.retriever.archive.page(where, after=found[-1][0], limit=1)[0])
    return CasesOut(
        cases=[CaseOut.of(id_, case) for id_, case in found], total=total, next=found[-1][0] if more else None
    )


HELD = {"model": AddedOut, "description": "the archive held the same photograph and record"}


@router.post("/cases", status_code=201, responses={200: HELD})
def add(
    response: Response,
    changes: OnChanges,
    photograph: Annotated[Upload, File(description="JPEG, PNG, TIFF, WebP or BMP")],
    record: Annotated[Case, Depends(record_of)],
) -> AddedOut:
    """Keep a photograph in the archive and store its case.

    On return both are on the disk, and a search finds the case. The same photograph with another
    record is refused (409).
    """
    added = changes.add(photograph.file.read(), record)
    if not added.new:
        response.status_code = 200
    quality = added.gradability
    return AddedOut(
        case=CaseOut.of(added.id, added.case),
        new=added.new,
        gradability=None if quality is None else round(quality, 4),
        foreign=added.foreign,
    )


@router.delete("/cases/{id}", status_code=204)
def delete(id: CaseId, changes: OnChanges) -> Response:  # noqa: A002 - the path says id
    """Take a case away, beyond recovery: record, descriptors, and the photograph if it was sent.

    Takes a second or two for 100,000 cases, as the archive is rewritten. For many cases use a job.
    """
    changes.remove(id)
    record_access([id])
    return Response(status_code=204)

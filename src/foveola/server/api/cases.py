"""/api/v1/cases and /jobs: list cases, look at one, add one, take one away; and work that takes longer than that."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, File, Form, HTTPException, Query, Request, Response
from fastapi import UploadFile as Upload
from fastapi.responses import JSONResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from foveola.answers import Added, CasePage, Job, StoredCase
from foveola.datasets import cells
from foveola.datasets.tables import Faults
from foveola.records import PLAIN, RESERVED, Case, Eye, Scalar, is_missing
from foveola.server.api import FAULTS, said
from foveola.server.auth.context import record_access, show_case
from foveola.server.dependencies import CaseId, OnService
from foveola.server.services import changes as work
from foveola.server.services.changes import Changes

LARGEST = 2**63 - 1  # id that the archive can hold
LONGEST = 200  # characters of a text
MOST = 100  # further columns
JPEG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/jpeg": {}}}}
HELD = {"model": Added, "description": "the archive held the same photograph and record"}
router = APIRouter(prefix="/api/v1", responses=FAULTS)


# A record, as a form sends it


def _told(value: Any) -> Any:
    """Return None for what stands for an unknown value, as in a manifest."""
    return None if isinstance(value, str) and is_missing(value) else value


Told = BeforeValidator(_told)


def record_of(
    subject: Annotated[
        str | None, Form(max_length=LONGEST, pattern=PLAIN, description="pseudonym of the person")
    ] = None,
    collection: Annotated[str, Form(max_length=LONGEST, pattern=PLAIN, description="name space of the pseudonym")] = "",
    eye: Annotated[Eye | None, Told, Form()] = None,
    visit: Annotated[
        str | None, Form(max_length=40, description="months since the first visit, or an ISO date")
    ] = None,
    grade: Annotated[Annotated[int, Field(ge=0, le=4)] | None, Told, Form(description="ICDR")] = None,
    findings: Annotated[
        str | None,
        Form(
            max_length=LONGEST, pattern=PLAIN, description='labels, "D;H"; ";" says that somebody looked and found none'
        ),
    ] = None,
    extra: Annotated[
        str | None, Form(max_length=10_000, description='further columns, a JSON object: {"age": 61}')
    ] = None,
) -> Case:
    """Return the record that a form describes, by the rules of a manifest; it has no photograph yet."""
    text = None if not findings else cells.findings([findings])[0]
    return Case(
        image="",
        path="",
        subject=_subject(subject),
        collection=collection,
        eye=eye,
        visit=cells.visit_of(visit),
        grade=grade,
        extra=_extra(extra),
        findings=None if text is None else cells.split_findings(text),
    )


def _subject(text: str | None) -> str | None:
    faults = Faults()
    (subject,) = cells.identifiers("subject", [text or ""], [1], faults)
    cells.check_broken("subject", [subject or ""], [1], faults)
    if faults:
        raise HTTPException(
            422, "subject: a date, a number that a spreadsheet rounded, or its error; send it as it was given"
        )
    return subject


def _extra(text: str | None) -> dict[str, Scalar]:
    if not text:
        return {}
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or len(values) > MOST:
        raise HTTPException(422, f"extra: expected a JSON object of at most {MOST} columns")
    return {_name(key): _scalar(value) for key, value in values.items() if _told(value) is not None}


def _name(key: str) -> str:
    if not key or len(key) > LONGEST or not key.isprintable() or key.lower() in RESERVED:
        raise HTTPException(422, "extra: a column has no name, or one that is taken or too long")
    return key


def _scalar(value: Any) -> Scalar:
    if isinstance(value, str) and len(value) <= LONGEST and (value.isprintable() or not value):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
        return value
    if isinstance(value, float) and abs(value) < float("inf"):
        return value
    raise HTTPException(422, f"extra: expected texts of up to {LONGEST} characters, and numbers")


# What is asked


def changes_of(request: Request) -> Changes:
    """Return what changes the archive of a request."""
    changes: Changes = request.app.state.changes
    return changes


OnChanges = Annotated[Changes, Depends(changes_of)]


@router.get("/cases", response_model=CasePage)
def cases(
    service: OnService,
    where: Annotated[str | None, Query(description="condition, see docs/reference/archive.md")] = None,
    after: Annotated[int, Query(ge=0, le=LARGEST, description="`next` of the page before")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="cases on a page")] = 100,
) -> JSONResponse:
    """List the cases that meet a condition, a page at a time."""
    found, total = service.retriever.archive.page(where, after=after, limit=limit)
    more = len(found) == limit and bool(service.retriever.archive.page(where, after=found[-1][0], limit=1)[0])
    shown = tuple(show_case(id_, case) for id_, case in found)
    return said(CasePage(shown, total, found[-1][0] if more else None))


@router.get("/cases/{id}", response_model=StoredCase)
def case(id: CaseId, service: OnService) -> JSONResponse:  # noqa: A002 - the path says id
    """Describe a case of the archive."""
    return said(show_case(id, service.case(id)))


@router.get("/cases/{id}/picture", response_class=Response, responses=JPEG)
def picture(id: CaseId, service: OnService) -> Response:  # noqa: A002
    """Send the photograph of a case, at most 2048 pixels a side, without metadata."""
    return Response(service.picture(id).jpeg, media_type="image/jpeg")


@router.get("/cases/{id}/thumbnail", response_class=Response, responses=JPEG)
def thumbnail(id: CaseId, service: OnService) -> Response:  # noqa: A002
    """Send the field of view of a photograph, 360 pixels a side."""
    data = service.thumbnail(id)
    if data is None:
        raise HTTPException(404, f"the photograph of case {id} can't be read any more")
    return Response(data, media_type="image/jpeg")


@router.post("/cases", status_code=201, response_model=Added, responses={200: HELD})
def add(
    changes: OnChanges,
    photograph: Annotated[Upload, File(description="JPEG, PNG, TIFF, WebP or BMP")],
    record: Annotated[Case, Depends(record_of)],
) -> JSONResponse:
    """Keep a photograph in the archive and store its case.

    On return both are on the disk, and a search finds the case. The same photograph with another
    record is refused (409).
    """
    added = changes.add(photograph.file.read(), record)
    return said(Added.from_object(added, case=show_case(added.id, added.case)), 201 if added.new else 200)


@router.delete("/cases/{id}", status_code=204)
def delete(id: CaseId, changes: OnChanges) -> Response:  # noqa: A002 - the path says id
    """Take a case away, beyond recovery: record, descriptors, and the photograph if it was sent.

    Takes a second or two for 100,000 cases, as the archive is rewritten. For many cases use a job.
    """
    changes.remove(id)
    record_access([id])
    return Response(status_code=204)


# Jobs


Name = Annotated[str, Field(max_length=LONGEST, pattern=PLAIN)]


class IndexIn(BaseModel):
    """Index photographs that lie on the server."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["index"]
    source: Annotated[str, Field(min_length=1, max_length=1000, pattern=PLAIN)] = Field(
        description="folder, manifest or photograph, relative to the service's --import-root"
    )
    collection: Name = Field("", description="name space of the subjects")


class RemoveIn(BaseModel):
    """Take cases away: those with these ids, or all of a subject."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["remove"]
    ids: list[Annotated[int, Field(ge=1, le=LARGEST)]] | None = Field(
        None, min_length=1, max_length=100_000, description="of cases"
    )
    subject: Name | None = Field(None, min_length=1, description="pseudonym; or this")
    collection: Name | None = Field(None, description="of the subject, if several have it")


class SettleIn(BaseModel):
    """Learn anew what similarities are worth; follow with the gallery for matching."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["settle"]


JobIn = Annotated[IndexIn | RemoveIn | SettleIn, Body(discriminator="kind", description="what shall be done")]


def job_answer(job: work.Job) -> Job:
    """Return what is answered of a job."""
    ended = None if job.ended is None else _iso(job.ended)
    return Job.from_object(job, created=_iso(job.created), ended=ended)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(round(seconds, 3), UTC).isoformat().replace("+00:00", "Z")


@router.post("/jobs", status_code=202, response_model=Job)
def submit(changes: OnChanges, wanted: JobIn) -> JSONResponse:
    """Let work be done when the jobs before it are. Its address is under Location."""
    if isinstance(wanted, IndexIn):
        job = changes.start_import(wanted.source, wanted.collection)
    elif isinstance(wanted, RemoveIn):
        if (wanted.ids is None) == (wanted.subject is None):
            raise HTTPException(422, "give either ids or a subject")
        job = changes.start_removal(wanted.ids, wanted.subject, wanted.collection)
    else:
        job = changes.start_settling()
    return said(job_answer(job), 202, Location=f"/api/v1/jobs/{job.id}")


@router.get("/jobs", response_model=list[Job])
def jobs(changes: OnChanges) -> JSONResponse:
    """List the last jobs, the newest first."""
    return JSONResponse([job_answer(job).to_dict() for job in changes.jobs.all()])


@router.get("/jobs/{id}", response_model=Job)
def job(id: str, changes: OnChanges) -> JSONResponse:  # noqa: A002 - the path says id
    """Describe a job and how far it is."""
    return said(job_answer(changes.jobs.get(id)))


@router.delete("/jobs/{id}", response_model=Job)
def cancel(id: str, changes: OnChanges) -> JSONResponse:  # noqa: A002
    """Cancel a job. One at work ends after the photographs it is at; what it stored stays."""
    return said(job_answer(changes.jobs.cancel(id)))

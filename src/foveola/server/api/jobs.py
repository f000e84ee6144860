"""/api/v1/jobs: work that takes longer than a request may."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Body, HTTPException
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from foveola.answers import Job
from foveola.records import PLAIN
from foveola.server.api import FAULTS, said
from foveola.server.api.cases import LARGEST, LONGEST, OnChanges
from foveola.server.services import jobs as work

router = APIRouter(prefix="/api/v1", responses=FAULTS)
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


def answer(job: work.Job) -> Job:
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
    return said(answer(job), 202, Location=f"/api/v1/jobs/{job.id}")


@router.get("/jobs", response_model=list[Job])
def jobs(changes: OnChanges) -> JSONResponse:
    """List the last jobs, the newest first."""
    return JSONResponse([answer(job).to_dict() for job in changes.jobs.all()])


@router.get("/jobs/{id}", response_model=Job)
def job(id: str, changes: OnChanges) -> JSONResponse:  # noqa: A002 - the path says id
    """Describe a job and how far it is."""
    return said(answer(changes.jobs.get(id)))


@router.delete("/jobs/{id}", response_model=Job)
def cancel(id: str, changes: OnChanges) -> JSONResponse:  # noqa: A002
    """Cancel a job. One at work ends after the photographs it is at; what it stored stays."""
    return said(answer(changes.jobs.cancel(id)))

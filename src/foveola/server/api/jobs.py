"""/api/v1/jobs: work that takes longer than a request may."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Body, HTTPException, Response
from pydantic import BaseModel, ConfigDict, Field

from foveola.records import PLAIN
from foveola.server.api.cases import LARGEST, OnChanges
from foveola.server.api.records import LONGEST
from foveola.server.api.search import FAULTS
from foveola.server.services.jobs import Job, Kind, Result, State

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


class JobOut(BaseModel):
    """A job and how far it is."""

    id: str
    kind: Kind
    state: State = Field(
        description='"queued", "running", "done", "failed" or "cancelled"; "interrupted" where '
        "the service ended before the job did: what was stored by then is stored"
    )
    done: int = Field(description="photographs dealt with")
    total: int | None = Field(description="photographs to deal with; null where that is unknown")
    sentence: str | None = Field(description="why it failed")
    result: Result = Field(
        description="numbers that it ended with; passed_over counts by kind what in a folder was no photograph"
    )
    created: datetime
    ended: datetime | None

    @classmethod
    def of(cls, job: Job) -> "JobOut":
        """A job of the service."""
        return cls(
            id=job.id,
            kind=job.kind,
            state=job.state,
            done=job.done,
            total=job.total,
            sentence=job.sentence,
            result=job.result,
            created=_when(job.created),
            ended=None if job.ended is None else _when(job.ended),
        )


def _when(seconds: float) -> datetime:
    return datetime.fromtimestamp(round(seconds, 3), UTC)


@router.post("/jobs", status_code=202)
def submit(response: Response, changes: OnChanges, wanted: JobIn) -> JobOut:
    """Let work be done when the jobs before it are. Its address is under Location."""
    if isinstance(wanted, IndexIn):
        job = changes.start_import(wanted.source, wanted.collection)
    elif isinstance(wanted, RemoveIn):
        if (wanted.ids is None) == (wanted.subject is None):
            raise HTTPException(422, "give either ids or a subject")
        job = changes.start_removal(wanted.ids, wanted.subject, wanted.collection)
    else:
        job = changes.start_settling()
    response.headers["Location"] = f"/api/v1/jobs/{job.id}"
    return JobOut.of(job)


@router.get("/jobs")
def jobs(changes: OnChanges) -> list[JobOut]:
    """The last jobs, the newest first."""
    return [JobOut.of(job) for job in changes.jobs.all()]


@router.get("/jobs/{id}")
def job(id: str, changes: OnChanges) -> JobOut:  # noqa: A002 - the path says id
    """A job and how far it is."""
    return JobOut.of(changes.jobs.get(id))


@router.delete("/jobs/{id}")
def cancel(id: str, changes: OnChanges) -> JobOut:  # noqa: A002
    """Cancel a job. One at work ends after the photographs it is at; what it stored stays."""
    return JobOut.of(changes.jobs.cancel(id))

"""The client: one method for each thing that a service can be asked."""

import json
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from foveola.client.answers import Added, Job, MatchAnswer, Order, ReadAnswer, SearchAnswer, StoredCase, made
from foveola.client.faults import InvalidError, JobFailedError
from foveola.client.http import Http
from foveola.errors import ServiceError
from foveola.records import Eye, Scalar
from foveola.resources import AnyPath, Closing

Photograph = AnyPath | bytes  # the path of a file, or its bytes


class Client(Closing):
    """A service, asked over HTTP. A context manager; use one in each thread.

    Every method raises a `ServiceError` (faults.py) with the service's own sentence where it
    refuses, and where nobody answers.

    Args:
        address: of the service, such as http://127.0.0.1:8321.
        token: of an account; None takes it from FOVEOLA_TOKEN, where that is set.
        timeout: seconds that an answer may take.
        retries: tries more when the service says that it can't answer now (429, 503), after as
            many seconds as it says.
    """

    def __init__(self, address: str, *, token: str | None = None, timeout: float = 60.0, retries: int = 3) -> None:
        self._http = Http(address, token, timeout, retries)

    def close(self) -> None:
        """Give the connection back."""
        self._http.close()

    # Asking

    def search(
        self,
        photograph: Photograph,
        k: int = 10,
        *,
        where: str | None = None,
        eye: Eye | None = None,
        by: Order | None = None,
        label: str | None = None,
    ) -> SearchAnswer:
        """The k cases most like a photograph, among those that meet a condition.

        Ordered by what the archive learnt of a label where it learnt one, unless told otherwise.
        """
        form = {"k": k, "where": where, "eye": eye, "by": by, "label": label}
        return made(SearchAnswer, self._sent("/search", {"photograph": photograph}, form))

    def read(
        self, left: Photograph | None = None, right: Photograph | None = None, *, k: int = 5, where: str | None = None
    ) -> ReadAnswer:
        """How probable each finding is, and the k most similar people who meet a condition."""
        eyes = {"left": left, "right": right}
        given = {eye: photograph for eye, photograph in eyes.items() if photograph is not None}
        if not given:
            raise ValueError("expected a photograph of the left eye, the right eye, or both")
        return made(ReadAnswer, self._sent("/read", given, {"k": k, "where": where}))

    def match(
        self, photograph: Photograph, *, candidates: int = 20, visit: float | str | None = None, prior: float = 0.5
    ) -> MatchAnswer:
        """Other photographs of the same eye, where the archive allows matching."""
        form = {"candidates": candidates, "visit": visit, "prior": prior}
        return made(MatchAnswer, self._sent("/match", {"photograph": photograph}, form))

    # Cases

    def cases(self, where: str | None = None, *, page: int = 500) -> Iterator[StoredCase]:
        """Every case that meets a condition, in order of their ids."""
        after: int | None = 0
        while after is not None:
            params = {"after": after, "limit": page} | ({} if where is None else {"where": where})
            said = self._http.ask("GET", "/cases", params=params).json()
            yield from (made(StoredCase, case) for case in said["cases"])
            after = said["next"]

    def case(self, id_: int) -> StoredCase:
        """One case."""
        return made(StoredCase, self._http.ask("GET", f"/cases/{id_}").json())

    def picture(self, id_: int) -> bytes:
        """The photograph of a case as a JPEG, at most 2048 pixels a side."""
        return self._http.ask("GET", f"/cases/{id_}/picture").content

    def thumbnail(self, id_: int) -> bytes:
        """Its field of view as a JPEG, 360 pixels a side."""
        return self._http.ask("GET", f"/cases/{id_}/thumbnail").content

    def add(
        self,
        photograph: Photograph,
        *,
        subject: str | None = None,
        collection: str = "",
        eye: Eye | None = None,
        visit: float | str | None = None,
        grade: int | None = None,
        findings: Collection[str] | None = None,
        extra: Mapping[str, Scalar] | None = None,
    ) -> Added:
        """Keep a photograph in the archive with its record; on return it is on its disk.

        An empty `findings` says that somebody looked and found none; None that nobody did.
        """
        labels = None if findings is None else ";".join(sorted(findings)) or ";"
        form = {
            "subject": subject,
            "collection": collection,
            "eye": eye,
            "visit": visit,
            "grade": grade,
            "findings": labels,
            "extra": None if extra is None else _json(extra),
        }
        return made(Added, self._sent("/cases", {"photograph": photograph}, form))

    def delete(self, id_: int) -> None:
        """Take a case out of the archive, beyond recovery."""
        self._http.ask("DELETE", f"/cases/{id_}")

    # Jobs

    def index(self, source: str, collection: str = "") -> Job:
        """Index a folder or a manifest on the server, relative to its --import-root."""
        return self._submit({"kind": "index", "source": source, "collection": collection})

    def remove(
        self, *, ids: Collection[int] | None = None, subject: str | None = None, collection: str | None = None
    ) -> Job:
        """Take cases, or all cases of a subject, out of the archive."""
        wanted = {"ids": None if ids is None else list(ids), "subject": subject}
        named = {key: value for key, value in wanted.items() if value is not None}
        return self._submit({"kind": "remove", "collection": collection} | named)

    def settle(self) -> Job:
        """Learn anew what similarities are worth in the archive."""
        return self._submit({"kind": "settle"})

    def jobs(self) -> list[Job]:
        """The last jobs, the newest first."""
        return [made(Job, job) for job in self._http.ask("GET", "/jobs").json()]

    def job(self, id_: str) -> Job:
        """A job and how far it is."""
        return made(Job, self._http.ask("GET", f"/jobs/{id_}").json())

    def cancel(self, id_: str) -> Job:
        """Cancel a job that waits or is at work."""
        return made(Job, self._http.ask("DELETE", f"/jobs/{id_}").json())

    def wait(
        self,
        job: Job,
        *,
        timeout: float | None = None,
        every: float = 0.5,
        progress: Callable[[Job], None] | None = None,
    ) -> Job:
        """Wait until a job is done.

        Args:
            job: as it was submitted.
            timeout: seconds to wait at most; None waits for ever.
            every: seconds between two looks at it.
            progress: called with the job at each look.

        Raises:
            JobFailedError: it failed, was cancelled or was interrupted.
            TimeoutError: it is not done in time; it goes on.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            job = self.job(job.id)
            if progress is not None:
                progress(job)
            if job.state == "done":
                return job
            if not job.open:
                raise JobFailedError(job.sentence or f"the job was {job.state}")
            if end is not None and time.monotonic() >= end:
                raise TimeoutError(f"the job is {job.state} after {timeout:g} s")
            time.sleep(every)

    # The service

    def archive(self) -> dict[str, Any]:
        """What the archive holds, in numbers."""
        said: dict[str, Any] = self._http.ask("GET", "/archive").json()
        return said

    def health(self) -> bool:
        """Whether the service answers at all."""
        try:
            said: dict[str, Any] = self._http.ask("GET", "/health", again=False).json()
        except (ServiceError, ValueError):
            return False
        return said.get("status") == "ok"

    def ready(self) -> int:
        """How many cases can be searched.

        Raises:
            BusyServiceError: none yet.
        """
        return int(self._http.ask("GET", "/ready", again=False).json()["cases"])

    def _submit(self, wanted: Mapping[str, Any]) -> Job:
        return made(Job, self._http.ask("POST", "/jobs", json=wanted).json())

    def _sent(self, path: str, photographs: Mapping[str, Photograph], form: Mapping[str, Any]) -> Any:
        files = {name: _bytes(each) for name, each in photographs.items()}
        return self._http.ask("POST", path, files=files, data=form).json()


def _bytes(photograph: Photograph) -> bytes:
    if isinstance(photograph, bytes):
        return photograph
    if not isinstance(photograph, str | os.PathLike):
        raise ValueError(
            f"the photograph is of type {type(photograph).__name__}; expected the path of a file "
            "(text or Path) or its bytes"
        )
    try:
        return Path(photograph).read_bytes()
    except OSError as error:
        raise InvalidError(f"the photograph can't be read: {error.strerror}") from None


def _json(values: Mapping[str, Scalar]) -> str:
    try:
        known = {key: value for key, value in values.items() if value == value}  # NaN is unknown
        return json.dumps(known, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidError(f"extra can't be sent as JSON: {error}") from None

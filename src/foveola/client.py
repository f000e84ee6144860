"""Ask a running Foveola service from Python.

    from foveola.client import Client

    with Client("http://127.0.0.1:8321") as client:
        for hit in client.search(Path("fundus.jpg"), k=5, where="grade >= 2").hits:
            print(hit.rank, hit.similarity, hit.case.grade)

Needs httpx (`pip install 'foveola[serve]'`) and loads neither numpy nor a model. docs/reference/rest.md
lists what can be asked.
"""

import json
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foveola.answers import (
    Added,
    Candidate,
    CasePage,
    EyeReading,
    Hit,
    Job,
    MatchAnswer,
    Order,
    Person,
    ReadAnswer,
    SearchAnswer,
    StoredCase,
)
from foveola.errors import MissingExtraError, ServiceError
from foveola.records import Eye, Scalar
from foveola.resources import AnyPath, Closing

if TYPE_CHECKING:
    import httpx

__all__ = [
    "Added",
    "BusyServiceError",
    "Candidate",
    "Client",
    "ConflictError",
    "EyeReading",
    "ForbiddenError",
    "Hit",
    "InvalidError",
    "Job",
    "JobFailedError",
    "MatchAnswer",
    "NotFoundError",
    "Person",
    "ReadAnswer",
    "SearchAnswer",
    "ServiceError",
    "StoredCase",
    "UnreachableError",
]

Photograph = AnyPath | bytes  # the path of a file, or its bytes
TOKEN = "FOVEOLA_TOKEN"  # noqa: S105 - the name of a variable in the environment
AGAIN = (429, 503)
LONGEST = 60.0  # seconds that are waited between two tries


# What can go wrong; each says in one sentence what the service said


class UnreachableError(ServiceError):
    """Nobody answers at the address, or not in time."""


class ForbiddenError(ServiceError):
    """The service wants to know who asks (401), or does not allow it (403)."""


class NotFoundError(ServiceError):
    """There is no such case, job or address (404)."""


class ConflictError(ServiceError):
    """It does not fit what the archive holds, or a job has ended (409)."""


class InvalidError(ServiceError):
    """The photograph, the condition or a number can't be used (400, 413, 422)."""


class BusyServiceError(ServiceError):
    """The service can't answer now, and could not after several tries (429, 503)."""


class JobFailedError(ServiceError):
    """A job that was waited for failed, was cancelled or was interrupted."""


class Client(Closing):
    """Ask a service over HTTP. A context manager; use one in each thread.

    Every method raises a `ServiceError` of this module with the service's own sentence where it
    refuses, and where nobody answers.

    Args:
        address: of the service, such as http://127.0.0.1:8321.
        token: of an account; None takes it from FOVEOLA_TOKEN, where that is set.
        timeout: seconds that an answer may take.
        retries: tries more when the service says that it can't answer now (429, 503), after as
            many seconds as it says.
    """

    def __init__(self, address: str, *, token: str | None = None, timeout: float = 60.0, retries: int = 3) -> None:
        self._http = _Http(address, token, timeout, retries)

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
        """Find the k cases most like a photograph, among those that meet a condition.

        Ordered by what the archive learnt of a label where it learnt one, unless told otherwise.
        """
        form = {"k": k, "where": where, "eye": eye, "by": by, "label": label}
        return SearchAnswer.from_dict(self._sent("/search", {"photograph": photograph}, form))

    def read(
        self, left: Photograph | None = None, right: Photograph | None = None, *, k: int = 5, where: str | None = None
    ) -> ReadAnswer:
        """Say how probable each finding is, and find the k most similar people who meet a condition."""
        eyes = {"left": left, "right": right}
        given = {eye: photograph for eye, photograph in eyes.items() if photograph is not None}
        if not given:
            raise ValueError("expected a photograph of the left eye, the right eye, or both")
        return ReadAnswer.from_dict(self._sent("/read", given, {"k": k, "where": where}))

    def match(
        self, photograph: Photograph, *, candidates: int = 20, visit: float | str | None = None, prior: float = 0.5
    ) -> MatchAnswer:
        """Find other photographs of the same eye, where the archive allows matching."""
        form = {"candidates": candidates, "visit": visit, "prior": prior}
        return MatchAnswer.from_dict(self._sent("/match", {"photograph": photograph}, form))

    # Cases

    def cases(self, where: str | None = None, *, page: int = 500) -> Iterator[StoredCase]:
        """Yield every case that meets a condition, in order of their ids."""
        after: int | None = 0
        while after is not None:
            params = {"after": after, "limit": page} | ({} if where is None else {"where": where})
            said = CasePage.from_dict(self._http.ask("GET", "/cases", params=params).json())
            yield from said.cases
            after = said.next

    def case(self, id_: int) -> StoredCase:
        """Return one case."""
        return StoredCase.from_dict(self._http.ask("GET", f"/cases/{id_}").json())

    def picture(self, id_: int) -> bytes:
        """Return the photograph of a case as a JPEG, at most 2048 pixels a side."""
        return self._http.ask("GET", f"/cases/{id_}/picture").content

    def thumbnail(self, id_: int) -> bytes:
        """Return its field of view as a JPEG, 360 pixels a side."""
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
        return Added.from_dict(self._sent("/cases", {"photograph": photograph}, form))

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
        """List the last jobs, the newest first."""
        return [Job.from_dict(job) for job in self._http.ask("GET", "/jobs").json()]

    def job(self, id_: str) -> Job:
        """Return a job and how far it is."""
        return Job.from_dict(self._http.ask("GET", f"/jobs/{id_}").json())

    def cancel(self, id_: str) -> Job:
        """Cancel a job that waits or is at work."""
        return Job.from_dict(self._http.ask("DELETE", f"/jobs/{id_}").json())

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
        """Return what the archive holds, in numbers."""
        said: dict[str, Any] = self._http.ask("GET", "/archive").json()
        return said

    def health(self) -> bool:
        """Say whether the service answers at all."""
        try:
            said: dict[str, Any] = self._http.ask("GET", "/health", again=False).json()
        except (ServiceError, ValueError):
            return False
        return said.get("status") == "ok"

    def ready(self) -> int:
        """Return how many cases can be searched.

        Raises:
            BusyServiceError: none yet.
        """
        return int(self._http.ask("GET", "/ready", again=False).json()["cases"])

    def _submit(self, wanted: Mapping[str, Any]) -> Job:
        return Job.from_dict(self._http.ask("POST", "/jobs", json=wanted).json())

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


# Requests


class _Http:
    """A connection to a service, kept open.

    Args:
        address: of the service, such as http://127.0.0.1:8321.
        token: of an account; None takes it from FOVEOLA_TOKEN, where that is set.
        timeout: seconds that an answer may take.
        retries: tries more when the service says that it can't answer now.
    """

    def __init__(self, address: str, token: str | None, timeout: float, retries: int) -> None:
        try:
            import httpx
        except ImportError:
            raise MissingExtraError(
                "the client needs httpx, which is not installed. Run: pip install 'foveola[serve]'"
            ) from None
        token = token or os.environ.get(TOKEN)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._address, self._timeout, self._retries = address.rstrip("/"), timeout, retries
        try:
            self._client = httpx.Client(
                base_url=f"{self._address}/api/v1",
                headers=headers,
                timeout=timeout,
                follow_redirects=False,  # the token and the photographs are for this address
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise UnreachableError(f"{address!r} is no address of a service: {error}") from None

    def close(self) -> None:
        """Give the connection back."""
        self._client.close()

    def ask(
        self,
        method: str,
        path: str,
        *,
        again: bool = True,
        files: Mapping[str, bytes] | None = None,
        data: Mapping[str, Any] | None = None,
        **further: Any,
    ) -> "httpx.Response":
        """Return an answer that is no refusal.

        Args:
            method: GET, POST or DELETE.
            path: below /api/v1.
            again: whether to try again where the service says that it can't answer now.
            files: photographs by the name of their field; sent without names of files.
            data: fields of the form; those that are None are left out.
            further: passed on to httpx: `params`, `json`.

        Raises:
            ServiceError: it is one, or there is none; the subclass says which.
        """
        sent = (
            None if files is None else {name: (name, data, "application/octet-stream") for name, data in files.items()}
        )
        form = None if data is None else {k: v for k, v in data.items() if v is not None}
        for tries in range(self._retries + 1):
            answer = self._once(method, path, files=sent, data=form, **further)
            if answer.is_success:
                return answer
            if not again or answer.status_code not in AGAIN or tries == self._retries:
                break
            time.sleep(_pause(answer, tries))
        kind = _KINDS.get(answer.status_code, ServiceError)
        raise kind(_sentence(answer) or f"the service answered with status {answer.status_code} and no sentence")

    def _once(self, method: str, path: str, **sent: Any) -> "httpx.Response":
        import httpx

        try:
            return self._client.request(method, path, **sent)
        except httpx.TimeoutException:
            raise UnreachableError(f"{self._address} did not answer within {self._timeout:g} s") from None
        except httpx.UnsupportedProtocol:
            raise UnreachableError(f"{self._address!r} is no address of a service; expected http://HOST:PORT") from None
        except httpx.TransportError as error:
            raise UnreachableError(
                f"nobody answers at {self._address} ({type(error).__name__}); is the service "
                "started? (foveola serve ARCHIVE)"
            ) from None


def _pause(answer: "httpx.Response", tries: int) -> float:
    """Seconds until the next try: as the service says, or longer each time."""
    said = answer.headers.get("retry-after", "")
    return min(float(said) if said.isdecimal() else 0.5 * 2**tries, LONGEST)


def _sentence(answer: "httpx.Response") -> str | None:
    try:
        said = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return None
    return said if isinstance(said, str) else None


_KINDS = {
    400: InvalidError,
    401: ForbiddenError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: NotFoundError,
    413: InvalidError,
    422: InvalidError,
    429: BusyServiceError,
    503: BusyServiceError,
}

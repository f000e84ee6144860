"""Long work on an archive, one job after another, while the service goes on answering.

What is known of the last jobs is kept in A/jobs.json, without sources or subjects: numbers and a
sentence. A job that was at work or waiting when the process ended is "interrupted" when the next
one starts; what it had stored by then is stored, and asking for it again goes on from there.
"""

import contextlib
import json
import queue
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from foveola.answers import JobKind, JobState
from foveola.errors import FoveolaError
from foveola.files import write_whole
from foveola.server.errors import EndedError, NoJobError, QueueFullError, nameless

Result = Mapping[str, int | Mapping[str, int]]
OPEN = ("queued", "running")
FILE = "jobs.json"
WAITING, KEPT = 16, 200  # jobs
PATIENCE = 5.0  # seconds that the end of the process waits for a job to stop


class Stopped(Exception):  # noqa: N818 - no error: somebody asked for it
    """The job shall go no further."""


@dataclass
class Job:
    """Some work and how far it is.

    Attributes:
        id: random, 16 hexadecimal digits.
        kind: of work.
        state: queued, running, and how it ended.
        done, total: photographs dealt with, of how many; total is None where it is not known.
        sentence: why it failed; None while it has not.
        result: numbers that it ended with; under "passed_over" such by kind.
        created, ended: seconds since 1970.
    """

    id: str
    kind: JobKind
    state: JobState = "queued"
    done: int = 0
    total: int | None = None
    sentence: str | None = None
    result: Result = field(default_factory=dict)
    created: float = field(default_factory=time.time)
    ended: float | None = None
    stop: bool = field(default=False, repr=False)

    def begun(self, total: int) -> None:
        """Say how many photographs there are."""
        self.total = total

    def advance(self, count: int) -> None:
        """Say how many were just dealt with.

        Raises:
            Stopped: the job was cancelled.
        """
        self.done += count
        if self.stop:
            raise Stopped


Work = Callable[[Job], Result]


class Jobs:
    """The jobs of a service. Safe to use from several threads.

    Args:
        folder: the archive.
        waiting: jobs that may wait.
    """

    def __init__(self, folder: Path, waiting: int = WAITING) -> None:
        self._file = folder / FILE
        self._lock = threading.RLock()
        self._jobs = {job.id: job for job in _read(self._file)}
        self._queue: queue.Queue[tuple[Job, Work] | None] = queue.Queue()
        self._waiting = waiting
        self._thread: threading.Thread | None = None
        if self._jobs:
            self._save()  # that they were interrupted

    def submit(self, kind: JobKind, work: Work) -> Job:
        """Let work be done when those before it are.

        Raises:
            QueueFullError: too many wait.
        """
        with self._lock:
            if self.length() >= self._waiting:
                raise QueueFullError(f"{self._waiting} jobs wait already; try again later")
            job = Job(secrets.token_hex(8), kind)
            self._jobs[job.id] = job
            self._queue.put((job, work))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)
                self._thread.start()
            self._save()
        return job

    def get(self, id_: str) -> Job:
        """Return a job.

        Raises:
            NoJobError: there is none, or it was long ago.
        """
        with self._lock:
            if id_ not in self._jobs:
                raise NoJobError(f"there is no such job, or it is not among the last {KEPT}")
            return self._jobs[id_]

    def all(self) -> list[Job]:
        """Return the newest first."""
        with self._lock:
            return list(self._jobs.values())[::-1]

    def length(self) -> int:
        """Count jobs that wait or are at work."""
        with self._lock:
            return sum(job.state in OPEN for job in self._jobs.values())

    def waits(self, kind: JobKind) -> bool:
        """Return whether a job of a kind has yet to begin."""
        with self._lock:
            return any(j.kind == kind and j.state == "queued" for j in self._jobs.values())

    def cancel(self, id_: str) -> Job:
        """Take a job out of the queue, or stop it after the photographs it is at.

        Raises:
            NoJobError: there is none.
            EndedError: it has ended.
        """
        with self._lock:
            job = self.get(id_)
            if job.state not in OPEN:
                raise EndedError(f"the job has ended ({job.state}) and can't be cancelled")
            job.stop = True
            if job.state == "queued":
                self._end(job, "cancelled")
        return job

    def close(self) -> None:
        """Stop the job at work and forget those that wait; they are interrupted."""
        with self._lock:
            at_work = [job for job in self._jobs.values() if job.state in OPEN]
            for job in at_work:
                job.stop = True
                self._end(job, "interrupted")
            self._queue.put(None)
        if self._thread is not None:
            self._thread.join(PATIENCE)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            job, work = item
            with self._lock:
                if job.state != "queued":
                    continue
                job.state = "running"
                self._save()
            state, sentence = self._work(job, work)
            with self._lock:
                if job.state == "running":
                    job.sentence = sentence
                    self._end(job, state)

    def _work(self, job: Job, work: Work) -> tuple[JobState, str | None]:
        try:
            job.result = work(job)
        except Stopped:
            return "cancelled", None
        except FoveolaError as error:
            return "failed", nameless(str(error), self._file.parent)
        except OSError as error:
            return "failed", f"the disk did not allow it: {error.strerror}"
        except MemoryError:
            return "failed", "there is not enough memory for this"
        except Exception as error:  # a fault of ours must not end the queue
            return "failed", f"this should not happen ({type(error).__name__}); please report it"
        return "done", None

    def _end(self, job: Job, state: JobState) -> None:
        job.state, job.ended = state, time.time()
        self._save()

    def _save(self) -> None:
        """On the disk, wholly or not at all; where that can't be written, only in memory."""
        ended = [job for job in self._jobs.values() if job.state not in OPEN]
        for job in ended[: max(0, len(self._jobs) - KEPT)]:
            del self._jobs[job.id]
        said = json.dumps([_plain(job) for job in self._jobs.values()])
        with contextlib.suppress(OSError):
            write_whole(self._file, said.encode())


def _plain(job: Job) -> dict[str, Any]:
    return {key: value for key, value in asdict(job).items() if key != "stop"}


def _read(file: Path) -> list[Job]:
    """What an earlier process kept; nothing where that can't be read."""
    try:
        jobs = [Job(**values) for values in json.loads(file.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        return []
    for job in jobs:
        if job.state in OPEN:
            job.state, job.ended = "interrupted", time.time()
    return jobs

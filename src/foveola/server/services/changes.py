"""What requests change: a service's archive, now or by a job, one after another, and what follows later.

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
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

from foveola.answers import JobKind, JobState
from foveola.errors import ArchiveError, BusyError, FoveolaError, JobError
from foveola.files import write_whole
from foveola.images.kinds import PassedOver
from foveola.records import Case
from foveola.server.errors import EndedError, NoJobError, QueueFullError, nameless
from foveola.server.maintenance import (
    Added,
    add_photograph,
    find_again,
    finish_removals,
    import_source,
    is_settled,
    remove_cases,
    settle,
    sweep,
)
from foveola.server.services.search import SearchService

Result = Mapping[str, int | Mapping[str, int]]
OPEN = ("queued", "running")
FILE = "jobs.json"
WAITING, KEPT = 16, 200  # jobs
PATIENCE = 5.0  # seconds that the end of the process waits for a job to stop
SETTLE = 30.0  # seconds without a change, after which what follows from the last ones is done
WAIT = 20.0  # seconds that a change waits for another
T = TypeVar("T")


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
        kept = [{key: value for key, value in asdict(job).items() if key != "stop"} for job in self._jobs.values()]
        with contextlib.suppress(OSError):
            write_whole(self._file, json.dumps(kept).encode())


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


class Changes:
    """Adds to the archive of a service and takes away from it. Safe to use from several threads.

    Single changes go one after another, and between the batches of the job at work. What an
    archive's similarities are worth, and the gallery for matching, follow when nothing was
    changed for a while.

    Args:
        service: whose archive is changed, by connections of our own.
        import_root: folder on this computer that may be imported from; None forbids it.
        after: seconds without a change, see SETTLE.
    """

    def __init__(self, service: SearchService, import_root: Path | None = None, after: float = SETTLE) -> None:
        self.service = service
        self.folder = service.retriever.archive.folder
        self.jobs = Jobs(self.folder)
        self._root, self._after = import_root, after
        self._writing, self._timing = threading.Lock(), threading.Lock()
        self._timer: threading.Timer | None = None
        # A process may have ended before that. It is looked at later, too: the archive is being
        # loaded now, and an answer would come after that.
        self._later(self._if_unsettled)

    def start(self) -> None:
        """Look for photographs after the archive was moved, and clean up after a kill."""
        for work in (finish_removals, find_again, sweep):
            with contextlib.suppress(ArchiveError, OSError):  # on a disc that can't be written
                work(self.folder)

    def close(self) -> None:
        """Stop the job at work; what has yet to follow will at the next start."""
        if self._timer is not None:
            self._timer.cancel()
        self.jobs.close()

    def add(self, data: bytes, record: Case) -> Added:
        """Keep a photograph and store its case; see `foveola.server.maintenance.add_photograph`."""
        encoder = self.service.retriever.encoder
        added = self._alone(lambda: add_photograph(self.folder, encoder, data, record))
        if added.new:
            self._later()
        return added

    def remove(self, id_: int) -> None:
        """Take a case away; see `foveola.server.maintenance.remove_cases`."""
        try:
            self._alone(lambda: remove_cases(self.folder, ids=[id_]))
        finally:
            self._later()

    def start_import(self, source: str, collection: str) -> Job:
        """Index what lies under the allowed folder.

        Raises:
            JobError: importing is not allowed, or too many jobs wait.
        """
        root = self._root
        if root is None:
            raise JobError("this service may import from no folder; start it with --import-root FOLDER")
        encoder = self.service.retriever.encoder

        def work(job: Job) -> Result:
            passed = PassedOver()
            try:
                done = import_source(self.folder, encoder, root, source, collection, job.begun, job.advance, passed)
            finally:
                self._later()
            return {
                "added": done.added,
                "unchanged": done.unchanged,
                "relabelled": done.relabelled,
                "failed": len(done.failed),
                "passed_over": passed.as_json(),
                "may_not_be_gradable": len(done.doubtful),
            }

        return self.jobs.submit("index", work)

    def start_removal(self, ids: Collection[int] | None, subject: str | None, collection: str | None) -> Job:
        """Take cases, or all cases of a subject, away."""

        def work(_: Job) -> Result:
            try:
                with self._writing:
                    count = remove_cases(self.folder, ids=ids, subject=subject, collection=collection)
            finally:
                self._later()
            return {"removed": count}

        return self.jobs.submit("remove", work)

    def start_settling(self) -> Job:
        """Learn anew what similarities are worth, and follow with the gallery for matching."""

        def work(job: Job) -> Result:
            settle(self.folder, job.advance)
            return {}

        return self.jobs.submit("settle", work)

    def _alone(self, work: Callable[[], T]) -> T:
        if not self._writing.acquire(timeout=WAIT):
            raise BusyError("the archive is being changed; try again in a moment")
        try:
            return work()
        finally:
            self._writing.release()

    def _later(self, work: Callable[[], None] | None = None) -> None:
        with self._timing:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = threading.Timer(self._after, work or self._due)
            self._timer.daemon = True
            self._timer.start()

    def _if_unsettled(self) -> None:
        if not is_settled(self.service.retriever.archive):
            self._due()

    def _due(self) -> None:
        if not self.jobs.waits("settle"):
            self.start_settling()

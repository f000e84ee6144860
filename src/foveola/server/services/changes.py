"""What the requests to a service change: its archive, now or by a job, and what follows later."""

import contextlib
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

from foveola.errors import ArchiveError, BusyError, JobError
from foveola.images.kinds import PassedOver
from foveola.records import Case
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
from foveola.server.services.jobs import Job, Jobs, Result
from foveola.server.services.search import SearchService

T = TypeVar("T")

SETTLE = 30.0  # seconds without a change, after which what follows from the last ones is done
WAIT = 20.0  # seconds that a change waits for another


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

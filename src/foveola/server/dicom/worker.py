"""Takes what the spool holds into the archive, one object after the other."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from foveola.errors import ArchiveError, EncoderError, FoveolaError, PacsError
from foveola.server.dicom.spool import Spool

T = TypeVar("T")

# Seconds between two attempts where the archive is busy or its disk is full.
PAUSE, LONGEST = 1.0, 60.0


class Worker(Generic[T]):
    """Moves objects from a spool into an archive.

    What can't be used is refused and kept aside. What fails for a reason outside the object, a
    busy archive or a full disk, stays and is tried again.

    Args:
        spool: where they wait.
        take: indexes one object. FoveolaError means that the object can't be used, but
            ArchiveError, EncoderError, PacsError and OSError that it should be tried again.
        say: told in one sentence, free of patients' data, what went wrong.
        taken: called with what `take` returned, before the object leaves the spool.
        after: called after each pass; returns how much it left to be tried again.
    """

    def __init__(
        self,
        spool: Spool,
        take: Callable[[bytes], T],
        say: Callable[[str], None],
        taken: Callable[[T], None] = lambda _: None,
        after: Callable[[], int] = lambda: 0,
    ) -> None:
        self._spool, self._take, self._say = spool, take, say
        self._taken, self._after = taken, after
        self._wake, self._stop = threading.Event(), threading.Event()
        self._said: str | None = None
        self._thread = threading.Thread(target=self._run, name="pacs worker", daemon=True)

    def start(self) -> None:
        """Begin, with what was left from before."""
        self._thread.start()

    def wake(self) -> None:
        """Something has come."""
        self._wake.set()

    def stop(self) -> None:
        """End after the object in hand; the rest waits for the next start."""
        self._stop.set()
        self._wake.set()
        self._thread.join()

    def drain(self) -> int:
        """Try every object that waits, once; returns how many wait still."""
        left = 0
        for path in self._spool.waiting():
            if self._stop.is_set() or not self._one(path):
                left += 1
        return left

    def _run(self) -> None:
        pause = PAUSE
        while not self._stop.is_set():
            self._wake.clear()
            left = self._pass()
            pause = min(2 * pause, LONGEST) if left else PAUSE
            if left:
                self._stop.wait(pause / 2)
            else:
                self._wake.wait()

    def _pass(self) -> int:
        try:
            return self.drain() + self._after()
        except OSError as error:  # the spool itself can't be read or written
            self._complain(f"the spool can't be used: {error.strerror}")
            return 1

    def _one(self, path: Path) -> bool:
        """Whether an object is dealt with."""
        begun = self._spool.begin(path)
        if begun is None:
            self._say("an object was refused: it took the process down again and again")
            return True
        try:
            self._taken(self._take(begun.read_bytes()))
        except (ArchiveError, EncoderError, PacsError, OSError) as error:
            self._spool.put_back(begun)
            self._complain(_reason(error))
            return False
        except MemoryError:  # the object's doing, maybe: its attempt counts
            self._complain("not enough memory")
            return False
        except FoveolaError as error:
            self._refuse(begun, str(error))
        except Exception as error:  # the parser met what its authors never thought of
            self._refuse(begun, f"it could not be read ({type(error).__name__})")
        else:
            self._spool.done(begun)
            self._said = None
        return True

    def _refuse(self, path: Path, reason: str) -> None:
        self._spool.refuse(path, reason)
        self._say(f"an object was refused: {reason}")

    def _complain(self, reason: str) -> None:
        """Say why objects wait, once and not each time they are tried again."""
        if reason != self._said:
            self._say(f"objects wait in the spool: {reason}")
        self._said = reason


def _reason(error: Exception) -> str:
    return str(error.strerror or error) if isinstance(error, OSError) else str(error)


__all__ = ["Worker"]

"""What waits on the disk: objects to be indexed, reports to be sent, and the worker that does both.

    S/lock             held by the process that owns the spool
    S/new/NAME.N.dcm   objects as they came, oldest first; N counts the times one was begun
    S/refused/NAME.dcm what can't be used, and NAME.txt, which says why

The objects carry the names of patients, as the PACS sent them: the folders are open to their
owner alone, and an object leaves `new` as soon as it is indexed.
"""

import fcntl
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, TypeVar

from foveola.errors import ArchiveError, EncoderError, FoveolaError, PacsError
from foveola.resources import Closing, sync_folder

NEW, REFUSED, LOCK = "new", "refused", "lock"
PARTIAL = ".part"
# Begun three times and never brought to an end: it is the object that takes the process down.
ATTEMPTS = 3
PAUSE, LONGEST = 1.0, 60.0  # seconds between two attempts where the archive is busy or its disk is full
GIVEN_UP = 24 * 3600.0  # seconds after which a report that can't be sent is owed no longer
IN_A_ROW = 3  # failures after which the PACS is left alone for a while
T = TypeVar("T")


class Spool(Closing):
    """A folder of objects to be indexed, owned by one process. A context manager.

    Args:
        folder: made where it does not exist.

    Raises:
        PacsError: another process owns it, or it can't be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._new, self._refused = folder / NEW, folder / REFUSED
        try:
            for each in (folder, self._new, self._refused):
                each.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise PacsError(f"the spool {folder} can't be written: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise PacsError(f"another process takes from the spool {folder}; stop it, or use another folder") from None
        self._lock: int | None = lock
        for partial in self._new.glob(f"*{PARTIAL}"):  # never acknowledged
            partial.unlink(missing_ok=True)

    def close(self) -> None:
        """Let another process have the spool; a second call does nothing."""
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None

    def put(self, parts: Iterable[bytes | memoryview]) -> Path:
        """Keep an object; on return it is on the disk.

        Args:
            parts: its bytes, in order.

        Raises:
            OSError: it could not be written (a full disk); nothing is left of it then.
        """
        path = self._new / f"{time.time_ns():020d}-{secrets.token_hex(4)}.0.dcm"
        partial = path.with_name(path.name + PARTIAL)
        try:
            _write(partial, parts)
            partial.rename(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        sync_folder(self._new)
        return path

    def waiting(self) -> list[Path]:
        """Return the objects to be indexed, oldest first."""
        return sorted(self._new.glob("*.dcm"))

    def begin(self, path: Path) -> Path | None:
        """Count an attempt before it is made; returns the object's new path.

        None means that it was begun ATTEMPTS times, never came to an end, and was refused.
        """
        stem, count = _count(path)
        if count >= ATTEMPTS:
            self.refuse(path, f"it was begun {count} times, and the process never came to its end")
            return None
        return path.rename(path.with_name(f"{stem}.{count + 1}.dcm"))

    def put_back(self, path: Path) -> Path:
        """Take an attempt back that failed for a reason outside the object."""
        stem, count = _count(path)
        return path.rename(path.with_name(f"{stem}.{max(0, count - 1)}.dcm"))

    def done(self, path: Path) -> None:
        """Forget an object that is indexed."""
        path.unlink(missing_ok=True)

    def refuse(self, path: Path, reason: str) -> None:
        """Put an object aside, with a sentence that says why."""
        stem, _ = _count(path)
        note = self._refused / f"{stem}.txt"
        note.unlink(missing_ok=True)  # of an attempt that was cut off
        _write(note, [reason.encode(), b"\n"])
        path.rename(self._refused / f"{stem}.dcm")
        sync_folder(self._refused)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file that is there wholly or as it was before, and that its owner alone can read."""
    partial = path.with_name(path.name + PARTIAL)
    partial.unlink(missing_ok=True)
    _write(partial, [data])
    partial.replace(path)
    sync_folder(path.parent)


def _count(path: Path) -> tuple[str, int]:
    """Name of an object and how often it was begun; what was put there by hand, never."""
    stem, _, count = path.name.removesuffix(".dcm").rpartition(".")
    return (stem, int(count)) if stem and count.isdecimal() else (path.stem, 0)


def _write(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    number = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with os.fdopen(number, "wb") as file:
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())


class _Once:
    """Says why something waits, once and not each time it is tried again."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._last = say, ""

    def __call__(self, sentence: str) -> None:
        if sentence != self._last:
            self._say(sentence)
        self._last = sentence

    def clear(self) -> None:
        self._last = ""


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
        self._complain = _Once(say)
        self._thread = threading.Thread(target=self._run, name="pacs worker", daemon=True)

    def start(self) -> None:
        """Begin, with what was left from before."""
        self._thread.start()

    def wake(self) -> None:
        """Say that something has come."""
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
            self._complain(f"objects wait in the spool: the spool can't be used: {error.strerror}")
            return 1

    def _one(self, path: Path) -> bool:
        """Return whether an object is dealt with."""
        begun = self._spool.begin(path)
        if begun is None:
            self._say("an object was refused: it took the process down again and again")
            return True
        try:
            self._taken(self._take(begun.read_bytes()))
        except (ArchiveError, EncoderError, PacsError, OSError) as error:
            self._spool.put_back(begun)
            reason = str(getattr(error, "strerror", None) or error)
            self._complain(f"objects wait in the spool: {reason}")
            return False
        except MemoryError:  # the object's doing, maybe: its attempt counts
            self._complain("objects wait in the spool: not enough memory")
            return False
        except FoveolaError as error:
            self._refuse(begun, str(error))
        except Exception as error:  # the parser met what its authors never thought of
            self._refuse(begun, f"it could not be read ({type(error).__name__})")
        else:
            self._spool.done(begun)
            self._complain.clear()
        return True

    def _refuse(self, path: Path, reason: str) -> None:
        self._spool.refuse(path, reason)
        self._say(f"an object was refused: {reason}")


class Answers:
    """Which cases the PACS is to get a report on.

    Args:
        folder: for the notes, named by the numbers of the cases; made if it is not there.
        reply: searches with a case and sends the report; None owes nothing. PacsError,
            ArchiveError, EncoderError and OSError mean that it should be tried again.
        say: told in one sentence what went wrong.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        folder: Path,
        reply: Callable[[int], object] | None,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder, self._reply, self._say, self._clock = folder, reply, say, clock
        self._complain = _Once(say)
        if reply is not None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def owe(self, ids: Iterable[int]) -> None:
        """Note that a report on these cases is to be sent."""
        for id_ in ids if self._reply is not None else ():
            replace_file(self._folder / str(id_), f"{self._clock()}".encode())

    def pay(self) -> int:
        """Send what is owed, what waited longest first; returns how many are owed still."""
        if self._reply is None:
            return 0
        failed = 0
        for path in sorted(self._notes(), key=lambda path: path.stat().st_mtime_ns):
            failed = 0 if self._one(path, self._reply) else failed + 1
            if failed == IN_A_ROW:
                break
        return len(self._notes())

    def _notes(self) -> list[Path]:
        return [path for path in self._folder.iterdir() if path.name.isdecimal()]

    def _one(self, path: Path, reply: Callable[[int], object]) -> bool:
        """Return whether a report is owed no longer."""
        try:
            reply(int(path.name))
            self._complain.clear()
        except (PacsError, ArchiveError, EncoderError, OSError) as error:
            if self._clock() - _since(path) < GIVEN_UP:
                self._complain(f"reports wait: {error}")
                path.touch()  # the next in turn
                return False
            self._say(f"the report on case {path.name} is given up: {error}")
        except FoveolaError as error:
            self._say(f"there is no report on case {path.name}: {error}")
        path.unlink(missing_ok=True)
        return True


def _since(path: Path) -> float:
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return 0.0

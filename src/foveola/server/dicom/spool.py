"""What was acknowledged and is not indexed yet, on the disk.

    S/lock             held by the process that owns the spool
    S/new/NAME.N.dcm   objects as they came, oldest first; N counts the times one was begun
    S/refused/NAME.dcm what can't be used, and NAME.txt, which says why

The objects carry the names of patients, as the PACS sent them: the folders are open to their
owner alone, and an object leaves `new` as soon as it is indexed.
"""

import fcntl
import os
import secrets
import time
from collections.abc import Iterable
from pathlib import Path

from foveola.errors import PacsError
from foveola.resources import Closing, sync_folder

NEW, REFUSED, LOCK = "new", "refused", "lock"
PARTIAL = ".part"
# Begun three times and never brought to an end: it is the object that takes the process down.
ATTEMPTS = 3


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
        """The objects to be indexed, oldest first."""
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


__all__ = ["ATTEMPTS", "Spool", "replace_file"]

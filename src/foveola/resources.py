"""What has to be given back: things to close, changes to a database, and what is half written."""

import contextlib
import errno
import glob
import os
import re
import secrets
import shutil
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

AnyPath = str | os.PathLike[str]  # what a function takes that takes a path


class Closing(ABC):
    """Something that is closed; `with` does it."""

    @abstractmethod
    def close(self) -> None:
        """Give back what is held; twice does no harm."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Keep all changes of a connection in autocommit mode, or none of them."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # a full disk has rolled back already
            db.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Give a name beside a file or a folder, to write under and then to rename into its place.

    No other process has it. What is still there at the end is removed, and so is what processes
    left that were killed: a full disk, a fault or a kill leaves nothing half written. What the
    system refuses is told of the path.
    """
    remove_leftovers(path)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.{os.getpid()}")
    try:
        with told_of(path, partial):
            yield partial
    finally:
        _remove(partial)


@contextlib.contextmanager
def told_of(path: AnyPath, partial: AnyPath | None = None) -> Iterator[None]:
    """Give an OSError the path that it is about: a write to an open file, a full disk's, has none.

    Args:
        path: what is written.
        partial: what it is called until then, which nobody shall be told.
    """
    try:
        yield
    except shutil.Error as error:  # of a folder that is copied: of its first file
        *_, why = error.args[0][0]
        found = re.match(r"\[Errno (\d+)\]", str(why))
        number = int(found[1]) if found else errno.EIO
        raise OSError(number, os.strerror(number), str(path)) from None
    except OSError as error:
        named = str(path if error.filename is None else error.filename)
        error.filename = named if partial is None else named.replace(str(partial), str(path), 1)
        raise


def remove_leftovers(path: Path, ends: str = "*.*") -> None:
    """Remove what killed processes left of a file or folder: something of a person may be in it.

    Args:
        path: what they were making.
        ends: pattern of what follows its name; the last part is the number of the process.
    """
    remove_killed(path.parent.glob(f".{glob.escape(path.name)}.{ends}"))


def remove_killed(partials: Iterable[Path]) -> None:
    """Remove those of these files and folders whose process runs no more; its number ends them."""
    for left in partials:
        try:
            os.kill(int(left.name.rpartition(".")[2]), 0)
        except ProcessLookupError:
            _remove(left)
        except (ValueError, OverflowError, PermissionError):  # not ours, or of another user
            continue


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    with contextlib.suppress(OSError):  # Windows can't open a folder, and needs no sync of it
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def locked(folder: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold a folder for this process; whether it is held, which it may not be without waiting."""
    import fcntl  # POSIX only

    handle = os.open(folder, os.O_RDONLY)
    try:
        held = True
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            held = False
        yield held
    finally:
        os.close(handle)

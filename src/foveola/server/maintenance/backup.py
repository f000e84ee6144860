"""A copy of an archive while it is in use.

`cp` may catch a database between two of its files, or a write between two of its pages. SQLite's
own backup takes one state of each; the rest are files that are replaced whole, and the audit log,
of which whole lines are taken.
"""

import contextlib
import errno
import os
import shutil
import sqlite3
from pathlib import Path

from foveola.archive import Archive
from foveola.errors import ArchiveError
from foveola.resources import beside
from foveola.server.audit import FILE as AUDIT_LOG

_NUMBERS = {sqlite3.SQLITE_FULL: errno.ENOSPC, sqlite3.SQLITE_READONLY: errno.EROFS}
_MAGIC = b"SQLite format 3\0"
_BESIDE = ("-wal", "-shm", "-journal")  # what SQLite keeps beside a database while it is open


def backup(folder: Path, to: Path) -> int:
    """Copy an archive with all that lies in its folder: accounts, logs, the matching archive.

    Killed at any moment it leaves either no copy, and can be called again, or a whole one.
    Photographs outside the archive's folder are not part of it.

    Args:
        folder: the archive.
        to: a new folder.

    Returns:
        Cases in the copy.

    Raises:
        ArchiveError: the folder is no archive, the new one exists already, or the copy can't be
            written; nothing is left of it then.
    """
    Archive.open(folder, read_only=True).close()
    if to.exists():
        raise ArchiveError(f"{to} exists; give a new folder for the copy")
    if to.resolve().is_relative_to(folder.resolve()):
        raise ArchiveError(f"{to} lies within the archive; give a folder elsewhere")
    try:
        with beside(to) as partial:
            cases = _copy_all(folder, partial)
            partial.rename(to)
    except OSError as error:
        if to.exists():
            raise ArchiveError(f"{to} exists; another process has made it meanwhile") from None
        raise ArchiveError(
            f"{to} can't be written: {error.strerror}; make room, or give another place. Nothing was left there"
        ) from None
    return cases


def _copy_all(folder: Path, partial: Path) -> int:
    partial.mkdir(mode=0o700, parents=True)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.endswith(_BESIDE):
            target = partial / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # a partial file that became whole
                _copy(path, target)
    with Archive.open(partial, read_only=True) as copied:
        cases = len(copied)
    for name in _BESIDE:  # of the look just taken
        (partial / f"archive.sqlite{name}").unlink(missing_ok=True)
    return cases


def _copy(path: Path, target: Path) -> None:
    with path.open("rb") as file:
        start = file.read(len(_MAGIC))
    if start == _MAGIC:
        _copy_database(path, target)
    elif path.name == AUDIT_LOG:
        data = path.read_bytes()
        target.write_bytes(data[: data.rfind(b"\n") + 1])  # a line under way is not yet one
    else:
        shutil.copyfile(path, target)
    target.chmod(0o600)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _copy_database(path: Path, target: Path) -> None:
    source = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)
    with contextlib.closing(source), contextlib.closing(sqlite3.connect(target)) as copy:
        try:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, until it is opened to write
        except sqlite3.OperationalError as error:
            raise OSError(_NUMBERS.get(error.sqlite_errorcode & 0xFF, errno.EIO), str(error)) from error

"""Photographs that an archive owns, because they came over a network and lie nowhere else.

    A/photographs/3f/3f0c...e1.jpg    called by the hash of what is in it, so that no name of a
                                      person or a file gets in, and the same one is kept once

A photograph is on the disk before its case is stored, and its case is gone before it is. What a
kill leaves in between belongs to no case, and `sweep` removes it.
"""

import contextlib
import os
import time
from pathlib import Path

from foveola.archive import Archive
from foveola.errors import ArchiveError
from foveola.images.decode import peek

FOLDER = "photographs"
SETTLED = 3600.0  # seconds after which nobody is about to store the case of a photograph
_PARTIAL = ".partial"


def keep(folder: Path, data: bytes, digest: bytes) -> Path:
    """Write a photograph into an archive; on return it is on the disk, wholly.

    Args:
        folder: the archive.
        data: the file.
        digest: blake2b of it, 16 bytes.

    Raises:
        ImageError: its header is not that of a photograph.
        ArchiveError: the disk is full, or can't be written.
    """
    suffix = f".{peek(data).format.lower()}"
    name = digest.hex()
    path = folder.absolute() / FOLDER / name[:2] / f"{name}{suffix}"
    partial = path.with_name(f".{path.name}.{os.getpid()}{_PARTIAL}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        for changed in (path.parent, path.parent.parent, folder):
            _sync(changed)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise ArchiveError(f"the photograph can't be kept: {error.strerror}") from None
    return path


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def discard(folder: Path, path: str | Path) -> None:
    """Delete a photograph if the archive owns it; what lies elsewhere is not touched."""
    if owns(folder, path):
        Path(path).unlink(missing_ok=True)


def owns(folder: Path, path: str | Path) -> bool:
    """Whether a path lies among the photographs of an archive."""
    return (folder.absolute() / FOLDER) in Path(os.path.normpath(path)).parents


def sweep(folder: Path, *, older: float = SETTLED) -> int:
    """Delete photographs that no case refers to; how many there were.

    Args:
        folder: the archive.
        older: seconds since they were written; a younger one's case may be on its way.
    """
    place, line = folder.absolute() / FOLDER, time.time() - older
    if not place.is_dir():
        return 0
    with Archive.open(folder, read_only=True) as archive:
        known = archive.known()
    gone = [
        path
        for path in place.rglob("*")
        if path.is_file() and str(path) not in known and path.stat().st_mtime <= line
    ]
    for path in gone:
        path.unlink(missing_ok=True)
    return len(gone)

"""Photographs that an archive owns, because they came over a network and lie nowhere else.

    A/photographs/3f/3f0c...e1.jpg    called by the hash of what is in it, so that no name of a
                                      person or a file gets in, and the same one is kept once

A photograph is on the disk before its case is stored, and its case is gone before it is. What a
kill leaves in between belongs to no case, and `sweep` removes it.
"""

import os
import re
import time
from pathlib import Path

from foveola.archive import Archive
from foveola.errors import ArchiveError
from foveola.files import write_whole
from foveola.images.decode import peek
from foveola.resources import sync_folder

FOLDER = "photographs"
SETTLED = 3600.0  # seconds after which nobody is about to store the case of a photograph
_OWN = re.compile(r"/photographs/([0-9a-f]{2})/\1[0-9a-f]{30}\.[a-z]+$")


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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)
        for changed in (path.parent.parent, folder):
            sync_folder(changed)
    except OSError as error:
        raise ArchiveError(f"the photograph can't be kept: {error.strerror}") from None
    return path


def discard(folder: Path, path: str | Path) -> None:
    """Delete a photograph if the archive owns it; what lies elsewhere is not touched."""
    if owns(folder, path):
        Path(path).unlink(missing_ok=True)


def owns(folder: Path, path: str | Path) -> bool:
    """Whether a path lies among the photographs of an archive."""
    return (folder.absolute() / FOLDER) in Path(os.path.normpath(path)).parents


def sweep(folder: Path, *, older: float = SETTLED) -> int:
    """Delete photographs that no case refers to; how many there were.

    A case refers to one of its name, wherever it says that it lies: that of a copied archive does.

    Args:
        folder: the archive.
        older: seconds since they were written; a younger one's case may be on its way.
    """
    place, line = folder.absolute() / FOLDER, time.time() - older
    if not place.is_dir():
        return 0
    with Archive.open(folder, read_only=True) as archive:
        known = {path.rpartition(os.sep)[2] for path in archive.known()}
    gone = [
        path for path in place.rglob("*") if path.is_file() and path.name not in known and path.stat().st_mtime <= line
    ]
    for path in gone:
        path.unlink(missing_ok=True)
    return len(gone)


def find_again(folder: Path) -> int:
    """Bring paths up to date after the archive was moved, or copied from a back-up.

    Only cases whose photograph is not where they say, and lies in this archive under the same
    name, are changed; how many that were.
    """
    place = folder.absolute() / FOLDER
    if not place.is_dir():
        return 0
    with Archive.open(folder, read_only=True) as archive:
        known = archive.known()
    lost = [path for path in known if _elsewhere(path, place) and not Path(path).exists()]
    here = {path: place / Path(path).parent.name / Path(path).name for path in lost}
    found = {old: str(new) for old, new in here.items() if new.is_file() and str(new) not in known}
    if not found:
        return 0
    with Archive.open(folder) as archive:
        return archive.move(found)


def _elsewhere(path: str, place: Path) -> bool:
    """Whether a path is that of a photograph that some archive owns, but not one at this place."""
    return _OWN.search(path) is not None and not path.startswith(f"{place}{os.sep}")

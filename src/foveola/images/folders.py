"""Which files of a folder are photographs, and what is passed over.

A suffix that photographs have is believed, as reading every file would take long; a file of
another name is looked into. Folders that are links are not followed: what lies in them would come
twice, or from where nobody meant. Nothing is passed over without being counted.
"""

import os
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from foveola.images.headers import PICTURES, describe, is_dicom, readable_format

# of photographs that `decode` reads
SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".webp", ".bmp"})

OTHER = ("file that is no photograph", "files that are no photographs")
DICOM = ("DICOM file, which dicom://FOLDER takes", "DICOM files, which dicom://FOLDER takes")
HIDDEN = ("hidden file or folder", "hidden files and folders")
LOCKED = ("file that can't be read", "files that can't be read")
ODD = ("pipe, socket or device", "pipes, sockets and devices")
NO_FOLDER = ("subfolder that can't be read", "subfolders that can't be read")
LINK = ("linked subfolder, to be named by itself", "linked subfolders, to be named by themselves")
_HEAD = 132  # bytes by which a file is known


class PassedOver:
    """What was passed over in folders, by kind; no names, as they may be of people."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()

    def add(self, kind: tuple[str, str]) -> None:
        """Count one."""
        self.counts[kind] += 1

    def said(self) -> str | None:
        """Return a sentence; None where nothing was passed over."""
        if not self.counts:
            return None
        parts = [f"{count} {kind[count > 1]}" for kind, count in sorted(self.counts.items())]
        return f"passed over: {', '.join(parts)}"

    def as_json(self) -> dict[str, int]:
        """Return counts by kind, as plain values."""
        return {kind[1]: count for kind, count in sorted(self.counts.items())}


def files_in(folder: Path, passed: PassedOver) -> Iterator[Path]:
    """Yield every file in a folder and below, in order of path, but hidden ones.

    Raises:
        OSError: the folder itself can't be read.
    """
    os.scandir(folder).close()
    for here, inside, names in os.walk(folder, onerror=lambda _: passed.add(NO_FOLDER)):
        for name in sorted(inside):
            hidden, linked = name.startswith("."), os.path.islink(os.path.join(here, name))  # noqa: PTH114, PTH118
            if hidden or linked:
                passed.add(HIDDEN if hidden else LINK)
                inside.remove(name)
        inside.sort()
        for name in sorted(names):
            if name.startswith("."):
                passed.add(HIDDEN)
            else:
                yield Path(here, name)


def photographs_in(folder: Path, passed: PassedOver) -> Iterator[Path]:
    """Yield every file that has the suffix or the content of a photograph; as `files_in`."""
    for path in files_in(folder, passed):
        if path.suffix.lower() in SUFFIXES or (kind := kind_of(path)) is None:
            yield path
        else:
            passed.add(kind)


def kind_of(path: Path) -> tuple[str, str] | None:
    """Tell what a file is by its content; None for a photograph that can be decoded, but DICOM."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
            return ODD
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except (OSError, ValueError):
        return LOCKED
    if is_dicom(head):
        return DICOM
    if readable_format(head) is not None:
        return None
    if (words := describe(head)) not in PICTURES:
        return OTHER
    name = words.partition(" ")[2].removesuffix(" file")  # of a picture that is none for us
    return f"{name} file, to be converted to PNG or JPEG", f"{name} files, to be converted to PNG or JPEG"

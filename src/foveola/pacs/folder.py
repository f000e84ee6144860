"""Take in the DICOM images of a folder, and say how many could not be used and why.

No name of a file or folder is kept or told: exports are often named after their patient.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from foveola.errors import PacsError
from foveola.images.decode import DEFAULT_LIMITS
from foveola.pacs.intake import TOGETHER, Intake, Refused

_UNREADABLE = "the file can't be read; look at its rights and the disk"
_INDEX = "DICOMDIR"  # the table of contents of a disc


@dataclass(kw_only=True)
class FolderTaken:
    """What became of a folder.

    Attributes:
        added: objects that are new in the archive.
        unchanged: objects that were there already.
        refused: objects that could not be used, by reason.
        others: files that are not DICOM, passed over.
        doubtful: frames of the added that may be too dark or blurred to be graded.
    """

    added: int = 0
    unchanged: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    others: int = 0
    doubtful: int = 0


def find_files(folder: Path) -> list[Path]:
    """Every file in folder and below, in order of path; hidden ones and DICOMDIR left out.

    Raises:
        PacsError: there is no such folder.
    """
    if not folder.is_dir():
        raise PacsError(f"{folder} is not a folder; expected dicom:// and a folder of DICOM files")
    found: list[Path] = []
    for here, inside, names in os.walk(folder):
        inside[:] = sorted(name for name in inside if not name.startswith("."))
        found += [Path(here, name) for name in sorted(names) if name[0] != "." and name != _INDEX]
    return found


def take_folder(
    intake: Intake, files: list[Path], progress: Callable[[int], None] | None = None
) -> FolderTaken:
    """Take the DICOM images among files in; run again, it takes only what is new.

    Args:
        intake: where to.
        files: from `find_files`.
        progress: called with the number of files just dealt with.

    Raises:
        PacsError, ArchiveError, OSError: the rest could not be stored; what was taken stays.
    """
    done = FolderTaken()
    for start in range(0, len(files), TOGETHER):
        together = files[start : start + TOGETHER]
        for result in intake.take_many(_objects(together, done)):
            if isinstance(result, Refused):
                done.refused[result.reason] += 1
            elif result.new:
                done.added += 1
                done.doubtful += result.doubtful
            else:
                done.unchanged += 1
        if progress:
            progress(len(together))
    return done


def _objects(files: list[Path], done: FolderTaken) -> Iterator[bytes]:
    """The bytes of those that are DICOM; the rest is counted."""
    for path in files:
        try:
            with path.open("rb") as file:
                if file.read(132)[128:] != b"DICM":
                    done.others += 1
                    continue
                file.seek(0)
                yield file.read(DEFAULT_LIMITS.max_bytes + 1)
        except OSError:
            done.refused[_UNREADABLE] += 1

"""Take in the DICOM images of a folder, and say how many could not be used and why.

No name of a file or folder is kept or told: exports are often named after their patient.
"""

import stat
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from foveola.errors import PacsError
from foveola.images.folders import ODD, PassedOver, files_in
from foveola.images.limits import DEFAULT_LIMITS
from foveola.server.dicom.intake import TOGETHER, Intake, Refused

_UNREADABLE = "the file can't be read; look at its rights and the disk"
_INDEX = "DICOMDIR"  # the table of contents of a disc


@dataclass(kw_only=True)
class FolderTaken:
    """What became of a folder.

    Attributes:
        added: objects that are new in the archive.
        unchanged: objects that were there already.
        refused: objects that could not be used, by reason.
        doubtful: cases of which it is not sure whose they are, by the sentence that says why.
        others: files that are not DICOM, passed over.
        passed: what else was passed over.
        hardly_gradable: frames of the added that may be too dark or blurred to be graded.
    """

    added: int = 0
    unchanged: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    doubtful: dict[str, list[int]] = field(default_factory=dict)
    others: int = 0
    passed: PassedOver = field(default_factory=PassedOver)
    hardly_gradable: int = 0


def find_files(folder: Path, passed: PassedOver) -> list[Path]:
    """Every file in folder and below, in order of path; hidden ones and DICOMDIR left out.

    Args:
        folder: where to look.
        passed: counts what is passed over.

    Raises:
        PacsError: there is no such folder, or it can't be read.
    """
    if not folder.is_dir():
        raise PacsError(f"{folder} is not a folder; expected dicom:// and a folder of DICOM files")
    try:
        return [path for path in files_in(folder, passed) if path.name != _INDEX]
    except OSError as error:
        raise PacsError(f"{folder} can't be read: {error.strerror}") from None


def take_folder(intake: Intake, files: list[Path], progress: Callable[[int], None] | None = None) -> FolderTaken:
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
                continue
            done.added += result.new
            done.unchanged += not result.new
            done.hardly_gradable += result.hardly_gradable
            if result.doubt:
                done.doubtful.setdefault(result.doubt, []).extend(result.ids)
        if progress:
            progress(len(together))
    return done


def _objects(files: list[Path], done: FolderTaken) -> Iterator[bytes]:
    """The bytes of those that are DICOM; the rest is counted."""
    for path in files:
        try:
            if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
                done.passed.add(ODD)
                continue
            with path.open("rb") as file:
                if file.read(132)[128:] != b"DICM":
                    done.others += 1
                    continue
                file.seek(0)
                yield file.read(DEFAULT_LIMITS.max_bytes + 1)
        except OSError:
            done.refused[_UNREADABLE] += 1

"""Forget a patient whose images came from a PACS: their stored files, and who they were."""

from dataclasses import dataclass
from pathlib import Path

from foveola.errors import PacsError
from foveola.server.dicom.pseudonyms import Pseudonyms, is_pseudonym


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """What was removed.

    Attributes:
        files: of the store.
        instances: rows of the file of pseudonyms.
    """

    files: int
    instances: int


def held_of(store: Path, names: Pseudonyms, pseudonym: str) -> Forgotten:
    """What there is of a patient, as `forget_patient` would remove it."""
    folder = store / pseudonym
    files = len(list(folder.iterdir())) if folder.is_dir() else 0
    return Forgotten(files=files, instances=names.count(pseudonym))


def forget_patient(store: Path, names: Pseudonyms, pseudonym: str) -> Forgotten:
    """Remove a patient from the store and from the file of pseudonyms.

    The archive is another matter: remove the subject there first. Killed in between, it can be
    called again. If the PACS sends an image of the patient later, they come as somebody new.

    Args:
        store: of the de-identified files.
        names: opened for writing.
        pseudonym: the subject of their cases.

    Raises:
        PacsError: this is no pseudonym of ours, or the file of pseudonyms can't be written.
        OSError: a file can't be removed.
    """
    if not is_pseudonym(pseudonym):  # it becomes part of a path
        raise PacsError("this subject did not come from a PACS: its name is no pseudonym of ours")
    folder = store / pseudonym
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    for file in files:
        file.unlink()
    if folder.is_dir():
        folder.rmdir()
    return Forgotten(files=len(files), instances=names.forget(pseudonym))

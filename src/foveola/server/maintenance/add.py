"""Add photographs to an archive, sent over a network or lying on the server.

    A/photographs/3f/3f0c...e1.jpg    called by the hash of what is in it, so that no name of a
                                      person or a file gets in, and the same one is kept once

What came over a network lies nowhere else, so the archive owns it. A photograph is on the disk
before its case is stored, and its case is gone before it is. What a kill leaves in between belongs
to no case, and `sweep` removes it.
"""

import os
import re
import time
from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from foveola.archive import Archive
from foveola.encoders.encoder import Encoder, Failed
from foveola.errors import ArchiveError, ImageError, JobError, KnownCaseError, ManifestError
from foveola.files import write_whole
from foveola.images.decode import peek
from foveola.images.kinds import PassedOver
from foveola.indexing import Indexed, entry_of, index_cases
from foveola.looks import Looker
from foveola.records import Case
from foveola.resources import sync_folder

FOLDER = "photographs"
SETTLED = 3600.0  # seconds after which nobody is about to store the case of a photograph
_OWN = re.compile(r"/photographs/([0-9a-f]{2})/\1[0-9a-f]{30}\.[a-z]+$")
NAME = "the photograph"  # what errors call it


class Added(NamedTuple):
    """A case that is in the archive now.

    Attributes:
        id: of the case.
        case: as it is stored.
        new: whether it was not there before.
        gradability: from 0 to 1, see `foveola.images.gradability`; None where it was there.
        foreign: whether it does not look like a colour photograph of the retina; None likewise.
    """

    id: int
    case: Case
    new: bool
    gradability: float | None
    foreign: bool | None


def add_photograph(folder: Path, encoder: Encoder, data: bytes, record: Case) -> Added:
    """Keep a photograph in an archive, and store its case; on return both are on the disk.

    Asked again with the same photograph and record it changes nothing, so that whoever did not
    hear the answer may ask again. What similarities are worth is not learnt anew (`settle`).

    Args:
        folder: the archive.
        encoder: the archive's own.
        data: the file.
        record: what is known of it; its `image` and `path` are replaced by names of our own.

    Raises:
        ImageError: it is no photograph that can be used; nothing is kept.
        KnownCaseError: the archive holds it already, with another record.
        ArchiveError: another process is writing, or the disk is full; nothing is kept.
        ValueError: the record has values that no case has.
    """
    digest = blake2b(data, digest_size=16).digest()
    looker = Looker(encoder)  # first, so that a damaged encoder keeps nothing
    with Archive.open(folder, fingerprint=encoder.fingerprint) as archive:
        if (known := archive.find(digest=digest)) is not None:
            id_, case = known
            if replace(record, image=case.image, path=case.path) != case:
                raise KnownCaseError(
                    f"the archive holds this photograph already, as case {id_}, with another record; "
                    "delete that case first to change it"
                )
            return Added(id_, case, new=False, gradability=None, foreign=None)
        try:
            path = keep(folder, data, digest)
        except ImageError as error:
            raise ImageError(f"{NAME}: {error.args[0].partition(': ')[2]}") from None
        image = f"{FOLDER}/{path.parent.name}/{path.name}"
        case = replace(record, image=image, path=str(path))
        try:
            made = encoder.encode_case(case)
            if isinstance(made, Failed):
                raise ImageError(made.reason.replace(path.name, NAME))
            archive.add([entry_of(made)])
        except BaseException:
            discard(folder, path)
            raise
        found = archive.find(path=case.path)
        assert found is not None  # noqa: S101 - it was stored a moment ago
        return Added(*found, new=True, gradability=made.gradability, foreign=looker.foreign(made))


def import_source(
    folder: Path,
    encoder: Encoder,
    root: Path,
    source: str,
    collection: str = "",
    begun: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
    passed: PassedOver | None = None,
) -> Indexed:
    """Index what lies under an allowed folder; see `foveola.indexing.index_cases`.

    Errors name no file, as they may be read elsewhere and files may be called by people.

    Args:
        folder: the archive.
        encoder: the archive's own.
        root: the allowed folder. Neither the source nor a photograph that a manifest or a link
            leads to may lie outside.
        source: a folder, a manifest or a photograph, relative to root.
        collection: name space of the subjects.
        begun: called once with the number of photographs.
        progress: called with the number of photographs just dealt with.
        passed: counts what is passed over in a folder.

    Raises:
        JobError: the source is not there, lies outside, or can't be used.
        ArchiveError: as from `index_cases`.
    """
    cases = _cases(root, source, collection, passed)
    if begun is not None:
        begun(len(cases))
    with Archive.open(folder, fingerprint=encoder.fingerprint) as archive:
        return index_cases(archive, encoder, cases, progress)


def _cases(root: Path, source: str, collection: str, passed: PassedOver | None) -> list[Case]:
    from foveola.datasets.manifest import read_sources  # with pandas: a service starts without

    top = os.path.realpath(root)
    if "\0" in source or not _within(os.path.realpath(root / source), top):
        raise JobError("the source lies outside of the folder that may be imported from; give a path relative to it")
    if not (root / source).exists():
        raise JobError("there is no such source in the folder that may be imported from")
    try:
        cases = read_sources([root / source], collection, passed)
    except ManifestError:
        raise JobError(
            "the source is no folder of photographs and no manifest without faults; "
            "'foveola index' on the server says what is wrong with it"
        ) from None
    if not all(_within(os.path.realpath(case.path), top) for case in cases):
        raise JobError(
            "the source leads to photographs outside of the folder that may be imported from; move them into it"
        )
    return cases


def _within(path: str, top: str) -> bool:
    return path == top or path.startswith(top.rstrip(os.sep) + os.sep)


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
    """Return whether a path lies among the photographs of an archive."""
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
    lost = [  # of some archive, but not at this place
        path
        for path in known
        if _OWN.search(path) and not path.startswith(f"{place}{os.sep}") and not Path(path).exists()
    ]
    here = {path: place / Path(path).parent.name / Path(path).name for path in lost}
    found = {old: str(new) for old, new in here.items() if new.is_file() and str(new) not in known}
    if not found:
        return 0
    with Archive.open(folder) as archive:
        return archive.move(found)

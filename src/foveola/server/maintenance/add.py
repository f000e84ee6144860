"""Add one photograph that lies in no file yet."""

from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from foveola.archive import Archive
from foveola.encoders.encoder import Encoder, Failed
from foveola.errors import ImageError, KnownCaseError
from foveola.indexing import entry_of
from foveola.looks import Looker
from foveola.records import Case
from foveola.server.maintenance import photographs

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
            return _known(*known, record)
        try:
            path = photographs.keep(folder, data, digest)
        except ImageError as error:
            raise ImageError(f"{NAME}: {error.args[0].partition(': ')[2]}") from None
        image = f"{photographs.FOLDER}/{path.parent.name}/{path.name}"
        case = replace(record, image=image, path=str(path))
        try:
            made = encoder.encode_case(case)
            if isinstance(made, Failed):
                raise ImageError(made.reason.replace(path.name, NAME))
            archive.add([entry_of(made)])
        except BaseException:
            photographs.discard(folder, path)
            raise
        found = archive.find(path=case.path)
        assert found is not None  # noqa: S101 - it was stored a moment ago
        return Added(*found, new=True, gradability=made.gradability, foreign=looker.foreign(made))


def _known(id_: int, case: Case, record: Case) -> Added:
    if replace(record, image=case.image, path=case.path) != case:
        raise KnownCaseError(
            f"the archive holds this photograph already, as case {id_}, with another record; "
            "delete that case first to change it"
        )
    return Added(id_, case, new=False, gradability=None, foreign=None)

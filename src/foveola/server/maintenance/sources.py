"""Import a folder or a manifest that lies on the server, from where that is allowed only."""

import os
from collections.abc import Callable
from pathlib import Path

from foveola.archive import Archive
from foveola.encoders.encoder import Encoder
from foveola.errors import JobError, ManifestError
from foveola.images.folders import PassedOver
from foveola.indexing import Indexed, index_cases
from foveola.records import Case


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

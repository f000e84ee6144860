"""The archive that matching searches: the same cases, described by the matching encoder.

It lies inside the archive it belongs to, in `A/matching/`, and is an archive itself: durable,
filtered, resumable. What is removed from the outer one is removed here.
"""

import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from foveola.archive import Archive
from foveola.archive.database import FILE
from foveola.encoders.encoder import Encoder, Failed
from foveola.encoders.release import MATCHER, read_release
from foveola.errors import MatchingError
from foveola.indexing import index_cases, open_archive
from foveola.matching.permission import Permission

FOLDER = "matching"


def update(folder: Path, allowed: Permission, progress: Callable[[int], None] | None = None) -> tuple[Failed, ...]:
    """Bring the inner archive up to date with the outer one.

    Args:
        folder: the outer archive.
        allowed: its permission, which names the encoder.
        progress: called with the number of photographs just dealt with.

    Returns:
        Photographs that can't be used.

    Raises:
        MatchingError: the inner archive was made by another matching encoder.
        ArchiveError: the outer archive can't be opened, or the inner one not written.
    """
    with Archive.open(folder, read_only=True) as outer:
        cases = [case for _, case in outer.cases()]
    inner = folder / FOLDER
    release = read_release(allowed.encoder or MATCHER)
    opened, own = open_archive(inner, None if (inner / FILE).exists() else release.folder)
    with opened:
        # where none was named, what was made by the encoder shipped then goes on by it
        if allowed.encoder and opened.fingerprint != release.fingerprint:
            raise MatchingError(
                f"{inner} was made by the encoder {opened.name!r}, not by {release.name!r}; "
                f"switch matching off and on again to make it anew"
            )
        if gone := missing(folder, opened):
            opened.remove(ids=gone)
        return index_cases(opened, Encoder.load(own), cases, progress).failed


def discard(folder: Path) -> None:
    """Delete the inner archive, if there is one."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


def missing(folder: Path, inner: Archive) -> dict[int, str]:
    """Return the paths, by their ids in the inner archive, of what the outer no longer holds.

    Nobody may be told of these.
    """
    with Archive.open(folder, read_only=True) as outer:
        kept = set(outer.paths().values())
    return {id_: path for id_, path in inner.paths().items() if path not in kept}


def count_missing(folder: Path, among: Collection[str] = ()) -> int:
    """Count the photographs that the outer archive no longer holds, or those among some paths."""
    if not (folder / FOLDER / FILE).exists():
        return 0
    with Archive.open(folder / FOLDER, read_only=True) as inner:
        return sum(not among or path in among for path in missing(folder, inner).values())


def forget_missing(folder: Path) -> None:
    """Remove from the inner archive what the outer no longer holds, beyond recovery."""
    if (folder / FOLDER / FILE).exists():
        with Archive.open(folder / FOLDER) as inner:
            if gone := missing(folder, inner):
                inner.remove(ids=gone)
            else:  # a kill may have come before that
                inner.compact()

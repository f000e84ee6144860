"""What follows a change of an archive: what it learns of itself, and the matching gallery.

Both take a second or two for ten thousand cases, so a service does them once after many changes.
"""

from collections.abc import Callable
from pathlib import Path

from foveola.archive import Archive
from foveola.archive.removals import are_pending
from foveola.errors import MatchingError
from foveola.learned import is_current, load_learned, refresh
from foveola.matching import gallery, permission
from foveola.server.maintenance.remove import finish_removals


def settle(folder: Path, progress: Callable[[int], None] | None = None) -> None:
    """Bring everything up to date with an archive's cases, and finish removals.

    Args:
        folder: the archive.
        progress: called with the number of photographs just described for matching.

    Raises:
        ArchiveError: it can't be opened or written.
    """
    finish_removals(folder)
    with Archive.open(folder) as archive:
        refresh(archive)
    try:
        allowed = permission.permission(folder)
    except MatchingError:
        return  # switched off
    gallery.update(folder, allowed, progress)


def is_settled(archive: Archive) -> bool:
    """Whether what it learnt was learnt from the cases that it has, and no removal is unfinished."""
    if are_pending(archive.folder):
        return False
    kept = load_learned(archive)
    return kept is None or is_current(kept, archive)

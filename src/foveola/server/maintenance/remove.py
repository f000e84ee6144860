"""Take cases out of an archive, with all that was made of them: wholly, whatever comes in between.

First what is to go is written into the archive, in the transaction that takes the cases from it:
from then on nothing finds them. Then each part is wiped (traces.py), and the archive rewritten.
What a kill, or a part that can't be written, leaves undone is finished by whoever comes next.
"""

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

from foveola.archive import Archive
from foveola.archive.removals import Removal, are_pending
from foveola.errors import ArchiveError, FoveolaError, NoCaseError
from foveola.records import identifier, known_identifier
from foveola.resources import locked
from foveola.server.maintenance.traces import ELSEWHERE, USED


def remove_cases(
    folder: Path,
    *,
    ids: Collection[int] | None = None,
    image: str | None = None,
    subject: str | None = None,
    collection: str | None = None,
    learn: bool = False,
) -> int:
    """Remove cases, what matching and regions keep, and photographs that the archive owns.

    Photographs that lie elsewhere are not touched. Interrupted, the cases are not found any more;
    the rest goes when this is called again, or anything else opens the archive
    (`finish_removals`).

    Args:
        folder: the archive.
        ids: of cases. Give these, or image, or subject.
        image: name or path of an image.
        subject: pseudonym of a subject, all of whose images go.
        collection: in which to look for the image or the subject.
        learn: learn anew what similarities are worth; else that is left to `settle`.

    Returns:
        How many cases were removed, or were on their way out since an earlier call.

    Raises:
        NoCaseError: there is none.
        ArchiveError: the name is ambiguous; nothing is removed then. Or the cases are removed, but
            traces can't be wiped now.
    """
    with Archive.open(folder) as archive:
        begun = [
            removal
            for removal in archive.removals()
            if not removal.over and _means(removal, ids, image, subject, collection)
        ]
        try:
            taken = archive.take(Removal(learns=learn), ids=ids, image=image, subject=subject, collection=collection)
        except NoCaseError:
            if not begun:
                with contextlib.suppress(FoveolaError, OSError):  # another's, which a later call finishes
                    finish_removals(folder)
                raise
            taken = Removal()
    finish_removals(folder)
    return len(taken.ids) or sum(len(removal.ids) for removal in begun)


def finish_removals(folder: Path, *, wait: bool = True) -> int:
    """Wipe what is left of cases that were taken from an archive; mostly there is nothing to do.

    Args:
        folder: the archive.
        wait: for another process that is at it; else that one does it.

    Returns:
        How many cases were on their way out.

    Raises:
        ArchiveError: some trace can't be wiped now; nothing finds the cases all the same.
    """
    if not are_pending(folder):
        return 0
    with locked(folder, wait=wait) as held:
        if not held:
            return 0
        with Archive.open(folder) as archive:
            left = [removal for removal in archive.removals() if not removal.over]
            for removal in left:
                _finish(archive, removal)
    return sum(len(removal.ids) for removal in left)


def _finish(archive: Archive, removal: Removal) -> None:
    """Wipe as many parts as can be, then the records that are needed to find them."""
    parts = USED if removal.person is None else (*ELSEWHERE, *USED)
    if removal.counts is None:  # before anything goes, so that a kill makes no receipt wrong
        counts: dict[str, int] = {}
        with _told(removal):
            for part in parts:
                counts |= next(part(archive, removal), {})
        removal = replace(removal, counts=counts)
        archive.note(removal)
    if removal.rows or removal.subject is not None:
        faults: list[Exception] = []
        for part in parts:
            try:
                for _ in part(archive, removal):
                    pass
            except (FoveolaError, OSError) as error:
                faults.append(error)
        if faults:
            raise _unfinished(removal, faults[0]) from faults[0]
        removal = replace(removal, rows=(), subject=None)
        archive.note(removal)
    with _told(removal):
        archive.compact()
    if removal.person is None:
        archive.drop(removal)
    else:  # until somebody has had the receipt
        archive.note(replace(removal, over=True))


@contextlib.contextmanager
def _told(removal: Removal) -> Iterator[None]:
    try:
        yield
    except (FoveolaError, OSError) as error:
        raise _unfinished(removal, error) from error


def _unfinished(removal: Removal, error: Exception) -> ArchiveError:
    said = str(error)
    if isinstance(error, OSError):  # without the name of a file, which may be a person's
        said = f"a file can't be written or deleted ({error.strerror})"
    return ArchiveError(
        f"removed, but traces stay for now: {said}. The {len(removal.ids)} cases are not found any "
        "more; run the same command again to finish"
    )


def _means(
    removal: Removal, ids: Collection[int] | None, image: str | None, subject: str | None, collection: str | None
) -> bool:
    """Whether a removal was begun by the same request, as far as its records still say."""
    if ids is not None:
        return set(ids) <= set(removal.ids)
    person = known_identifier(subject)
    return not removal.rows or any(
        image in (case.image, case.path) or case.subject == person is not None
        for case in removal.cases
        if collection is None or identifier(collection) == case.collection
    )

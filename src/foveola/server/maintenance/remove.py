"""Take cases out of an archive, with all that was made of them: wholly, whatever comes in between.

First what is to go is written into the archive, in the transaction that takes the cases from it:
from then on nothing finds them. Then each part is wiped, and the archive rewritten. What a kill, or
a part that can't be written, leaves undone is finished by whoever comes next.

A part is a generator: it yields what there is, by the names of a receipt, and wipes it when asked
to go on. Each can be run again at any time, and wipes what an interrupted run left.
"""

import contextlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path

from foveola import regions
from foveola.archive import Archive
from foveola.archive.database import ENCODER
from foveola.archive.removals import Removal, are_pending
from foveola.errors import ArchiveError, FoveolaError, MatchingError, NoCaseError
from foveola.learned import is_current, load_learned, refresh
from foveola.matching import gallery, permission
from foveola.matching.permission import forget_uses
from foveola.matching.saved_audit import forget_decisions
from foveola.records import identifier, known_identifier
from foveola.resources import locked
from foveola.server.dicom import PSEUDONYMS, STORE, place_of
from foveola.server.dicom.patients import is_pseudonym
from foveola.server.dicom.pseudonyms import Pseudonyms, forget_patient, held_of
from foveola.server.maintenance.add import owns
from foveola.trust import Seen

Part = Callable[[Archive, Removal], Iterator[dict[str, int]]]


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


def settle(folder: Path, progress: Callable[[int], None] | None = None) -> None:
    """Bring everything up to date with an archive's cases: what it learnt, and the matching gallery.

    Takes a second or two for ten thousand cases, so a service does it once after many changes.
    Removals are finished first.

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
    """Return whether what it learnt was learnt from the cases that it has, and no removal is unfinished."""
    if are_pending(archive.folder):
        return False
    kept = load_learned(archive)
    return kept is None or is_current(kept, archive)


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


def _matching(archive: Archive, removal: Removal) -> Iterator[dict[str, int]]:
    paths = {case.path for case in removal.cases}
    yield {"matching": gallery.count_missing(archive.folder, paths)}
    gallery.forget_missing(archive.folder)


def _places(archive: Archive, removal: Removal) -> Iterator[dict[str, int]]:
    yield {"places": regions.count_missing(archive.folder, removal.ids)}
    regions.forget_missing(archive.folder)


def _files(archive: Archive, removal: Removal) -> Iterator[dict[str, int]]:
    """Delete what the archive owns; of a person everything inside it, and on request the rest."""
    folder, back = archive.folder, set(archive.paths().values())
    there = [
        path
        for case in removal.cases
        if (path := Path(case.path)).exists()
        and case.path not in back  # it was not added again meanwhile
        and place_of(folder) / STORE not in path.parents
    ]
    if removal.person is None:
        gone = [path for path in there if owns(folder, path)]
    else:
        inside = folder.resolve()
        gone = [p for p in there if removal.files or p.resolve().is_relative_to(inside)]
    yield {"photographs": len(gone), "left": len(there) - len(gone)}
    for path in gone:
        path.unlink(missing_ok=True)


def _learned(archive: Archive, removal: Removal) -> Iterator[dict[str, int]]:
    yield {}
    if removal.learns:
        refresh(archive)


def _copies(archive: Archive, removal: Removal) -> Iterator[dict[str, int]]:
    own = removal.digests
    yield {"copies": sum(digest in own for digest in archive.digests().values())}


def _decisions(archive: Archive, removal: Removal) -> Iterator[dict[str, int]]:
    cases = removal.cases
    everyone = [*cases, *(case for _, case in archive.cases())]
    yield {"decisions": forget_decisions(archive.folder, cases, everyone, count_only=True)}
    forget_decisions(archive.folder, cases, everyone)


def _uses(archive: Archive, removal: Removal) -> Iterator[dict[str, int]]:
    yield {"uses": forget_uses(archive.folder, removal.digests, count_only=True)}
    forget_uses(archive.folder, removal.digests)


def _from_pacs(archive: Archive, removal: Removal) -> Iterator[dict[str, int]]:
    """Who they were in the PACS, and the de-identified files."""
    place, subject = place_of(archive.folder), removal.subject
    if not (place / PSEUDONYMS).exists() or subject is None or not is_pseudonym(subject):
        return
    with Pseudonyms(place / PSEUDONYMS) as names:
        held = held_of(place / STORE, names, subject)
        yield {"from the PACS": held.files + held.instances}
        forget_patient(place / STORE, names, subject)


def _marks(archive: Archive, removal: Removal) -> Iterator[dict[str, int]]:
    """Take photographs from those that an encoder here says it was trained on."""
    encoders = [archive.folder / ENCODER, archive.folder / gallery.FOLDER / ENCODER]
    marked = [(encoder, Seen.load(encoder)) for encoder in encoders]
    own = removal.digests
    counts = [0 if seen is None else int(seen.among(own).sum()) for _, seen in marked]
    yield {"marks of training": sum(counts)}
    for (encoder, seen), count in zip(marked, counts, strict=True):
        if seen is not None and count:
            seen.without(own).save(encoder)


# Of every removal, and what else goes of a person who is forgotten.
USED: tuple[Part, ...] = (_matching, _places, _files, _learned)
ELSEWHERE: tuple[Part, ...] = (_copies, _decisions, _uses, _from_pacs, _marks)

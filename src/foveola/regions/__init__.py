"""Region search: the archive's cases by their place most like a marked one. See docs/how-to/regions.md.

`switch_on` and `update` keep what an archive's encoder sees at each place of its photographs, and follow the archive.
"""

import os
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foveola.archive import Archive
from foveola.encoders.compiling import in_order
from foveola.encoders.encoder import AHEAD, UNUSABLE, Failed
from foveola.encoders.parts import Local
from foveola.encoders.release import read_release
from foveola.errors import ImageError, RegionError
from foveola.files import stamp_of
from foveola.images.decode import decode
from foveola.images.fundus import find_field_of_view
from foveola.records import Case
from foveola.regions.box import Box, Field
from foveola.regions.search import Places, RegionHit, RegionResult, RegionSearch
from foveola.regions.store import FREE, Basis, Described, Store, discard, is_on, packed
from foveola.resources import AnyPath

__all__ = [
    "Box",
    "Kept",
    "Places",
    "RegionHit",
    "RegionResult",
    "RegionSearch",
    "count_missing",
    "forget_missing",
    "is_on",
    "switch_off",
    "switch_on",
    "update",
]

BATCH = 128  # photographs that a crash can lose
LEAST = 20  # photographs that axes are learnt from
SAMPLE, EACH = 400, 64  # at most so many photographs, and places of each
Progress = Callable[[int], None]


class Kept(NamedTuple):
    """What a run of `switch_on` or `update` did.

    Attributes:
        cases: photographs whose places are kept now.
        added: of them, described by this run.
        removed: forgotten by this run.
        failed: that can't be used, with the reason.
        bytes_each: of the side file, a photograph.
    """

    cases: int
    added: int
    removed: int
    failed: tuple[Failed, ...]
    bytes_each: int


class _Wanted(NamedTuple):
    """A photograph of the archive."""

    id: int
    stamp: tuple[int, int]
    case: Case


def switch_on(folder: AnyPath, progress: Progress | None = None) -> Kept:
    """Make the side file of an archive, or bring it up to date where it is on already.

    Killed at any moment and called again, it goes on where it stopped.

    Args:
        folder: the archive.
        progress: called with the number of photographs just dealt with.

    Raises:
        RegionError: fewer than LEAST photographs can be read, or another process is writing.
        EncoderError: the archive's encoder is built in another way.
        ArchiveError: the archive can't be opened.
        OSError: the archive's folder can't be written.
    """
    folder = Path(folder)
    if not is_on(folder):
        with Archive.open(folder, read_only=True) as archive:
            local = _local(archive)
            cases = [case for _, case in archive.cases()]
            basis = _learn(local, cases)
            Store.create(folder, archive.fingerprint, basis)
    return update(folder, progress)


def update(folder: AnyPath, progress: Progress | None = None) -> Kept:
    """Describe what was added to the archive since, and forget what was removed.

    Arguments and errors as for `switch_on`.
    """
    folder = Path(folder)
    with Archive.open(folder, read_only=True) as archive:
        held = Store(folder, archive.fingerprint)
        wanted, gone = _difference(archive, held)
        local = _local(archive) if wanted else None
        with held.writing() as writer:
            removed = writer.forget(gone)
            failed: list[Failed] = []
            results = _described(local, held.basis, wanted) if local else iter(())
            while batch := list(islice(results, BATCH)):
                good = [one for one in batch if isinstance(one, Described)]
                failed += [one for one in batch if isinstance(one, Failed)]
                if good:
                    writer.add(good)
                if progress:
                    progress(len(batch))
    cases = int((held.slots["id"] != FREE).sum())
    added = len(wanted) - len(failed)
    return Kept(cases, added, removed, tuple(failed), held.basis.grid**2 * len(held.basis.axes[0]))


def count_missing(folder: Path, among: Collection[int] = ()) -> int:
    """Count the photographs that the archive no longer holds, or some of them, that have places still."""
    gone = _missing(folder)[1].tolist() if is_on(folder) else []
    return sum(not among or id_ in among for id_ in gone)


def forget_missing(folder: Path) -> int:
    """Wipe the places of photographs that the archive no longer holds, and count these.

    Does nothing where the side file is off.
    """
    if not is_on(folder):
        return 0
    held, gone = _missing(folder)
    with held.writing() as writer:
        return writer.forget(gone)


def _missing(folder: Path) -> tuple[Store, NDArray[np.int64]]:
    with Archive.open(folder, read_only=True) as archive:
        held = Store(folder, archive.fingerprint)
        return held, _difference(archive, held)[1]


def switch_off(folder: AnyPath) -> None:
    """Delete the side file; a second call does nothing."""
    discard(Path(folder))


def _difference(archive: Archive, held: Store) -> tuple[list[_Wanted], NDArray[np.int64]]:
    """Photographs that lack their places, and ids whose places are of no photograph any more."""
    with archive.state() as state:
        stamps = state.stamps()
        ids = state.ids
    known = {(int(slot["id"]), int(slot["size"]), int(slot["mtime_ns"])) for slot in held.slots if slot["id"] != FREE}
    rows = zip(ids.tolist(), stamps.tolist(), strict=True)
    missing = {id_: (size, time) for id_, (size, time) in rows if (id_, size, time) not in known}
    kept = held.slots["id"][held.slots["id"] != FREE]
    gone = kept[~np.isin(kept, ids) | np.isin(kept, list(missing))]
    found = archive.cases() if missing else iter(())
    return [_Wanted(id_, missing[id_], case) for id_, case in found if id_ in missing], gone


def _described(local: Local, basis: Basis, wanted: list[_Wanted]) -> Iterator[Described | Failed]:
    def work(one: _Wanted) -> Described | Failed:
        try:
            if stamp_of(Path(one.case.path)) != one.stamp:
                raise ImageError("the file has changed since it was indexed; index it again")
            maps, field = _look(local, one.case)
        except UNUSABLE as error:
            return Failed.of(one.case, error)
        inside = field.inside(basis.grid)
        return Described(one.id, one.stamp, field, packed(basis.reduced(maps, inside)))

    return in_order(work, wanted, cores(), AHEAD)


def _look(local: Local, case: Case) -> tuple[NDArray[np.float32], Field]:
    image = decode(Path(case.path), min_side=local.contract.min_side)
    view = find_field_of_view(image)
    maps = local.describe(image, case.eye, view)
    return maps, Field.of(view, *image.shape[:2])


def _learn(local: Local, cases: list[Case]) -> Basis:
    """Axes of places drawn from photographs that are spread evenly over the archive."""
    step = max(1, len(cases) // SAMPLE)
    rng = np.random.default_rng(0)
    drawn = []

    def work(case: Case) -> tuple[NDArray[np.float32], Field] | None:
        try:
            return _look(local, case)
        except UNUSABLE:
            return None

    for looked in in_order(work, cases[::step][:SAMPLE], cores(), AHEAD):
        if looked is None:
            continue
        places = looked[0][looked[1].inside(local.grid)]
        drawn.append(places[rng.permutation(len(places))[:EACH]])
    if len(drawn) < LEAST:
        raise RegionError(
            f"the archive has {len(drawn)} photographs that can be read; regions need {LEAST} or "
            "more, to learn what retinas have in common"
        )
    return Basis.learn(np.concatenate(drawn), local.grid)


def _local(archive: Archive) -> Local:
    return Local(read_release(archive.encoder_folder), cores())


def cores() -> int:
    """Count the processor cores that this process may use."""
    return len(os.sched_getaffinity(0))

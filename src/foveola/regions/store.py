"""The side file of an archive that holds what its encoder sees at each place.

    A/regions/regions.json   which encoder made it; written last, so its presence says "on"
    A/regions/basis.npz      the archive's principal axes
    A/regions/places.i8      a slot a photograph: n * n * D bytes, int8
    A/regions/slots.npy      which photograph is in which slot, and where its field of view lies

Places are made small by the archive's own axes, learnt once from a sample of it, less its mean
appearance, so that what all retinas share counts for nothing in a similarity.

One process writes, any number read. A slot is written and on the disk before slots.npy, which is
replaced whole, speaks of it; a slot is wiped before slots.npy forgets it. Killed at any moment it
lacks at most the last batch, and what is left of that is cut off by whoever writes next. A slot
counts only as long as the archive has the photograph's id with the same size and time of change.
Its CRC-32 stands in slots.npy and is checked when it is first read; UNCHECKED stands where an older
Foveola wrote none.

Letters: C channels in, D kept, n x n positions.
"""

import contextlib
import fcntl
import io
import itertools
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from foveola import files
from foveola.errors import RegionError
from foveola.regions.box import Field
from foveola.resources import AnyPath, beside

D = 32  # kept of 256 channels; 64 find no more lesions (benchmarks/regions.py)
STEPS = 127  # a unit vector's values as whole numbers from -127 to 127
Bytes = NDArray[np.int8]
Floats = NDArray[np.float32]
FOLDER = "regions"
_META, _BASIS, _PLACES, _SLOTS, _LOCK = ("regions.json", "basis.npz", "places.i8", "slots.npy", "lock")
FORMAT = 2  # 1 had no checksums
FREE = -1
UNCHECKED = -1
_OLD_SLOT = np.dtype(
    [
        ("id", "<i8"),
        ("size", "<i8"),
        ("mtime_ns", "<i8"),
        ("x", "<f4"),
        ("y", "<f4"),
        ("side", "<f4"),
        ("aspect", "<f4"),
        ("round", "?"),
    ]
)
SLOT = np.dtype([*_OLD_SLOT.descr, ("crc", "<i8")])
Slots = NDArray[np.void]


class Basis(NamedTuple):
    """Principal axes of an archive's places.

    Attributes:
        mean: (C,) float32, what is subtracted.
        axes: (C, D) float32, of unit length.
        grid: n.
    """

    mean: Floats
    axes: Floats
    grid: int

    @classmethod
    def learn(cls, places: Floats, grid: int) -> Self:
        """Learn from (N, C) vectors of places in the field the D axes along which they differ most.

        Raises:
            ValueError: fewer places than axes.
        """
        if len(places) <= D or places.shape[1] < D:
            raise ValueError(f"expected more than {D} places of {D} channels, got {places.shape}")
        mean = places.mean(axis=0, dtype=np.float64)
        centred = places - mean
        _, axes = np.linalg.eigh(centred.T @ centred)
        return cls(mean.astype(np.float32), axes[:, ::-1][:, :D].astype(np.float32), grid)

    def reduced(self, maps: Floats, inside: NDArray[np.bool_]) -> Floats:
        """Reduce maps: (n, n, C) -> (n, n, D) of unit length; zero where not inside the field."""
        small = (maps - self.mean) @ self.axes
        small /= np.maximum(np.linalg.norm(small, axis=-1, keepdims=True), 1e-12)
        small[~inside] = 0
        return np.asarray(small, np.float32)

    def save(self, path: Path) -> None:
        """Write it whole or not at all."""
        grid = np.array(self.grid, np.int64)
        files.save_arrays(path, {"mean": self.mean, "axes": self.axes, "grid": grid})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            RegionError: the file is missing or damaged.
        """
        try:
            held = files.load_arrays(path)
            mean, axes, grid = held["mean"], held["axes"], int(held["grid"])
        except (OSError, ValueError, KeyError, TypeError):
            raise RegionError(damaged(path.parent)) from None
        sound = mean.ndim == 1 and axes.shape == (len(mean), D) and 1 <= grid <= 1024
        if not (sound and np.isfinite(mean).all() and np.isfinite(axes).all()):
            raise RegionError(damaged(path.parent))
        return cls(mean.astype(np.float32), axes.astype(np.float32), grid)


def packed(small: Floats) -> Bytes:
    """Pack unit vectors as int8; a value is off by 1/254 at most, a cosine by about .002."""
    return np.asarray(np.round(small * STEPS), np.int8)


def damaged(folder: Path) -> str:
    """Return the sentence for a side file that can't be read."""
    return (
        f"{folder} is damaged; make it anew with 'foveola regions off {folder.parent}' and then "
        f"'foveola regions on {folder.parent}'"
    )


class Described(NamedTuple):
    """What is to be stored of one photograph.

    Attributes:
        id: of its case.
        stamp: size in bytes and time of change in ns of its file.
        field: where its field of view lies.
        places: (n, n, D) int8.
    """

    id: int
    stamp: tuple[int, int]
    field: Field
    places: Bytes


def is_on(folder: AnyPath) -> bool:
    """Return whether an archive keeps its places."""
    folder = Path(folder)
    return (folder / FOLDER / _META).exists()


class Store:
    """The side file, opened for reading; `writing` opens it for more.

    Args:
        folder: the archive.
        fingerprint: of the archive's encoder.

    Raises:
        RegionError: there is none, it is damaged, or another encoder made it.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder = folder / FOLDER
        if not is_on(folder):
            raise RegionError(
                f"{folder} does not keep the places of its photographs; make them with 'foveola regions on {folder}'"
            )
        try:
            meta = files.read_json(self.folder / _META)
            made, version = str(meta["fingerprint"]), int(meta["format"])
        except (OSError, ValueError, KeyError, TypeError):
            raise RegionError(damaged(self.folder)) from None
        if version > FORMAT:
            raise RegionError(f"{self.folder} was made by a newer Foveola; update Foveola")
        if made != fingerprint:
            raise RegionError(
                f"{self.folder} was made by another encoder ({made}) than the archive's "
                f"({fingerprint}); make it anew with 'foveola regions off {folder}' and then "
                f"'foveola regions on {folder}'"
            )
        self.fingerprint, self.format = fingerprint, version
        self.basis = Basis.load(self.folder / _BASIS)
        self._slots: Slots = np.empty(0, SLOT)
        self._places: Bytes = np.empty((0, *self._shape), np.int8)
        self._checked = np.empty(0, bool)
        self._seen: tuple[int, int] | None = None
        self.refresh()

    @classmethod
    def create(cls, folder: Path, fingerprint: str, basis: Basis) -> "Store":
        """Make an empty one; killed before its end it leaves nothing that counts."""
        with beside(folder / FOLDER) as inner:
            inner.mkdir()
            basis.save(inner / _BASIS)
            files.write_whole(inner / _PLACES, b"")
            files.save_array(inner / _SLOTS, np.empty(0, SLOT))
            _save_meta(inner, fingerprint)
            shutil.rmtree(folder / FOLDER, ignore_errors=True)  # what an older Foveola began
            inner.rename(folder / FOLDER)
        return cls(folder, fingerprint)

    @property
    def slots(self) -> Slots:
        """Return (S,) of SLOT; the id is FREE where nothing is kept."""
        return self._slots

    @property
    def places(self) -> Bytes:
        """Return (S, n, n, D) int8, mapped from the disk."""
        return self._places

    def fields(self) -> Callable[[int], Field]:
        """Return a function from a slot to its photograph's field of view, as things stand now."""
        slots = self._slots
        return lambda slot: Field(*slots[slot].item()[3:8])

    def check(self, wanted: NDArray[np.int64]) -> None:
        """Compare slots with their checksums; each once in a process, as long as none changes.

        Raises:
            RegionError: one is damaged.
        """
        for at in wanted[~self._checked[wanted]].tolist():
            kept = int(self._slots["crc"][at])
            if kept not in (UNCHECKED, zlib.crc32(self._places[at])):
                raise RegionError(damaged(self.folder))
            self._checked[at] = True

    def refresh(self) -> bool:
        """Read anew what another process may have written, and return whether anything had changed."""
        try:
            stat = (self.folder / _SLOTS).stat()
            now = stat.st_mtime_ns, stat.st_ino
            if now == self._seen:
                return False
            slots = _current(files.load_array(self.folder / _SLOTS))
            if slots.dtype != SLOT or slots.ndim != 1:
                raise RegionError(damaged(self.folder))
            if (self.folder / _PLACES).stat().st_size < len(slots) * self._bytes:
                raise RegionError(damaged(self.folder))
            places = np.empty((0, *self._shape), np.int8)
            if len(slots):
                places = np.memmap(self.folder / _PLACES, np.int8, "r", shape=(len(slots), *self._shape))
        except (OSError, ValueError):
            raise RegionError(damaged(self.folder)) from None
        self._slots, self._places, self._seen = slots, places, now
        self._checked = np.zeros(len(slots), bool)
        return True

    @contextlib.contextmanager
    def writing(self) -> Iterator["Writer"]:
        """Open for more; one process at a time.

        Raises:
            RegionError: another process is writing.
            OSError: it can't be written.
        """
        with (self.folder / _LOCK).open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RegionError(
                    f"{self.folder} is busy: another process is writing; try again when it has finished"
                ) from None
            self._seen = None
            self.refresh()
            with (self.folder / _PLACES).open("r+b") as file:
                yield Writer(self, file)
        self.refresh()

    @property
    def _shape(self) -> tuple[int, int, int]:
        return self.basis.grid, self.basis.grid, D

    @property
    def _bytes(self) -> int:
        return self.basis.grid**2 * D


class Writer:
    """What may be done to the side file; from `Store.writing`."""

    def __init__(self, store: Store, file: io.BufferedRandom) -> None:
        self._store, self._file = store, file
        self._bytes = store._bytes
        self._slots = store.slots.copy()
        file.truncate(len(self._slots) * self._bytes)  # what a killed process left

    def add(self, batch: Sequence[Described]) -> None:
        """Store a batch; a case that is there already is replaced. On return it is on the disk."""
        slots = self._slots
        places = self._slots_for([one.id for one in batch])
        more = max(places, default=-1) + 1 - len(slots)
        slots = np.concatenate([slots, np.zeros(more, SLOT)]) if more > 0 else slots.copy()
        for at, one in zip(places, batch, strict=True):
            self._file.seek(at * self._bytes)
            data = np.ascontiguousarray(one.places, np.int8).tobytes()
            self._file.write(data)
            slots[at] = (one.id, *one.stamp, *one.field, zlib.crc32(data))
        self._publish(slots)

    def _slots_for(self, ids: Sequence[int]) -> list[int]:
        """A slot for each case: its own, one that is free, or a new one at the end."""
        own = dict(zip(self._slots["id"].tolist(), range(len(self._slots)), strict=True))
        free = np.flatnonzero(self._slots["id"] == FREE).tolist()
        end = itertools.chain(free, itertools.count(len(self._slots)))
        return [own[id_] if id_ in own else next(end) for id_ in ids]

    def forget(self, ids: NDArray[np.int64]) -> int:
        """Wipe what is kept of cases, and count these."""
        slots = self._slots.copy()
        gone = np.flatnonzero(np.isin(slots["id"], ids) & (slots["id"] != FREE))
        for at in gone.tolist():
            self._file.seek(at * self._bytes)
            self._file.write(bytes(self._bytes))
            slots[at] = np.zeros(1, SLOT)[0]
            slots["id"][at] = FREE
        if len(gone):
            self._publish(slots)
        return len(gone)

    def _publish(self, slots: Slots) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        if self._store.format < FORMAT:
            _save_meta(self._store.folder, self._store.fingerprint)
            self._store.format = FORMAT
        files.save_array(self._store.folder / _SLOTS, slots)
        self._slots = slots


def discard(folder: Path) -> None:
    """Delete the side file; regions.json first, so that a half-deleted one is none."""
    (folder / FOLDER / _META).unlink(missing_ok=True)
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


def _save_meta(folder: Path, fingerprint: str) -> None:
    files.write_json(folder / _META, {"format": FORMAT, "fingerprint": fingerprint}, indent=1)


def _current(slots: NDArray[Any]) -> NDArray[Any]:
    """Slots of an older Foveola as they are kept now."""
    if slots.dtype != _OLD_SLOT:
        return slots
    made = np.zeros(slots.shape, SLOT)
    for name in _OLD_SLOT.names or ():
        made[name] = slots[name]
    made["crc"] = UNCHECKED
    return made

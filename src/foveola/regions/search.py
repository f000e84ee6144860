"""Cases like one place of a photograph: exact, over the places that the archive keeps.

Letters: m photographs, n x n positions of the grid, D of a position's vector.
"""

import threading
import time
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from foveola.archive.search import check_count
from foveola.archive.state import State
from foveola.encoders.local import Local
from foveola.errors import ArchiveError, RegionError
from foveola.images.decode import decode
from foveola.images.fundus import find_field_of_view
from foveola.regions.basis import STEPS, Bytes
from foveola.regions.box import Box, Cells, Field, square
from foveola.regions.results import Places, RegionHit, RegionResult
from foveola.regions.store import FREE, Store
from foveola.resources import AnyPath, Closing
from foveola.retrieval import Query, Retriever

_CHUNK = 256  # photographs multiplied at once: 13 MiB of float32 for 20 x 20 x 32
_DIGITS = 6  # of a similarity: what is equal to these stays in the archive's order

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Pixels = NDArray[np.uint8]


class RegionSearch(Closing):
    """An archive that is asked about places. Safe to use from several threads.

    Args:
        retriever: of the archive, which it shares.
        threads: processor cores to use; None takes the encoder's.

    Raises:
        RegionError: the archive does not keep its places, or another encoder made them.
        EncoderError: the encoder is built in another way.
    """

    def __init__(self, retriever: Retriever, threads: int | None = None) -> None:
        archive, encoder = retriever.archive, retriever.encoder
        self.retriever = retriever
        self._store = Store(archive.folder, archive.fingerprint)
        self._local = Local(encoder.release, threads or encoder.threads)
        self._lock = threading.Lock()
        self._rows: tuple[Ints | None, Ints] = (None, np.empty(0, np.int64))

    @classmethod
    def open(cls, folder: AnyPath) -> Self:
        """Open an archive for it; `close` closes the archive."""
        folder = Path(folder)
        retriever = Retriever.open(folder)
        try:
            return cls(retriever)
        except BaseException:
            retriever.close()
            raise

    def close(self) -> None:
        """Close the archive."""
        self.retriever.close()

    def look(self, pixels: Pixels, query: Query) -> Places:
        """What the encoder sees at each place of (H, W, 3) uint8 RGB as decoded."""
        view = find_field_of_view(pixels)
        field = Field.of(view, *pixels.shape[:2])
        maps = self._local.describe(pixels, query.case.eye, view)
        return Places(self._store.basis.reduced(maps, field.inside(self._local.grid)), field)

    def look_at(self, data: bytes, query: Query) -> Places:
        """The same of a file that `Retriever.read` has read."""
        size = self._local.contract.min_side
        return self.look(decode(data, min_side=size, name=query.case.image), query)

    def search(
        self,
        query: Query,
        places: Places,
        region: Box,
        k: int = 10,
        *,
        where: str | None = None,
        same_subject: bool = False,
    ) -> RegionResult:
        """Find the cases with a place most like a region of a photograph.

        The vectors of the region's positions are averaged to one, and every box of the same size
        in every case is compared with it: the mean of the cosines of its positions. A case counts
        by its best box. Exact; nothing depends on the order of addition but what is equal.

        Args:
            query: from `Retriever.read`.
            places: of the same photograph, from `look`.
            region: in shares of the picture; a point stands for a small square around it.
            k: number of hits wanted, at least 1.
            where: condition on the cases, see docs/reference/archive.md.
            same_subject: let the query's own subject be found too.

        Raises:
            RegionError: the region lies outside the field of view.
            FilterError: the condition can't be understood.
        """
        check_count(k)
        start = time.perf_counter()
        n = len(places.vectors)
        cells = places.field.cells(region.checked(), n)
        asked, itself = _mean(places.vectors, cells)
        archive, kept = self.retriever.archive, self._store
        least = self.retriever.too_alike([query], same_subject=same_subject)
        with self._lock, archive.state() as state:
            ids, slots = state.ids, self._slots_of(state)
            wanted = state.matching(where)
            if query.id is not None:
                wanted &= ids != query.id
            same = np.zeros(len(ids), bool)
            if not same_subject:
                near = state.alike([query.descriptor], least)
                same = wanted & (state.of_identity(query.case.identity) | near)
            chosen = np.flatnonzero(wanted & ~same)
            rows = chosen[slots[chosen] >= 0]
            kept.check(slots[rows])
            stored, fields = kept.places, kept.fields()
        # the long part, for which nobody else has to wait
        scores, at = best_boxes(stored, slots[rows], asked, (cells.rows, cells.columns))
        best = np.lexsort((rows, -scores))[:k].tolist()
        hits: list[RegionHit] = []
        for i in best:
            id_ = int(ids[rows[i]])
            try:
                case = archive.case(id_)
            except ArchiveError:  # removed meanwhile
                continue
            found = Cells(int(at[i, 1]), int(at[i, 0]), cells.columns, cells.rows)
            box = fields(int(slots[rows[i]])).box(found, n)
            hits.append(RegionHit(len(hits) + 1, float(scores[i]), case, id_, box, square(found, n)))
        encoder = self.retriever.encoder
        return RegionResult(
            query=query.case,
            in_archive=query.id is not None,
            hits=tuple(hits),
            where=where,
            region=places.field.box(cells, n),
            square=square(cells, n),
            itself=itself,
            typical=float(np.median(scores)) if len(scores) else None,
            excluded_same_subject=int(same.sum()),
            considered=len(rows),
            undescribed=len(chosen) - len(rows),
            encoder=encoder.name,
            fingerprint=encoder.fingerprint,
            milliseconds=(time.perf_counter() - start) * 1000,
            gradability=query.gradability,
            looks=query.looks,
        )

    def _slots_of(self, state: State) -> Ints:
        """(N,) the slot of each case of the archive; -1 where there is none of this very file."""
        changed = self._store.refresh()
        if changed or self._rows[0] is not state.ids:
            self._rows = state.ids, _slots(self._store, state)
        return self._rows[1]


def _slots(kept: Store, state: State) -> Ints:
    found = np.full(len(state.ids), -1, np.int64)
    held = np.flatnonzero(kept.slots["id"] != FREE)
    rows = np.searchsorted(state.ids, kept.slots["id"][held])
    there = rows < len(state.ids)
    rows, held = rows[there], held[there]
    stamps = state.stamps()
    slots = kept.slots[held]
    same = state.ids[rows] == slots["id"]
    same &= (stamps[rows, 0] == slots["size"]) & (stamps[rows, 1] == slots["mtime_ns"])
    found[rows[same]] = held[same]
    return found


def _mean(vectors: Floats, cells: Cells) -> tuple[Floats, float]:
    """(D,) of unit length, the mean over the region's positions; what the region gets for it."""
    part = vectors[cells.y : cells.y + cells.rows, cells.x : cells.x + cells.columns]
    mean = part.sum(axis=(0, 1), dtype=np.float64)
    length = float(np.linalg.norm(mean))
    if not length:
        raise RegionError("the region lies outside the field of view; mark a place on the retina")
    return np.asarray(mean / length, np.float32), length / (cells.rows * cells.columns)


def best_boxes(places: Bytes, slots: Ints, asked: Floats, shape: tuple[int, int]) -> tuple[Floats, Ints]:
    """The most similar box of each photograph.

    Args:
        places: (S, n, n, D) int8, unit vectors times 127; zero vectors count as unlike.
        slots: (m,) which of them.
        asked: (D,) of unit length.
        shape: rows and columns of the box, in positions.

    Returns:
        (m,) float32 mean cosine of the best box, rounded to 6 digits, and (m, 2) its first row and
        column; of equal ones the first.
    """
    n = places.shape[1]
    down, across = n - shape[0] + 1, n - shape[1] + 1
    scores, at = np.empty(len(slots), np.float32), np.empty((len(slots), 2), np.int64)
    for start in range(0, len(slots), _CHUNK):
        part = slice(start, start + _CHUNK)
        some = _rows(places, slots[part]).astype(np.float32)
        alike = (some.reshape(-1, len(asked)) @ asked).reshape(-1, n, n)
        columns = np.zeros((len(some), down, n), np.float32)
        for dy in range(shape[0]):
            columns += alike[:, dy : dy + down]
        boxes = np.zeros((len(some), down, across), np.float32)
        for dx in range(shape[1]):
            boxes += columns[:, :, dx : dx + across]
        flat = (boxes / (STEPS * shape[0] * shape[1])).reshape(len(some), -1).round(_DIGITS)
        best = flat.argmax(axis=1)
        scores[part] = flat[np.arange(len(some)), best]
        at[part] = np.stack(np.divmod(best, across), axis=1)
    return scores, at


def _rows(places: Bytes, slots: Ints) -> Bytes:
    """Slots in a row are read as one piece, which is most of them."""
    if len(slots) and slots[-1] - slots[0] == len(slots) - 1 and (np.diff(slots) == 1).all():
        return places[slots[0] : slots[-1] + 1]
    return places[slots]

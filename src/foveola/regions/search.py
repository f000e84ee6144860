"""Cases like one place of a photograph: exact, over the places that the archive keeps; and in words.

Letters: m photographs, n x n positions of the grid, D of a position's vector.
"""

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from foveola import answers
from foveola.answers import LocalRegion, RegionAnswer, Show, local_case
from foveola.archive.search import check_count
from foveola.archive.state import State
from foveola.encoders.parts import Local
from foveola.errors import ArchiveError, ImageError, RegionError
from foveola.images.decode import decode
from foveola.images.fundus import Contract, field_to_show, find_field_of_view, prepare
from foveola.images.pictures import COLOUR, jpeg
from foveola.labels import is_phantom
from foveola.records import Case
from foveola.regions.box import Box, Cells, Field, square
from foveola.regions.store import FREE, STEPS, Bytes, Store
from foveola.report import Pair, Photograph, pairs_page
from foveola.resources import AnyPath, Closing
from foveola.retrieval import Query, Retriever
from foveola.trust import Looks
from foveola.trust.sentences import of_person, of_quality, of_refused

_CHUNK = 256  # photographs multiplied at once: 13 MiB of float32 for 20 x 20 x 32
_DIGITS = 6  # of a similarity: what is equal to these stays in the archive's order
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Pixels = NDArray[np.uint8]
SIDE = 360  # pixels of a picture
NOTE = (
    "A box shows where the encoder sees something alike; that need not be a lesion of the same "
    "kind. How often it is: docs/how-to/regions.md."
)


class Places(NamedTuple):
    """A query's photograph as the archive keeps its own.

    Attributes:
        vectors: (n, n, D) float32 of unit length, zero outside the field of view.
        field: where that lies.
    """

    vectors: NDArray[np.float32]
    field: Field


@dataclass(frozen=True)
class RegionHit:
    """A case, and where in it the region is found.

    Attributes:
        rank: 1 is the most similar.
        similarity: mean cosine of the region with the places of the box, in [-1, 1].
        case: the photograph and its record.
        id: of the case in its archive.
        box: where, in shares of the picture's width and height.
        square: the same in shares of the square around the field of view, as thumbnails show it.
    """

    rank: int
    similarity: float
    case: Case
    id: int
    box: Box
    square: Box


@dataclass(frozen=True, kw_only=True)
class RegionResult:
    """What a region search found, and what it left out.

    Attributes:
        query: the photograph asked about; its record is the archive's if it is in there.
        in_archive: whether the archive holds this very file; None, as the two counts, for who may
            not match people.
        region: the part that was compared: the positions of the grid that were marked, in shares
            of the picture.
        square: the same in shares of the square around its field of view.
        hits: best first.
        itself: what the region gets against itself, which is below 1 where it is not uniform.
        typical: half of the cases compared have a box this alike or more; None where there are
            none. A first hit that is hardly above it says that the region is nothing special.
        excluded_same_subject: images of the query's own subject that were left out.
        considered: cases compared, after filter and exclusions.
        undescribed: cases that pass the filter but whose places are not kept, as after an
            addition without `foveola regions update`.
        where: the filter as given.
        encoder: name of the encoder.
        fingerprint: of the encoder.
        milliseconds: from the places of the query to the hits.
        gradability: of the query, from 0 to 1.
        looks: whether the query is a fundus photograph.
    """

    query: Case
    in_archive: bool | None
    region: Box
    square: Box
    hits: tuple[RegionHit, ...]
    itself: float
    typical: float | None
    excluded_same_subject: int | None
    considered: int | None
    undescribed: int
    where: str | None
    encoder: str
    fingerprint: str
    milliseconds: float
    gradability: float
    looks: Looks


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
        """Describe each place of (H, W, 3) uint8 RGB as decoded, as the encoder sees it."""
        view = find_field_of_view(pixels)
        field = Field.of(view, *pixels.shape[:2])
        maps = self._local.describe(pixels, query.case.eye, view)
        return Places(self._store.basis.reduced(maps, field.inside(self._local.grid)), field)

    def look_at(self, data: bytes, query: Query) -> Places:
        """Describe each place of a file that `Retriever.embed` has read."""
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
            query: from `Retriever.embed`.
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
    """Find the most similar box of each photograph.

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


def sentences(result: RegionResult) -> list[str]:
    """Say what to know before looking at the hits."""
    person = of_person(result.query.subject is not None, result.excluded_same_subject)
    compared = None if result.considered is None else f"{result.considered:,} cases compared"
    said = ["; ".join(filter(None, [compared, f"same person: {person}"]))]
    if not result.looks.comparable:
        said.append(f"This {of_refused(result.looks)}: no place is sufficiently similar.")
    if (doubt := of_quality(result.looks, result.gradability)) is not None:
        said.append(doubt)
    if result.undescribed:
        said.append(
            f"{result.undescribed:,} more cases could not be searched: their places are not kept "
            "yet (foveola regions update)"
        )
    if result.typical is not None:
        said.append(
            f"Half of the cases have a place of similarity {result.typical:.3f} or more, and the "
            f"region itself would get {result.itself:.3f}: hits hardly above the half are like "
            "what most photographs show."
        )
    return said


def answer(result: RegionResult, show: Show) -> RegionAnswer:
    """Return what is answered, each case as `show` makes it of its id and record."""
    hits = tuple(answers.RegionHit.from_object(hit, case=show(hit.id, hit.case)) for hit in result.hits)
    return RegionAnswer.from_object(result, hits=hits, sentences=tuple(sentences(result)))


def to_dict(result: RegionResult) -> dict[str, Any]:
    """Return plain values for JSON, as `foveola search --region --json` prints them."""
    return LocalRegion.from_object(answer(result, local_case), query=result.query).to_dict()


def to_page(result: RegionResult, image: Path, title: str = "Cases like one place") -> str:
    """Make a page with the marked photograph and each hit with its box."""
    query = Photograph.of("Query, with the region", result.query, _marked(image, result.square))
    pairs = [
        Pair(
            title=f"Hit {hit.rank}",
            badge=f"{hit.similarity:.3f}",
            pictures=[query, Photograph.of("In the archive", hit.case, _marked(Path(hit.case.path), hit.square))],
        )
        for hit in result.hits
    ]
    facts = [
        ("Question", "which cases have a place like the region that was marked"),
        ("Region", ", ".join(f"{100 * v:.1f} %" for v in result.region) + " (left, top, width, height of the picture)"),
        ("Compared", " ".join(sentences(result))),
        ("Condition", result.where or "none"),
        ("Encoder", result.encoder),
        ("Note", NOTE),
    ]
    cases = [result.query, *(hit.case for hit in result.hits)]
    return pairs_page(
        pairs,
        title=title,
        lead=f"{len(result.hits)} cases, the most alike place first.",
        facts=facts,
        phantoms=any(map(is_phantom, cases)),
    )


def _marked(path: Path, box: Box) -> bytes | None:
    """The field of view with a box on it; None where the file can't be read."""
    try:
        image = decode(path, min_side=SIDE)
    except (ImageError, OSError):
        return None
    shown = prepare(image, Contract(size=SIDE, mask=False), view=field_to_show(image))
    drawn = np.ascontiguousarray(shown)
    x, y = round(box.x * SIDE), round(box.y * SIDE)
    corner = (x + round(box.width * SIDE), y + round(box.height * SIDE))
    cv2.rectangle(drawn, (x, y), corner, (0, 0, 0), 4)  # a dark rim shows it on bright retina
    cv2.rectangle(drawn, (x, y), corner, COLOUR, 2)
    return jpeg(drawn)

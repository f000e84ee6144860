"""Find photographs that are one and the same, or show one eye, before a split is trusted.

every photograph -> its digests, fingerprint and local features
exact            same bytes, or same pixels once decoded
candidates       nearest by the encoder's descriptor and by the coarse fingerprint
proof            local features that agree on one map, then the pixels under that map
"""

import hashlib
import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from foveola.duplicates import registration
from foveola.duplicates.registration import FEATURES, Agreement, Features, agree
from foveola.encoders.encoder import UNUSABLE, Failed
from foveola.images import fingerprint
from foveola.images.decode import decode, read_bytes
from foveola.records import Case

Vectors = NDArray[np.float32]
Kind = Literal["file", "pixels", "photograph", "eye"]
KINDS: tuple[Kind, ...] = ("file", "pixels", "photograph", "eye")  # the closest first
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where the lines are drawn; docs/how-to/duplicates.md has the measurements behind them.

    Attributes:
        neighbours: candidates of each photograph, by descriptor and by fingerprint each.
        cosine: of descriptors, below which two photographs are no candidates.
        likeness: of fingerprints (a cosine too), below which they are none.
        inliers: features that have to agree before two photographs show one eye.
        correlation: that vessels and lesions need besides.
        light: difference in illumination up to which one eye is one photograph.
    """

    neighbours: int = 5
    cosine: float = 0.8
    likeness: float = 0.6
    inliers: int = 16
    correlation: float = 0.5
    light: float = 0.09

    def __post_init__(self) -> None:
        if self.neighbours < 1 or self.inliers < 4:
            raise ValueError("neighbours is at least 1 and inliers at least 4")
        for name in ("cosine", "likeness", "correlation"):
            if not -1 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected -1 to 1")
        if not self.light >= 0:
            raise ValueError(f"light is {self.light}; expected 0 or more")


@dataclass(frozen=True)
class Pair:
    """Two photographs of one eye, with the evidence.

    Attributes:
        first, second: their places among the cases.
        kind: "file" for the same bytes, "pixels" for the same pixels in other bytes,
            "photograph" for an altered copy, "eye" for another photograph of the eye.
        mirrored: whether one is the mirror image of the other.
        inliers: local features that agree; -1 where nothing had to be compared.
        correlation: of vessels and lesions after alignment.
        light: difference in illumination, see `registration.Comparison`.
        overlap: share of the smaller retina that both show.
    """

    first: int
    second: int
    kind: Kind
    mirrored: bool = False
    inliers: int = -1
    correlation: float = 1.0
    light: float = 0.0
    overlap: float = 1.0


@dataclass(frozen=True)
class Found:
    """What `find_duplicates` found.

    Attributes:
        pairs: by first, then second.
        failed: photographs that could not be read; they are in no pair.
        candidates: pairs that were compared by their features.
    """

    pairs: tuple[Pair, ...]
    failed: tuple[Failed, ...]
    candidates: int


@dataclass(frozen=True)
class _Look:
    """What is kept of a photograph once it has been read."""

    file: bytes
    pixels: bytes
    fingerprints: Vectors
    features: Features


def find_duplicates(
    cases: Sequence[Case],
    descriptors: Vectors | None = None,
    settings: Settings | None = None,
    *,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Found:
    """Find every pair of photographs that is one photograph, or shows one eye.

    A pair that is neither identical nor among the candidates is missed; the recall of each
    kind of alteration is in docs/how-to/duplicates.md. Memory: 9 KB a photograph; its local features,
    54 KB, lie in a temporary file.

    Args:
        cases: the photographs.
        descriptors: (len(cases), D) float32 of unit length, of one encoder; a row of zeros
            where there is none. None looks for candidates by fingerprint alone.
        settings: where the lines are drawn.
        workers: threads; as many as this process has cores if None.
        progress: called with the number of photographs just read.

    Raises:
        ValueError: another number of descriptors than of cases.
    """
    settings = settings or Settings()
    if descriptors is not None and len(descriptors) != len(cases):
        raise ValueError(f"{len(descriptors)} descriptors for {len(cases)} cases")
    workers = workers or len(os.sched_getaffinity(0))
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # ours each take a photograph
    try:
        with tempfile.TemporaryDirectory(prefix="foveola-") as folder:
            return _find(cases, descriptors, settings, workers, progress, Path(folder))
    finally:
        cv2.setNumThreads(threads)


def _find(
    cases: Sequence[Case],
    descriptors: Vectors | None,
    settings: Settings,
    workers: int,
    progress: Callable[[int], None] | None,
    folder: Path,
) -> Found:
    store = FeatureStore(folder, max(1, len(cases)))
    shape = (2, fingerprint.ASKED, fingerprint.DIMENSION)
    prints = np.zeros((len(cases), *shape), np.float16)
    files: dict[bytes, list[int]] = defaultdict(list)
    pixels: dict[bytes, list[int]] = defaultdict(list)
    failed: list[Failed] = []
    for i, look in enumerate(_map(_look, cases, workers)):
        if isinstance(look, Failed):
            failed.append(look)
        else:
            files[look.file].append(i)
            pixels[look.pixels].append(i)
            prints[i] = look.fingerprints
            store.put(i, look.features)
        if progress:
            progress(1)
    exact = {**_exact(pixels, "pixels"), **_exact(files, "file")}
    asked = sorted(_candidates(prints, descriptors, store, settings) - _both_ways(exact))
    pairs = [*exact.values(), *_prove(cases, store, asked, settings, workers)]
    pairs.sort(key=lambda pair: (pair.first, pair.second))
    return Found(tuple(pairs), tuple(failed), len(asked))


class FeatureStore:
    """Local features of many photographs in two files, so that memory stays small."""

    def __init__(self, folder: Path, count: int, most: int = FEATURES) -> None:
        self.counts = np.zeros(count, np.int32)
        self._points = np.memmap(folder / "p", np.float32, "w+", shape=(count, most, 2))
        self._frames = np.memmap(folder / "f", np.float32, "w+", shape=(count, most, 2))
        self._vectors = np.memmap(folder / "v", np.uint8, "w+", shape=(count, most, 128))

    def put(self, i: int, of: Features) -> None:
        """Keep those of photograph i."""
        n = self.counts[i] = len(of.points)
        self._points[i, :n], self._frames[i, :n] = of.points, of.frames
        self._vectors[i, :n] = of.vectors

    def get(self, i: int) -> Features:
        """Return those of photograph i."""
        n = self.counts[i]
        points, frames = np.array(self._points[i, :n]), np.array(self._frames[i, :n])
        return Features(points, frames, np.array(self._vectors[i, :n]))


def _look(case: Case) -> _Look | Failed:
    try:
        data = read_bytes(Path(case.path))
        image = decode(data, name=Path(case.path).name)
        prepared = registration.square(image)
    except UNUSABLE as error:
        return Failed.of(case, error)
    shown = hashlib.sha256(repr(image.shape).encode())
    shown.update(image.tobytes())
    return _Look(
        hashlib.sha256(data).digest(),
        shown.digest(),
        fingerprint.fingerprints(prepared),
        registration.features(prepared),
    )


def _exact(groups: dict[bytes, list[int]], kind: Kind) -> dict[tuple[int, int], Pair]:
    """Each copy with the first of its group: a thousand copies are no million pairs."""
    return {(first, other): Pair(first, other, kind) for first, *others in groups.values() for other in others}


def _both_ways(exact: Iterable[tuple[int, int]]) -> set[tuple[int, int, bool]]:
    """What needs no proof: all pairs of photographs that are copies of one."""
    head = {other: first for first, other in exact}
    groups: dict[int, list[int]] = defaultdict(list)
    for other, first in head.items():
        groups[head.get(first, first)].append(other)
    return {
        (min(a, b), max(a, b), flag)
        for first, others in groups.items()
        for a in [first, *others]
        for b in others
        if a != b
        for flag in (False, True)
    }


def _candidates(
    prints: NDArray[np.float16], descriptors: Vectors | None, store: FeatureStore, settings: Settings
) -> set[tuple[int, int, bool]]:
    """(first, second, mirrored) with first < second."""
    seen = np.flatnonzero(store.counts)
    found: set[tuple[int, int, bool]] = set()

    def add(queries: Vectors, gallery: Vectors, least: float, mirror: bool) -> None:
        for a, b, _ in fingerprint.nearest(queries, gallery, settings.neighbours, least):
            i, j = int(seen[a]), int(seen[b])
            found.add((min(i, j), max(i, j), mirror))

    plain = prints[seen, 0, 0].astype(np.float32)
    for half in (0, 1):
        for version in range(fingerprint.ASKED):
            asks = prints[seen, half, version].astype(np.float32)
            add(asks, plain, settings.likeness, bool(half))
    if descriptors is not None:
        rows = descriptors[seen]
        add(rows, rows, settings.cosine, False)
    return found


def _prove(
    cases: Sequence[Case], store: FeatureStore, asked: Sequence[tuple[int, int, bool]], settings: Settings, workers: int
) -> Iterator[Pair]:
    """Those of the candidates that show one eye, each pair once, as what it is closest to."""

    def prove(candidate: tuple[int, int, bool]) -> Pair | None:
        i, j, mirror = candidate
        second = store.get(j)
        agreed = agree(store.get(i), registration.mirrored(second) if mirror else second)
        if agreed.inliers < settings.inliers:
            return None
        return _judge(cases, candidate, agreed, settings)

    best: dict[tuple[int, int], Pair] = {}
    for pair in _map(prove, asked, workers):
        if pair is not None:
            key = (pair.first, pair.second)
            if key not in best or best[key].inliers < pair.inliers:
                best[key] = pair
    yield from best.values()


def _judge(
    cases: Sequence[Case], candidate: tuple[int, int, bool], agreed: Agreement, settings: Settings
) -> Pair | None:
    i, j, mirror = candidate
    try:
        first, second = (registration.square(decode(Path(cases[n].path))) for n in (i, j))
    except UNUSABLE:  # gone since it was read
        return None
    if mirror:
        second = np.ascontiguousarray(second[:, ::-1])
    seen = registration.compare(first, second, agreed.affine)
    if seen.correlation < settings.correlation:
        return None
    kind: Kind = "photograph" if seen.light <= settings.light else "eye"
    return Pair(i, j, kind, mirror, agreed.inliers, seen.correlation, seen.light, seen.overlap)


def _map(work: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """Results in order, some hundred items ahead of whoever takes them."""
    source = iter(items)
    with ThreadPoolExecutor(workers) as pool:
        while part := list(islice(source, 64 * workers)):
            yield from pool.map(work, part)

"""Rankings of a gallery for many queries, a block of queries at a time.

Letters: B queries of a block, N gallery images, D width of a descriptor, K first ranks. Nothing
of the size queries x gallery is ever kept.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foveola.metrics.metrics import Bools, Floats

_BLOCK_BYTES = 64 << 20
_BYTES_PER_PAIR = 40  # cosine, its sort key, relevance, exclusion, hits
_STEPS = 2**30
_CACHED = 1 << 16  # pairs sorted at a time: half a megabyte stays in a core's own cache
_LAST = 2**31 - 1  # step of what is excluded, behind every cosine


class Ranking(NamedTuple):
    """What stands at each rank.

    Attributes:
        relevance: bool (B, N), by rank; excluded images come last and are not relevant.
        first: int64 (B, K), position in the gallery of what stands at the first K ranks; -1
            where the ranking is shorter.
    """

    relevance: Bools
    first: NDArray[np.int64]


def query_blocks(queries: int, gallery: int, block: int | None = None) -> Iterator[slice]:
    """Slices of the queries, each small enough that its work takes about 64 MB."""
    size = block or max(1, _BLOCK_BYTES // (_BYTES_PER_PAIR * max(gallery, 1)))
    for start in range(0, queries, size):
        yield slice(start, min(start + size, queries))


def unit_rows(descriptors: NDArray[np.float32]) -> Floats:
    """(N, D) -> (N, D): rows of length 1 in double precision."""
    rows = descriptors.astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


class Gallery:
    """Descriptors to compare with, their lengths divided out once where memory allows.

    Args:
        descriptors: float32 (N, D).
    """

    def __init__(self, descriptors: NDArray[np.float32]) -> None:
        self._descriptors = descriptors
        self._unit = unit_rows(descriptors) if 8 * descriptors.size <= 4 * _BLOCK_BYTES else None

    def cosines(self, queries: NDArray[np.float32]) -> Floats:
        """Cosine of each pair in double precision, (B, D) -> (B, N)."""
        unit = unit_rows(queries)
        if self._unit is not None:
            return np.asarray(unit @ self._unit.T)
        N, D = self._descriptors.shape
        result = np.empty((len(queries), N))
        tile = max(1, _BLOCK_BYTES // (16 * max(D, 1)))
        for start in range(0, N, tile):
            part = slice(start, start + tile)
            result[:, part] = unit @ unit_rows(self._descriptors[part]).T
        return result


def rank(similarity: Floats, relevance: Bools, excluded: Bools, first: int = 0) -> Ranking:
    """Most similar first.

    Similarities are compared in steps of 2^-30, and equal ones keep the order of the
    gallery. Without steps the last bit would break ties, and that bit of a matrix product
    depends on where in the matrix a pair stands.

    Args:
        similarity: float64 (B, N), from -1 to 1.
        relevance: bool (B, N), by position in the gallery.
        excluded: bool (B, N), what to leave out of each ranking.
        first: K.
    """
    B, N = similarity.shape
    ranking = Ranking(np.empty((B, N), dtype=bool), np.empty((B, min(first, N)), dtype=np.int64))
    places = np.arange(N, dtype=np.int64) << 1
    some = max(1, _CACHED // max(N, 1))
    for start in range(0, B, some):
        part = slice(start, start + some)
        keys = _keys(similarity[part], relevance[part], excluded[part], places)
        keys.sort(axis=1)
        ranking.relevance[part] = keys & 1
        head = keys[:, :first]
        ranking.first[part] = np.where(head >> 32 == _LAST, -1, (head & 0xFFFFFFFF) >> 1)
    return ranking


def _keys(similarity: Floats, relevance: Bools, excluded: Bools, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """One number for each pair: (step, position, relevance) from the highest bit down.

    A plain sort then orders by all three and carries the relevance along, several times as fast
    as sorting positions and looking their relevance up.
    """
    scaled = similarity * -_STEPS
    keys = np.rint(scaled, out=scaled).astype(np.int64)
    keys[excluded] = _LAST
    keys <<= 32
    keys |= places
    keys |= relevance & ~excluded
    return keys

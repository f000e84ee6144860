"""Rankings of a gallery for many queries, a block of queries at a time.

Letters: B queries of a block, N gallery images, D width of a descriptor. Nothing of the
size queries x gallery is ever kept.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from foveola.evaluation.metrics import Bools, Floats

_BLOCK_BYTES = 64 << 20
_BYTES_PER_PAIR = 40  # cosine, its step, its place, relevance, exclusion, sums over ranks
_STEPS = 2**30


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


def cosines(queries: NDArray[np.float32], gallery: NDArray[np.float32]) -> Floats:
    """Cosine of each pair in double precision, (B, D) and (N, D) -> (B, N)."""
    B, N, D = len(queries), len(gallery), gallery.shape[1]
    unit = unit_rows(queries)
    result = np.empty((B, N))
    tile = max(1, _BLOCK_BYTES // (16 * max(D, 1)))
    for start in range(0, N, tile):
        part = slice(start, start + tile)
        result[:, part] = unit @ unit_rows(gallery[part]).T
    return result


def rank_relevance(similarity: Floats, relevance: Bools, excluded: Bools) -> Bools:
    """Relevance in the order of the ranking; most similar first.

    Similarities are compared in steps of 2^-30, and equal ones keep the order of the
    gallery. Without steps the last bit would break ties, and that bit of a matrix product
    depends on where in the matrix a pair stands. Excluded images come last and count as
    not relevant.

    Args:
        similarity: float64 (B, N), from -1 to 1.
        relevance: bool (B, N), by position in the gallery.
        excluded: bool (B, N), what to leave out of each ranking.

    Returns:
        bool (B, N), by rank.
    """
    steps = np.rint(similarity * -_STEPS).astype(np.int32)
    steps[excluded] = np.iinfo(np.int32).max
    order = np.argsort(steps, axis=1, kind="stable")
    return np.asarray(np.take_along_axis(relevance & ~excluded, order, axis=1))

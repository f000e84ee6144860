"""Rankings of a gallery for many queries: by cosine or by other scores, and what each rank is worth.

Letters: Q queries, B of them in a block, N gallery images, D width of a descriptor, K first ranks,
L label values, U and V different label sets among the queries and in the gallery. Queries are
ranked a block at a time: nothing of the size queries x gallery is ever held.
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from foveola.metrics.metrics import Bools, Floats

_BLOCK_BYTES = 64 << 20
_BYTES_PER_PAIR = 40  # cosine, its sort key, relevance, exclusion, hits
_STEPS = 2**30
_CACHED = 1 << 16  # pairs sorted at a time: half a megabyte stays in a core's own cache
_LAST = 2**31 - 1  # step of what is excluded, behind every cosine
_WIDEST = 4  # grades apart on the ICDR scale, at which nothing is alike
_MOST = 1 + 2**-30  # a cosine of two equal rows may end a last bit above 1


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
    """Cut the queries into slices, each small enough that its work takes about 64 MB."""
    size = block or max(1, _BLOCK_BYTES // (_BYTES_PER_PAIR * max(gallery, 1)))
    for start in range(0, queries, size):
        yield slice(start, min(start + size, queries))


def unit_rows(descriptors: NDArray[np.float32]) -> Floats:
    """Return rows (N, D) of length 1 in double precision."""
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
        """Compute the cosine of each pair in double precision, (B, D) -> (B, N)."""
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
    """Rank the most similar first.

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


class BlockGains(NamedTuple):
    """Gains of some queries.

    Attributes:
        first: float64 (B, K), by rank; 0 where a ranking is shorter.
        ideal: float64 (B, K), the greatest there are, falling.
        mean: float64 (B,), over all images that could be ranked.
    """

    first: Floats
    ideal: Floats
    mean: Floats


def gain_table(queries: Bools, gallery: Bools, names: tuple[str, ...], label: str) -> Floats:
    """Compute the gain of each gallery label set for each of the queries' sets, (U, L), (V, L) -> (U, V).

    Grades: 1 - |difference| / 4, so that a neighbouring grade is worth 3/4. Findings and all
    other labels: the Jaccard index, shared values / values of either.
    """
    if label == "grade" and all(name.isdigit() for name in names):
        grades = np.array([int(name) for name in names])
        apart = grades[queries.argmax(axis=1)][:, None] - grades[gallery.argmax(axis=1)]
        return np.asarray(1 - np.minimum(np.abs(apart), _WIDEST) / _WIDEST)
    shared = queries.astype(np.float64) @ gallery.T.astype(np.float64)
    either = queries.sum(axis=1)[:, None] + gallery.sum(axis=1) - shared
    return np.asarray(shared / np.maximum(either, 1))


class Gains:
    """Gains of a gallery for queries, by label set: there are few, however many images.

    Args:
        queries: bool (Q, L).
        gallery: bool (N, L).
        names: of the L label values.
        label: what the label is.
    """

    def __init__(self, queries: Bools, gallery: Bools, names: tuple[str, ...], label: str) -> None:
        asked, of_query = np.unique(queries, axis=0, return_inverse=True)
        ranked, of_gallery = np.unique(gallery, axis=0, return_inverse=True)
        self._table = gain_table(asked, ranked, names, label)
        self._of_query, self._of_gallery = of_query.ravel(), of_gallery.ravel()
        self._counts = np.bincount(self._of_gallery, minlength=len(ranked))
        self._falling = np.argsort(-self._table, axis=1, kind="stable")

    def of_block(self, part: slice, first: NDArray[np.int64], excluded: Bools) -> BlockGains:
        """Compute the gains of a slice of the queries.

        Args:
            part: the B queries.
            first: int64 (B, K), positions in the gallery by rank, -1 for none.
            excluded: bool (B, N), what is left out of each ranking.
        """
        rows = self._of_query[part]
        table = self._table[rows]  # (B, V)
        left = self._counts - self._count(excluded)
        order = self._falling[rows]
        until = np.take_along_axis(left, order, axis=1).cumsum(axis=1)
        at = (until[:, None, :] <= np.arange(first.shape[1])[:, None]).sum(axis=2)  # (B, K)
        best = np.pad(np.take_along_axis(table, order, axis=1), ((0, 0), (0, 1)))
        found = np.take_along_axis(table, self._of_gallery[first], axis=1)
        return BlockGains(
            np.where(first < 0, 0, found),
            np.take_along_axis(best, at, axis=1),
            (table * left).sum(axis=1) / np.maximum(left.sum(axis=1), 1),
        )

    def _count(self, excluded: Bools) -> NDArray[np.int64]:
        """(B, N) -> (B, V): how many of each label set."""
        B, N = excluded.shape
        V = len(self._counts)
        places = np.flatnonzero(excluded)
        row = np.repeat(np.arange(B), np.count_nonzero(excluded, axis=1))
        cells = row * V + self._of_gallery[places - row * N]
        return np.bincount(cells, minlength=B * V).reshape(B, V)


class Scores(Protocol):
    """Scores of the gallery for each query, by which it is ranked; used from several threads.

    Rows are those of the two sides given to `evaluate_retrieval`. As that leaves unlabelled images
    out, it asks for `restricted` once, and for the blocks of what that returns.
    """

    def restricted(self, queries: NDArray[np.int64], gallery: NDArray[np.int64]) -> "Scores":
        """Return the same for some rows of both sides, which are then counted from 0.

        Args:
            queries: int64, positions of the queries that remain, rising.
            gallery: int64, of the gallery images; the queries' where these are the gallery.
        """
        ...

    def of_block(self, part: slice, cosines: Floats, excluded: Bools) -> Floats:
        """Return the scores of some queries, float64 (B, N) from -1 to 1, the greatest first.

        They are compared in steps of 2^-30, as cosines are, and equal ones keep the order of the
        gallery. A row must not depend on which others are in its block.

        Args:
            part: the B queries.
            cosines: float64 (B, N), from -1 to 1; may be overwritten and returned.
            excluded: bool (B, N), what is left out of each ranking, the query itself too; not to
                be changed. Scores there are ignored, but lie in the range.
        """
        ...


def checked(scores: Scores, part: slice, cosines: Floats, excluded: Bools) -> Floats:
    """Return the scores of a block, checked to be such as can be ranked.

    Raises:
        ValueError: they are of another shape, or some are NaN or beyond -1 to 1.
    """
    left_out = excluded.view()
    left_out.flags.writeable = False  # a changed one would rank a query's own subject
    shape = cosines.shape
    found = np.asarray(scores.of_block(part, cosines, left_out), dtype=np.float64)
    if found.shape != shape:
        raise ValueError(f"expected scores {shape} of a block of queries, got {found.shape}")
    low, high = (float(end(found, initial=0)) for end in (np.min, np.max))
    if not -_MOST <= low <= high <= _MOST:  # nor NaN, which is in no order
        raise ValueError(f"expected scores from -1 to 1, got {low:g} to {high:g}")
    return found

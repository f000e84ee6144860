"""Exact nearest neighbours under the cosine, with an order that never depends on luck.

Letters: Q queries, N stored descriptors, D dimensions, k results.

A matrix product in float32 is fast but not quite repeatable: BLAS sums the rows at the edge
of a matrix in another order than those in its middle, so the same vector can score one unit in
the last place more or less, and ties come out at random. So the product only proposes
candidates; the few that can be among the first k are scored again in float64.
"""

import functools
import operator
import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foveola.relevance.order import FADE, FIRST, Asked, scores_of, spread

UNIT_TOLERANCE = 1e-3  # how far from 1 the length of a descriptor may be, half precision included
_EXACT_LENGTH = 1e-6  # closer to 1 than this a descriptor is kept bit for bit
_CHUNK = 4096  # rows scored again at once: 16 MiB of float64 at D = 512
_BLOCK = 64  # scores whose greatest is looked at first
_PRODUCT = 1 << 24  # scores computed at once for many queries: 64 MiB of float32
_ALONE = 1 << 21  # numbers of a matrix below which another core gains nothing: 15,000 rows of 139


def unit(vector: NDArray[np.floating], dimension: int) -> NDArray[np.float32]:
    """Check a descriptor and bring its length to 1: (D,) -> (D,) float32.

    A length that is off by rounding only (1e-6) is left as it is, bit for bit.

    Raises:
        ValueError: another shape, a value that is not finite, or a length off by more than 1e-3.
    """
    vector = np.asarray(vector)
    if vector.shape != (dimension,):
        raise ValueError(f"expected a descriptor of shape ({dimension},), got {vector.shape}")
    made, (length,) = units(vector[None])
    if not abs(length - 1) <= UNIT_TOLERANCE:  # also true for NaN and inf
        raise ValueError(f"expected a descriptor of length 1, got {length:.6g}")
    first: NDArray[np.float32] = made[0]
    return first


def units(rows: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Bring each row to length 1: (N, D) -> (N, D) float32, and the lengths (N,) there were.

    A length that is off by rounding only (1e-6) is left as it is, bit for bit. A row of zeros, or
    of what is no number, is no direction; its length tells.

    >>> rows, lengths = units(np.array([[0.0, 2.0], [0.0, 0.0]]))
    >>> rows.tolist(), lengths.tolist()
    ([[0.0, 1.0], [0.0, 0.0]], [2.0, 0.0])
    """
    wide = rows.astype(np.float64)
    lengths = np.sqrt(np.sum(wide * wide, axis=1))
    off = (np.abs(lengths - 1) > _EXACT_LENGTH) & (lengths > 0) & (lengths < np.inf)
    wide[off] /= lengths[off, None]
    return wide.astype(np.float32), lengths


def check_count(k: int) -> None:
    """Refuse what is no number of results.

    Raises:
        TypeError: it is no whole number.
        ValueError: it is less than 1.
    """
    try:
        wanted = operator.index(k)
    except TypeError:
        raise TypeError(f"expected k as a whole number, got {k!r}") from None
    if wanted < 1:
        raise ValueError(f"k must be at least 1, got {k}")


def top_k(
    queries: NDArray[np.float32],
    matrix: NDArray[np.float32],
    k: int,
    *,
    rows: NDArray[np.int64] | None = None,
    cosines: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Find the k rows of the matrix most like each query, best first.

    Rows with equal similarity come in ascending order, also where rank k cuts through a tie;
    equal rows have equal similarities wherever they lie. Exact: nothing is left out.

    Args:
        queries: (Q, D) unit vectors.
        matrix: (N, D) unit vectors, C-contiguous.
        k: how many results, at least 1; fewer come back where fewer rows are there.
        rows: (n,) the rows to search, ascending and without repeats; None searches all.
        cosines: (N,) of one query and every row, where they were computed already by `product`.

    Returns:
        rows (Q, min(k, n)) int64 and their cosines (Q, min(k, n)) float32 in [-1, 1].

    Raises:
        ValueError: the shapes do not fit, or k is less than 1.

    >>> matrix = np.eye(3, dtype=np.float32)
    >>> rows, cosines = top_k(matrix[1:2], matrix, 2)
    >>> rows.tolist(), cosines.tolist()
    ([[1, 0]], [[1.0, 0.0]])
    """
    if queries.ndim != 2 or matrix.ndim != 2 or queries.shape[1] != matrix.shape[1]:
        raise ValueError(f"expected queries (Q, D) and matrix (N, D), got {queries.shape} and {matrix.shape}")
    check_count(k)
    count = len(matrix) if rows is None else len(rows)
    k = min(k, count)
    found = np.empty((len(queries), k), np.int64)
    similarities = np.empty((len(queries), k), np.float32)
    step = max(1, _PRODUCT // max(1, len(matrix)))
    for start in range(0, len(queries) if k else 0, step):
        part = queries[start : start + step]
        for i, scores in enumerate(_scores(part, matrix, rows, cosines), start):
            best = candidates(scores, k, matrix.shape[1])
            best = best if rows is None else rows[best]
            exact = _exact(queries[i], matrix, best)
            # Ranked by the float32 that is given back, so that what looks equal is in order.
            order = np.lexsort((best, -exact))[:k]
            found[i], similarities[i] = best[order], exact[order]
    return found, similarities


class Ordered(NamedTuple):
    """What was found under an order that is not the cosine alone.

    Attributes:
        rows: int64 (k,), best first.
        scores: float32 (k,), by which they are ordered; not falling where likely values share the
            first ranks, see `foveola.relevance.order`.
        cosines: float32 (k,), in [-1, 1].
        nearest: greatest cosine of any row searched; None where there is none.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    cosines: NDArray[np.float32]
    nearest: float | None


def top_asked(
    query: NDArray[np.float32],
    matrix: NDArray[np.float32],
    k: int,
    asked: Asked,
    *,
    rows: NDArray[np.int64] | None = None,
    cosines: NDArray[np.float32] | None = None,
) -> Ordered:
    """Find the k rows that a query of an archive's labels asks for, best first. Exact.

    Args:
        query: (D,) unit vector.
        matrix: (N, D) unit vectors, C-contiguous.
        k: how many results, at least 1; fewer come back where fewer rows are there.
        asked: what they are ordered by beside the cosine.
        rows: (n,) the rows to search, ascending and without repeats; None searches all.
        cosines: (N,) of every row, where they were computed already by `product`.
    """
    looks = _scores(query[None], matrix, rows, cosines)[0]
    scores = _agreements(asked, rows)
    most = float(scores.max(initial=0.0))
    scores += looks * np.float32(1 - asked.share)
    k = min(k, len(scores))
    if not k:
        none = np.empty(0, np.float32)
        return Ordered(np.empty(0, np.int64), none, none, None)
    width = matrix.shape[1] + asked.targets.shape[1] + 2  # of the sums, whose errors add up
    first = min(k, FIRST)
    last = _kth(scores, k)
    near = np.flatnonzero(scores >= last - _margin(width))
    if spreads := int(asked.codes.max()) >= 0:
        lost = np.float32(most * (1 - (1 - FADE) ** (first - 1)))
        last = last if first == k else _kth(scores, first)
        least = last - lost - 2 * _margin(width)
        near = np.union1d(near, _rivals(scores, asked.codes, rows, first, least, width))
    places = near if rows is None else rows[near]
    exactly = _exact(query, matrix, places).astype(np.float64)
    agreements = (asked.targets[places].astype(np.float64) * asked.wanted).sum(axis=1)
    exact = scores_of(exactly, agreements, asked.share)
    order = np.lexsort((places, -exact))
    if spreads:
        begin = order[spread(exactly[order], agreements[order], asked.codes[places][order], asked.share, first)]
        order = np.concatenate([begin, order[~np.isin(order, begin)]])
    order = order[:k]
    alike = np.flatnonzero(looks >= looks.max() - _margin(matrix.shape[1]))
    nearest = float(_exact(query, matrix, alike if rows is None else rows[alike]).max())
    return Ordered(places[order], exact[order], exactly[order].astype(np.float32), nearest)


def _agreements(asked: Asked, rows: NDArray[np.int64] | None) -> NDArray[np.float32]:
    """(n,) agreement times its share, good to about K units in the last place."""
    targets = asked.targets
    if rows is not None and len(rows) * 4 < len(targets):
        targets, rows = targets[rows], None
    scores = np.zeros(len(targets), np.float32)
    for column, wanted in zip(targets.T, (asked.share * asked.wanted).tolist(), strict=True):
        scores += column * np.float32(wanted)  # without BLAS, see `product`
    return scores if rows is None else scores[rows]


def _rivals(
    scores: NDArray[np.float32],
    codes: NDArray[np.int64],
    rows: NDArray[np.int64] | None,
    first: int,
    least: np.float32,
    width: int,
) -> NDArray[np.int64]:
    """Every position that the first hits may take when likely values share them.

    Whoever is chosen among them scores no less than the last of as many best ones after all its
    losses (`spread`), which is `least`; and of one value the best are chosen.
    """
    may = np.flatnonzero(scores >= least)
    of = codes[may if rows is None else rows[may]]
    pool = [np.empty(0, np.int64)]
    for value in range(int(of.max(initial=-1)) + 1):
        some = may[np.flatnonzero(of == value)]  # twice as fast as by the mask itself
        if len(some):
            pool.append(some[candidates(scores[some], min(first, len(some)), width)])
    return np.concatenate(pool)


def _scores(
    queries: NDArray[np.float32],
    matrix: NDArray[np.float32],
    rows: NDArray[np.int64] | None,
    cosines: NDArray[np.float32] | None,
) -> NDArray[np.float32]:
    """(Q, D), (N, D) -> (Q, n) float32, good to about D units in the last place."""
    if cosines is not None:
        return (cosines if rows is None else cosines[rows])[None]
    if rows is not None and len(rows) * 4 < len(matrix):  # copying a quarter costs less than all
        matrix, rows = matrix[rows], None
    scores: NDArray[np.float32]
    scores = queries @ matrix.T if len(queries) > 1 else product(matrix, queries[0])[None]
    return scores if rows is None else scores[:, rows]


def product(matrix: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the cosines of one descriptor: (N, D), (D,) -> (N,) float32, on all cores.

    Good to about D units in the last place. Without BLAS, whose threads wait for cores.
    """
    scores = np.empty(len(matrix), np.float32)
    parts = min(_cores(), matrix.size // _ALONE)

    def work(rows: slice) -> None:
        np.einsum("nd,d->n", matrix[rows], query, out=scores[rows])

    if parts < 2:
        work(slice(None))
        return scores
    ends = np.linspace(0, len(matrix), parts + 1).astype(int).tolist()
    list(_pool().map(work, map(slice, ends, ends[1:])))
    return scores


def _cores() -> int:
    return len(os.sched_getaffinity(0))


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_cores(), "search")


os.register_at_fork(after_in_child=_pool.cache_clear)  # threads stay behind


def candidates(scores: NDArray[np.float32], k: int, dimension: int) -> NDArray[np.int64]:
    """Find every position, ascending, whose true score may be among the k best: (n,) -> (m >= k,).

    The error of a float32 dot product of unit vectors is at most D * 2^-24 in any order of
    summation (Higham, Accuracy and Stability, 3.1). It may lower the k-th score and raise a
    rival's, or the other way round; one unit more covers the rounding of the result.
    """
    return np.flatnonzero(scores >= _kth(scores, k) - _margin(dimension))


def _kth(scores: NDArray[np.float32], k: int) -> np.float32:
    """(n,) -> the k-th greatest, 1 <= k <= n.

    Of the greatest of each block the k-th is no greater than it, and few scores are as great: only
    these are sorted out, which takes a tenth of the time that all would.
    """
    blocks = len(scores) // _BLOCK
    if blocks >= 4 * k:
        heads = scores[: blocks * _BLOCK].reshape(blocks, _BLOCK).max(axis=1)
        scores = scores[scores >= np.partition(heads, blocks - k)[blocks - k]]
    return np.float32(np.partition(scores, len(scores) - k)[len(scores) - k])


def _margin(dimension: int) -> np.float32:
    return np.float32(2.1 * (dimension + 2) * 2.0**-24)


def _exact(query: NDArray[np.float32], matrix: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """(n,) cosines in [-1, 1], the same for a row wherever it lies."""
    wide = query.astype(np.float64)
    exact = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _CHUNK):
        part = matrix[rows[start : start + _CHUNK]].astype(np.float64)
        part *= wide  # exact: two factors of 24 bits fit into 53
        exact[start : start + _CHUNK] = part.sum(axis=1)  # each row by itself, in one order
    return np.clip(exact, -1, 1, out=exact)

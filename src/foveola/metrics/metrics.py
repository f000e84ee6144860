"""How good one ranking is.

Pure functions on ranked relevance: row q holds, best first, whether the image at each
rank is relevant to query q. Letters: Q queries, K ranks looked at, N images that could be
ranked for a query, R of them relevant, H hits of all queries. All results are float64 (Q,),
one value a query; what a random ranking would reach is in `chance`.

A ranking shorter than K has no image at its last ranks, and no image is a miss: the sums
are still divided by K, as the definitions say.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Bools: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.float64]


class Hits(NamedTuple):
    """Where the relevant images of Q rankings stand; query by query, best first.

    Attributes:
        depth: ranks that were looked at.
        start: int64 (Q + 1,), where each query's hits start, and the end of the last.
        rank: int64 (H,), 1 is best.
        precision: float64 (H,), of the ranking down to this hit.
    """

    depth: int
    start: NDArray[np.int64]
    rank: NDArray[np.int64]
    precision: Floats


def find_hits(relevance: ArrayLike) -> Hits:
    """Find the hits of rankings, bool (Q, N). Metrics over whole rankings share them."""
    ranked = np.asarray(relevance, dtype=bool)
    start = np.concatenate([[0], np.cumsum(np.count_nonzero(ranked, axis=1))])
    rank, precision = np.empty(start[-1], dtype=np.int64), np.empty(start[-1])
    nth = np.arange(1, int(np.diff(start).max(initial=0)) + 1)
    for row, one, end in zip(ranked, start[:-1], start[1:], strict=True):
        np.add(np.flatnonzero(row), 1, out=rank[one:end])
        np.divide(nth[: end - one], rank[one:end], out=precision[one:end])
    return Hits(ranked.shape[1], start, rank, precision)


def hit_ratio(relevance: ArrayLike, k: int) -> Floats:
    """Return the share of the first k that is relevant (precision at k).

        HR@k = (1/k) sum_{i<=k} rel_i

    Source: docs/explanation/methods.md (1.16), Fang et al. 2023, who call its mean "mean hit ratio".

    Args:
        relevance: bool (Q, any), best first.
        k: ranks looked at, at least 1.

    >>> hit_ratio([[True, False, True, True]], k=2)
    array([0.5])
    """
    head = _head(relevance, k)
    return np.asarray(head.sum(axis=1) / k, dtype=np.float64)


def any_hit(relevance: ArrayLike, k: int) -> Floats:
    """Return 1 where any of the first k is relevant, else 0.

        hit@k = [ sum_{i<=k} rel_i >= 1 ]

    Its mean is what others publish as hit rate or success at k, and metric learning as Recall@K;
    the share of relevant ones is `hit_ratio`. As that one, and unlike `found_within`, it is 0
    where nothing is relevant.

    Args:
        relevance: bool (Q, any), best first.
        k: ranks looked at, at least 1.
    """
    return np.asarray(_head(relevance, k).any(axis=1), dtype=np.float64)


def average_precision_author(relevance: ArrayLike, k: int) -> Floats:
    """Compute average precision as the authors of mirror attention do.

        AP@k = (1/k) sum_{i<=k} rel_i * precision@i

    It divides by k, not by the number of hits or of relevant images, so a miss counts as
    0 and fewer than k relevant images can't reach 1. Source: docs/explanation/methods.md (1.17). Over the
    whole ranking, AP@N * N / R is the average precision of scikit-learn.

    Args:
        relevance: bool (Q, any), best first.
        k: ranks looked at, at least 1.

    >>> average_precision_author([[True, False, True, False]], k=4).round(4)
    array([0.4167])
    """
    sums = _precision_sums(_head(relevance, k))
    return sums[:, -1] / k if sums.shape[1] else np.zeros(len(sums))


def average_precision_per_hit(relevance: ArrayLike, k: int) -> Floats:
    """Compute average precision over the hits among the first k.

        AP@k = sum_{i<=k} rel_i * precision@i / max(1, sum_{i<=k} rel_i)

    The other published form (Y-Net, arXiv 2105.08872, and much of the hashing literature): one
    hit at rank 1 and nothing else is 1. Larger than `average_precision_author`; the two must
    not be compared.

    Args:
        relevance: bool (Q, any), best first.
        k: ranks looked at, at least 1.
    """
    head = _head(relevance, k)
    if not head.shape[1]:
        return np.zeros(len(head))
    return np.asarray(_precision_sums(head)[:, -1] / np.maximum(head.sum(axis=1), 1))


def average_precision(relevance: ArrayLike | Hits, relevant: ArrayLike) -> Floats:
    """Compute average precision over the whole ranking: mean precision at the relevant images.

        AP = (1/R) sum_i rel_i * precision@i

    That of scikit-learn where nothing is tied.

    Args:
        relevance: bool (Q, N), best first, or its hits.
        relevant: int (Q,), R of each query. Where it is 0 the result is NaN.
    """
    found = _as_hits(relevance)
    return _per_relevant(_precision_until(found, found.start[1:]), relevant)


def average_precision_at_r(relevance: ArrayLike | Hits, relevant: ArrayLike) -> Floats:
    """Compute average precision over as many ranks as there are relevant images.

        AP@R = (1/R) sum_{i<=R} rel_i * precision@i

    Source: docs/explanation/methods.md (2.9), the definition of pytorch-metric-learning. 1 means that every
    relevant image comes before every other one.

    Args:
        relevance: bool (Q, at least max R), best first, or its hits.
        relevant: int (Q,), R of each query. Where it is 0 the result is NaN.

    Raises:
        ValueError: rankings end before rank R.
    """
    found = _as_hits(relevance)
    return _per_relevant(_precision_until(found, _end_of_r(found, relevant)), relevant)


def r_precision(relevance: ArrayLike | Hits, relevant: ArrayLike) -> Floats:
    """Return the share of the first R that is relevant, R being the number of relevant images.

    Arguments and errors as for `average_precision_at_r`.
    """
    found = _as_hits(relevance)
    hits = _end_of_r(found, relevant) - found.start[:-1]
    return _per_relevant(hits.astype(np.float64), relevant)


def reciprocal_rank(relevance: ArrayLike | Hits, relevant: ArrayLike) -> Floats:
    """Return 1 / rank of the first relevant image; its mean over queries is the MRR.

    Args:
        relevance: bool (Q, N), best first, or its hits.
        relevant: int (Q,), R of each query. Where it is 0 the result is NaN.
    """
    found = _as_hits(relevance)
    some = np.flatnonzero(np.diff(found.start))
    result = np.zeros(len(found.start) - 1)
    result[some] = 1 / found.rank[found.start[some]]
    return np.where(np.asarray(relevant) > 0, result, np.nan)


def found_within(relevance: ArrayLike | Hits, relevant: ArrayLike, k: int) -> Floats:
    """Return 1 where a relevant image is among the first k, else 0; its mean is the plain rank-k rate.

    Args:
        relevance: bool (Q, N), best first, or its hits.
        relevant: int (Q,), R of each query. Where it is 0 the result is NaN.
        k: at least 1.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    inverse = reciprocal_rank(relevance, relevant)
    return np.where(np.isnan(inverse), np.nan, inverse >= 1 / k)


def cumulative_match(relevance: ArrayLike | Hits, relevant: ArrayLike, k: int) -> Floats:
    """Compute the AdaTriplet paper's cumulative matching characteristic at k, not the usual rank-k rate.

        CMC@k = (1/R) sum_j [ rank_j - j <= k - 1 ],   j = 1 ... R

    Each relevant image counts, and those ahead of it that are relevant too are not in its way. It
    equals `found_within` where R is 1. Source: docs/explanation/methods.md (2.8), the authors' ranking.py.

    Args:
        relevance: bool (Q, N), best first, whole rankings, or its hits.
        relevant: int (Q,), R of each query. Where it is 0 the result is NaN.
        k: at least 1.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    found = _as_hits(relevance)
    counts = np.diff(found.start)
    nth = np.arange(len(found.rank)) - np.repeat(found.start[:-1], counts) + 1
    good = np.concatenate([[0], np.cumsum(found.rank - nth <= k - 1)])
    return _per_relevant(np.diff(good[found.start]).astype(np.float64), relevant)


def ndcg(gains: ArrayLike, ideal: ArrayLike, k: int) -> Floats:
    """Compute the discounted cumulative gain over that of the best order.

        DCG@k = sum_{i<=k} gain_i / log2(i + 1)        nDCG@k = DCG@k / DCG@k of the best order

    Gains enter as they are, not as powers of two. Source: Jarvelin and Kekalainen, ACM TOIS
    2002; that of scikit-learn where nothing is tied.

    Args:
        gains: float (Q, any), 0 or above, by rank.
        ideal: float (Q, any), the greatest gains that the gallery has for a query, falling.
            Where all are 0 the result is NaN.
        k: ranks looked at, at least 1.

    >>> ndcg([[0.75, 1.0]], ideal=[[1.0, 0.75]], k=2).round(4)
    array([0.9374])
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    return _divide(discounted(gains, k), discounted(ideal, k))


def discounted(gains: ArrayLike, k: int) -> Floats:
    """Compute DCG@k of float (Q, any)."""
    head = np.asarray(gains, dtype=np.float64)[:, :k]
    # not as a product of matrices, whose last bit depends on how many rows there are
    return np.asarray((head * discounts(k)[: head.shape[1]]).sum(axis=1))


def discounts(k: int) -> Floats:
    """Return (k,): 1 / log2(i + 1) of the ranks i."""
    return np.asarray(1 / np.log2(np.arange(2, k + 2)))


def _head(relevance: ArrayLike, k: int) -> Bools:
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    ranked = np.asarray(relevance, dtype=bool)
    if ranked.ndim != 2:
        raise ValueError(f"expected relevance (Q, K), got {ranked.shape}")
    return ranked[:, :k]


def _precision_sums(relevance: Bools) -> Floats:
    """(Q, K) -> (Q, K): sum of rel_i * precision@i over the ranks so far."""
    sums = np.cumsum(relevance, axis=1, dtype=np.float64)
    sums /= np.arange(1, relevance.shape[1] + 1)
    sums *= relevance
    return np.cumsum(sums, axis=1, out=sums)


def _as_hits(relevance: ArrayLike | Hits) -> Hits:
    return relevance if isinstance(relevance, Hits) else find_hits(relevance)


def _end_of_r(found: Hits, relevant: ArrayLike) -> NDArray[np.int64]:
    """(Q,): where in the hits those at rank R or before end."""
    counts = np.asarray(relevant, dtype=np.int64)
    deepest = int(counts.max(initial=0))
    if found.depth < deepest:
        raise ValueError(f"expected rankings of at least R = {deepest}, got {found.depth}")
    within = [
        start + np.searchsorted(found.rank[start:end], count, side="right")
        for start, end, count in zip(found.start[:-1], found.start[1:], counts, strict=True)
    ]
    return np.array(within, dtype=np.int64)


def _precision_until(found: Hits, ends: NDArray[np.int64]) -> Floats:
    """(Q,): sum of each query's precisions from its first hit up to `ends`."""
    sums = [found.precision[one:end].sum() for one, end in zip(found.start[:-1], ends, strict=True)]
    return np.array(sums, dtype=np.float64)


def _per_relevant(sums: Floats, relevant: ArrayLike) -> Floats:
    return _divide(sums, np.asarray(relevant, dtype=np.float64))


def _divide(above: Floats, below: Floats) -> Floats:
    """NaN where below is 0."""
    result = np.full(len(below), np.nan)
    np.divide(above, below, out=result, where=below > 0)
    return result

"""How good one ranking is, and how good a random one would be.

Pure functions on ranked relevance: row q holds, best first, whether the image at each
rank is relevant to query q. Letters: Q queries, K ranks looked at, N images that could be
ranked for a query, R of them relevant. All results are float64 (Q,), one value a query.

A ranking shorter than K has no image at its last ranks, and no image is a miss: the sums
are still divided by K, as the definitions say.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Bools: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.float64]


def hit_ratio(relevance: ArrayLike, k: int) -> Floats:
    """Share of the first k that is relevant (precision at k).

        HR@k = (1/k) sum_{i<=k} rel_i

    Source: methods.md (1.16), Fang et al. 2023, who call its mean "mean hit ratio".

    Args:
        relevance: bool (Q, any), best first.
        k: ranks looked at, at least 1.
    """
    head = _head(relevance, k)
    return np.asarray(head.sum(axis=1) / k, dtype=np.float64)


def average_precision_author(relevance: ArrayLike, k: int) -> Floats:
    """Average precision as the authors of mirror attention compute it.

        AP@k = (1/k) sum_{i<=k} rel_i * precision@i

    It divides by k, not by the number of hits or of relevant images, so a miss counts as
    0 and fewer than k relevant images can't reach 1. Source: methods.md (1.17). Over the
    whole ranking, AP@N * N / R is the average precision of scikit-learn.

    Args:
        relevance: bool (Q, any), best first.
        k: ranks looked at, at least 1.
    """
    sums = _precision_sums(_head(relevance, k))
    return sums[:, -1] / k if sums.shape[1] else np.zeros(len(sums))


def average_precision_at_r(relevance: ArrayLike, relevant: ArrayLike) -> Floats:
    """Average precision over as many ranks as there are relevant images.

        AP@R = (1/R) sum_{i<=R} rel_i * precision@i

    Source: methods.md (2.9), the definition of pytorch-metric-learning. 1 means that every
    relevant image comes before every other one.

    Args:
        relevance: bool (Q, at least max R), best first.
        relevant: int (Q,), R of each query. Where it is 0 the result is NaN.

    Raises:
        ValueError: rankings end before rank R.
    """
    counts = np.asarray(relevant, dtype=np.int64)
    deepest = int(counts.max(initial=0))
    ranked = np.asarray(relevance, dtype=bool)[:, :deepest]
    if ranked.shape[1] < deepest:
        raise ValueError(f"expected rankings of at least R = {deepest}, got {ranked.shape[1]}")
    result = np.full(len(counts), np.nan)
    asked = np.flatnonzero(counts)
    result[asked] = _precision_sums(ranked)[asked, counts[asked] - 1] / counts[asked]
    return result


def expected_hit_ratio(relevant: ArrayLike, ranked: ArrayLike, k: int) -> Floats:
    """Mean of `hit_ratio` over all orders of N images, R of them relevant.

    Each rank holds a relevant image with probability R/N, so E HR@k = (R/N) min(k, N) / k.

    Args:
        relevant: int (Q,), R.
        ranked: int (Q,), N; where it is 0 the result is 0.
        k: ranks looked at, at least 1.
    """
    R, N = _counts(relevant, ranked)
    return R / np.maximum(N, 1) * np.minimum(k, N) / k


def expected_average_precision_author(relevant: ArrayLike, ranked: ArrayLike, k: int) -> Floats:
    """Mean of `average_precision_author` over all orders of N images, R of them relevant.

    With p = R/N, and q = (R-1)/(N-1) for a second place once one is known to be relevant,
    rank i gives E[rel_i * precision@i] = (p/i) (1 + (i-1) q), and with n = min(k, N) and the
    harmonic number H_n the sum over ranks is

        E AP@k = (p/k) (H_n + q (n - H_n))

    Args:
        relevant: int (Q,), R.
        ranked: int (Q,), N; where it is 0 the result is 0.
        k: ranks looked at, at least 1.
    """
    R, N = _counts(relevant, ranked)
    return _expected_precision_sum(R, N, np.minimum(k, N)) / k


def expected_average_precision_at_r(relevant: ArrayLike, ranked: ArrayLike) -> Floats:
    """Mean of `average_precision_at_r` over all orders; NaN where nothing is relevant.

    The sum of `expected_average_precision_author` with R ranks, divided by R.
    """
    R, N = _counts(relevant, ranked)
    return np.where(R > 0, _expected_precision_sum(R, N, R) / np.maximum(R, 1), np.nan)


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


def _counts(relevant: ArrayLike, ranked: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    R, N = np.asarray(relevant, dtype=np.int64), np.asarray(ranked, dtype=np.int64)
    if np.any(R > N) or np.any(R < 0):
        raise ValueError("expected 0 <= relevant <= ranked for every query")
    return R, N


def _expected_precision_sum(
    R: NDArray[np.int64], N: NDArray[np.int64], ranks: NDArray[np.int64]
) -> Floats:
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, ranks.max(initial=0) + 1))])
    H = harmonic[ranks]
    second = (R - 1) / np.maximum(N - 1, 1)
    return np.asarray(R / np.maximum(N, 1) * (H + second * (ranks - H)), dtype=np.float64)

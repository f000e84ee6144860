"""What each metric would be for a random order of the same images: exactly, not by drawing.

Letters: Q queries, N images that could be ranked for a query, R of them relevant, K ranks
looked at. All results are float64 (Q,).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveola.metrics.metrics import Floats, discounted, discounts


def expected_hit_ratio(relevant: ArrayLike, ranked: ArrayLike, k: int) -> Floats:
    """Return the mean of `hit_ratio` over all orders of N images, R of them relevant.

    Each rank holds a relevant image with probability R/N, so E HR@k = (R/N) min(k, N) / k.

    Args:
        relevant: int (Q,), R.
        ranked: int (Q,), N; where it is 0 the result is 0.
        k: ranks looked at, at least 1.

    >>> expected_hit_ratio(relevant=[3], ranked=[10], k=5)
    array([0.3])
    """
    R, N = _counts(relevant, ranked)
    return R / np.maximum(N, 1) * np.minimum(k, N) / k


def expected_any_hit(relevant: ArrayLike, ranked: ArrayLike, k: int) -> Floats:
    """Return the mean of `any_hit` over all orders of N images, R of them relevant.

    Of the first n = min(k, N) none is relevant in C(N-R, n) of C(N, n) choices, so

        E hit@k = 1 - C(N-R, n) / C(N, n) = 1 - prod_{j<n} (1 - R / (N-j))

    Args:
        relevant: int (Q,), R.
        ranked: int (Q,), N; where it is 0 the result is 0.
        k: ranks looked at, at least 1.
    """
    R, N = _counts(relevant, ranked)
    (R, N), back = np.unique(np.stack([R, N]), axis=1, return_inverse=True)
    n = np.minimum(k, N)
    j = np.arange(n.max(initial=0))[:, None]
    certain = n > N - R
    drawn = (j < n) & ~certain
    # in logarithms, so that one image among millions keeps all of its digits
    none = np.log1p(-np.where(drawn, R, 0) / np.where(drawn, N - j, 1)).sum(axis=0)
    result = np.where(certain, 1, 0 - np.expm1(none))  # from 0, as -0.0 would be printed
    return np.asarray(result[back.ravel()], dtype=np.float64)


def expected_average_precision_author(relevant: ArrayLike, ranked: ArrayLike, k: int) -> Floats:
    """Return the mean of `average_precision_author` over all orders of N images, R of them relevant.

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
    """Return the mean of `average_precision_at_r` over all orders; NaN where nothing is relevant.

    The sum of `expected_average_precision_author` with R ranks, divided by R.
    """
    R, N = _counts(relevant, ranked)
    return np.where(R > 0, _expected_precision_sum(R, N, R) / np.maximum(R, 1), np.nan)


def expected_average_precision(relevant: ArrayLike, ranked: ArrayLike) -> Floats:
    """Return the mean of `average_precision` over all orders; NaN where nothing is relevant."""
    R, N = _counts(relevant, ranked)
    return np.where(R > 0, _expected_precision_sum(R, N, N) / np.maximum(R, 1), np.nan)


def expected_average_precision_per_hit(relevant: ArrayLike, ranked: ArrayLike, k: int) -> Floats:
    """Return the mean of `average_precision_per_hit` over all orders of N images, R of them relevant.

    Of the first n = min(k, N), h are relevant with the hypergeometric probability, and lie
    in any order among them:

        E = sum_h P(h) S(h, n) / h      S(h, n): expected precision sum of h among n
    """
    R, N = _counts(relevant, ranked)
    (R, N), back = np.unique(np.stack([R, N]), axis=1, return_inverse=True)
    n = np.minimum(k, N)
    hits = np.arange(1, k + 1)[:, None]
    possible = (hits <= np.minimum(R, n)) & (n - hits <= N - R)
    h = np.where(possible, hits, 0)
    each = _expected_precision_sum(h, np.broadcast_to(n, h.shape), n) / np.maximum(h, 1)
    result = (np.where(possible, _hypergeometric(h, n, R, N), 0) * each).sum(axis=0)
    return np.asarray(result[back.ravel()], dtype=np.float64)


def expected_r_precision(relevant: ArrayLike, ranked: ArrayLike) -> Floats:
    """Return the mean of `r_precision` over all orders, R/N; NaN where nothing is relevant."""
    R, N = _counts(relevant, ranked)
    return np.where(R > 0, R / np.maximum(N, 1), np.nan)


def expected_reciprocal_rank(relevant: ArrayLike, ranked: ArrayLike) -> Floats:
    """Return the mean of `reciprocal_rank` over all orders; NaN where nothing is relevant.

    The first relevant image stands at rank i with probability
    R/(N-i+1) * prod_{j<i} (N-R-j+1)/(N-j+1).
    """
    R, N = _counts(relevant, ranked)
    pairs, back = np.unique(np.stack([R, N]), axis=1, return_inverse=True)
    return np.array([_expected_reciprocal(r, n) for r, n in pairs.T.tolist()])[back.ravel()]


def expected_ndcg(mean_gain: ArrayLike, ranked: ArrayLike, ideal: ArrayLike, k: int) -> Floats:
    """Return the mean of `ndcg` over all orders: each rank holds the mean gain; NaN where no gain is.

    Args:
        mean_gain: float (Q,), over the images that could be ranked.
        ranked: int (Q,), N.
        ideal: float (Q, at least k), the greatest gains, falling.
        k: ranks looked at.
    """
    best = discounted(ideal, k)
    reached = np.cumsum(discounts(k))[np.minimum(k, np.maximum(ranked, 1)) - 1]
    result = np.full(len(best), np.nan)
    np.divide(np.asarray(mean_gain) * reached, best, out=result, where=best > 0)
    return result


def _expected_reciprocal(relevant: int, ranked: int) -> float:
    if not relevant:
        return float("nan")
    i = np.arange(1, ranked - relevant + 2)
    missed = (ranked - relevant - i[:-1] + 1) / (ranked - i[:-1] + 1)
    none_yet = np.concatenate([[1.0], np.cumprod(missed)])
    return float((none_yet * relevant / (ranked - i + 1) / i).sum())


def _hypergeometric(h: NDArray[np.int64], n: NDArray[np.int64], R: NDArray[np.int64], N: NDArray[np.int64]) -> Floats:
    """Probability that h of n drawn from N are among the R relevant."""
    top = int(N.max(initial=0))
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, top + 1)))])

    def choose(of: NDArray[np.int64], some: NDArray[np.int64]) -> Floats:
        rest = np.maximum(of - some, 0)
        return np.asarray(log_factorial[of] - log_factorial[some] - log_factorial[rest])

    others = np.maximum(np.minimum(n - h, N - R), 0)
    return np.asarray(np.exp(choose(R, h) + choose(N - R, others) - choose(N, n)))


def _counts(relevant: ArrayLike, ranked: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    R, N = np.asarray(relevant, dtype=np.int64), np.asarray(ranked, dtype=np.int64)
    if np.any(R > N) or np.any(R < 0):
        raise ValueError("expected 0 <= relevant <= ranked for every query")
    return R, N


def _expected_precision_sum(R: NDArray[np.int64], N: NDArray[np.int64], ranks: NDArray[np.int64]) -> Floats:
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, ranks.max(initial=0) + 1))])
    H = harmonic[ranks]
    second = (R - 1) / np.maximum(N - 1, 1)
    return np.asarray(R / np.maximum(N, 1) * (H + second * (ranks - H)), dtype=np.float64)

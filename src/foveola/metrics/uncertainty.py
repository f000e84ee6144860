"""How far a mean over queries could have come out differently with other people.

Photographs of one person are alike, so people are drawn, not photographs: the bootstrap
resamples subjects with replacement and takes each with all of its queries. Rankings are
not made again; a subject drawn twice counts twice.

Letters: Q queries, M metrics, L label values, G = 1 + L groups (all queries, then those
of each label value), S subjects.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveola.metrics.metrics import Bools, Floats

_CHUNK = 100  # resamples at a time: S x 100 weights in memory


@dataclass(frozen=True, eq=False)
class Means:
    """Means of M metrics: over all queries, over each label value's, and over the values.

    Attributes:
        micro: (M,) or, of intervals, (M, 2).
        macro: same shape; unweighted mean over the label values that have queries.
        per_label: (M, L) or (M, L, 2); NaN where a label value has no query.
    """

    micro: Floats
    macro: Floats
    per_label: Floats


def means(values: Floats, members: Bools) -> Means:
    """Means of (Q, M) values; NaN values are left out. members: bool (Q, L)."""
    sums, counts = _subject_sums(values, members, np.zeros(len(values), dtype=np.int64))
    table = _divide(sums[0], counts[0])
    return Means(table[:, 0], _mean_of_known(table[:, 1:]), table[:, 1:])


def subject_bootstrap(
    values: Floats,
    members: Bools,
    subjects: NDArray[np.int64],
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Means:
    """Percentile intervals of the means, resampling subjects with replacement.

    A resample without any query of a label value has no mean for it, and its macro mean is
    over the others. One subject alone says nothing about others: its interval is NaN.
    Percentile intervals are somewhat too narrow below about 20 subjects.

    Args:
        values: (Q, M), one number a query and metric; NaN is left out of the means.
        members: bool (Q, L), whether a query has a label value.
        subjects: int (Q,), equal for queries of one person.
        resamples: number of resamples; with 0 every interval is NaN.
        confidence: between 0 and 1.
        seed: of the random numbers.
    """
    sums, counts = _subject_sums(values, members, subjects)
    draws = _resampled_means(sums, counts, resamples, np.random.default_rng(seed))
    macro = _mean_of_known(draws[:, :, 1:])
    people = (counts > 0).sum(axis=0)  # (M, G)
    table = percentiles(draws, confidence)
    table[people < 2] = np.nan
    macro_interval = percentiles(macro, confidence)
    macro_interval[people[:, 0] < 2] = np.nan
    return Means(table[:, 0], macro_interval, table[:, 1:])


def _subject_sums(values: Floats, members: Bools, subjects: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Sum and number of the known values of each subject, both (S, M, G)."""
    order = np.argsort(subjects, kind="stable")
    starts = np.flatnonzero(np.diff(subjects[order], prepend=subjects[order][:1] - 1))
    groups = np.column_stack([np.ones(len(values), dtype=bool), members])[order, None, :]
    known = ~np.isnan(values[order])[:, :, None]
    filled = np.nan_to_num(values[order])[:, :, None]
    return (
        np.add.reduceat(filled * groups, starts, axis=0),
        np.add.reduceat((known & groups).astype(np.float64), starts, axis=0),
    )


def _resampled_means(sums: Floats, counts: Floats, resamples: int, generator: np.random.Generator) -> Floats:
    """(resamples, M, G): the means of each resample."""
    S, shape = len(sums), sums.shape[1:]
    flat_sums, flat_counts = sums.reshape(S, -1), counts.reshape(S, -1)
    parts = [np.empty((0, *shape))]
    for start in range(0, resamples, _CHUNK):
        size = min(_CHUNK, resamples - start)
        weights = subject_weights(generator, size, S)
        parts.append(_divide(weights @ flat_sums, weights @ flat_counts).reshape(size, *shape))
    return np.concatenate(parts)


def subject_weights(generator: np.random.Generator, size: int, subjects: int) -> Floats:
    """(size, S): how often each subject was drawn; rows sum to S."""
    drawn = generator.integers(subjects, size=(size, subjects))
    drawn += subjects * np.arange(size)[:, None]
    counted = np.bincount(drawn.ravel(), minlength=size * subjects)
    return np.asarray(counted.reshape(size, subjects), dtype=np.float64)


def _divide(sums: Floats, counts: Floats) -> Floats:
    result = np.full(sums.shape, np.nan)
    np.divide(sums, counts, out=result, where=counts > 0)
    return result


def _mean_of_known(table: Floats) -> Floats:
    """Mean over the last axis of what is not NaN; NaN where nothing is known."""
    known = ~np.isnan(table)
    return _divide(np.nan_to_num(table).sum(axis=-1), known.sum(axis=-1).astype(np.float64))


def percentiles(draws: Floats, confidence: float) -> Floats:
    """(resamples, ...) -> (..., 2): the middle `confidence` of the known draws."""
    tail = 100 * (1 - confidence) / 2
    shape = draws.shape[1:]
    size = int(np.prod(shape))
    result = np.full((size, 2), np.nan)
    for row, column in enumerate(draws.reshape(len(draws), size).T):
        known = column[~np.isnan(column)]
        if len(known):
            result[row] = np.percentile(known, [tail, 100 - tail])
    return result.reshape(*shape, 2)

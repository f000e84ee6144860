"""Means over queries with chance level and interval: micro, macro and by label value.

Photographs of one person are alike, so people are drawn, not photographs: the bootstrap resamples
subjects with replacement and takes each with all of its queries. Rankings are not made again; a
subject drawn twice counts twice.

Letters: Q queries, M metrics, L label values, G = 1 + L groups (all queries, then those of each
label value), S subjects.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveola.metrics.inputs import Settings, metric_names
from foveola.metrics.metrics import Bools, Floats
from foveola.notebook import number, ranged

_RESAMPLES = 100  # resamples at a time: S x 100 weights in memory
Interval = tuple[float, float]
MEANS = ("macro", "micro")


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
    """Compute the means of (Q, M) values; NaN values are left out. members: bool (Q, L)."""
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
    """Compute percentile intervals of the means, resampling subjects with replacement.

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
    draws = (
        _divide(weights @ flat_sums, weights @ flat_counts)
        for weights in resampled(generator, resamples, S, _RESAMPLES)
    )
    return np.concatenate([np.empty((0, flat_sums.shape[1])), *draws]).reshape(resamples, *shape)


def resampled(generator: np.random.Generator, resamples: int, subjects: int, chunk: int) -> Iterator[Floats]:
    """Draw resamples of subjects, at most `chunk` at a time; each as from `subject_weights`."""
    for start in range(0, resamples, chunk):
        yield subject_weights(generator, min(chunk, resamples - start), subjects)


def subject_weights(generator: np.random.Generator, size: int, subjects: int) -> Floats:
    """Draw (size, S): how often each subject was drawn; rows sum to S."""
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
    """Return the middle `confidence` of the known draws, (resamples, ...) -> (..., 2)."""
    tail = 100 * (1 - confidence) / 2
    shape = draws.shape[1:]
    size = int(np.prod(shape))
    result = np.full((size, 2), np.nan)
    for row, column in enumerate(draws.reshape(len(draws), size).T):
        known = column[~np.isnan(column)]
        if len(known):
            result[row] = np.percentile(known, [tail, 100 - tail])
    return result.reshape(*shape, 2)


@dataclass(frozen=True, eq=False)
class QueryMetrics:
    """What was found for each of Q queries and M metrics.

    Attributes:
        values: float64 (Q, M), NaN where a metric is not defined.
        chance: float64 (Q, M), what a random order reaches.
        subjects: int64 (Q,), equal for queries of one person.
        members: bool (Q, L), the label values a query has.
        names: of the L label values.
    """

    values: Floats
    chance: Floats
    subjects: NDArray[np.int64]
    members: Bools
    names: tuple[str, ...]

    def of(self, rows: Bools) -> "QueryMetrics":
        """Return the queries that rows (Q,) chooses."""
        return QueryMetrics(self.values[rows], self.chance[rows], self.subjects[rows], self.members[rows], self.names)


@dataclass(frozen=True)
class Estimate:
    """One number over all queries, one over label values, one for each label value.

    Attributes:
        micro: mean over the queries.
        macro: unweighted mean over the label values that have queries.
        per_label: mean over the queries of a label value; NaN where there is none.
    """

    micro: float
    macro: float
    per_label: Mapping[str, float]


@dataclass(frozen=True, repr=False)
class Metric:
    """A metric with its chance level and interval.

    Attributes:
        value: what was measured.
        chance: exact mean of the same over all orders of each query's gallery.
        low, high: ends of the interval, NaN where there is none.
        queries: number of queries behind each label value.
    """

    value: Estimate
    chance: Estimate
    low: Estimate
    high: Estimate
    queries: Mapping[str, int]

    @classmethod
    def from_means(
        cls, m: int, names: tuple[str, ...], value: Means, chance: Means, interval: Means, queries: NDArray[np.int64]
    ) -> "Metric":
        """Take the m-th metric of tables of means; names and queries are those of the L values."""
        asked = dict(zip(names, (int(n) for n in queries), strict=True))

        def estimate(table: Means, end: int | None = None) -> Estimate:
            def pick(numbers: NDArray[np.float64]) -> float:
                return float(numbers if end is None else numbers[end])

            per_label = {name: pick(table.per_label[m, i]) for i, name in enumerate(names) if asked[name]}
            return Estimate(pick(table.micro[m]), pick(table.macro[m]), per_label)

        return cls(
            value=estimate(value),
            chance=estimate(chance),
            low=estimate(interval, 0),
            high=estimate(interval, 1),
            queries={name: count for name, count in asked.items() if count},
        )

    @property
    def total(self) -> int:
        """Return the number of queries behind the micro mean, where each has one label value."""
        return sum(self.queries.values())

    @property
    def macro(self) -> float:
        """Return the unweighted mean over label values, see `Estimate`."""
        return self.value.macro

    @property
    def micro(self) -> float:
        """Return the mean over queries."""
        return self.value.micro

    @property
    def per_label(self) -> Mapping[str, float]:
        """Return the mean over the queries of each label value."""
        return self.value.per_label

    @property
    def macro_interval(self) -> Interval:
        """Return the ends of the macro mean's interval; NaN where there is none."""
        return self.low.macro, self.high.macro

    @property
    def micro_interval(self) -> Interval:
        """Return the ends of the micro mean's interval; NaN where there is none."""
        return self.interval()

    def __repr__(self) -> str:
        return (
            f"macro {number(self.macro)} ({ranged(self.macro_interval)}), micro "
            f"{number(self.micro)} ({ranged(self.micro_interval)}), chance macro "
            f"{number(self.chance.macro)}, micro {number(self.chance.micro)}"
        )

    def to_row(self) -> dict[str, float]:
        """Return means, ends of intervals and chance by column, for a DataFrame."""
        ends = {"": self.value, "_low": self.low, "_high": self.high, "_chance": self.chance}
        return {mean + end: getattr(of, mean) for mean in MEANS for end, of in ends.items()}

    def interval(self, label: str | None = None) -> Interval:
        """Return the interval of one label value, or of the micro mean."""
        if label is None:
            return self.low.micro, self.high.micro
        return self.low.per_label[label], self.high.per_label[label]

    def to_dict(self, key: str) -> dict[str, object]:
        """Return plain types; key is the name of the entry that is by label value."""
        by_label = {name: ends(*self.interval(name)) for name in self.queries}
        return {
            **_estimate_json(self.value, key),
            "chance": _estimate_json(self.chance, key),
            "interval": {
                "micro": ends(*self.interval()),
                "macro": ends(self.low.macro, self.high.macro),
                key: by_label,
            },
            "queries": dict(self.queries),
        }


def named(metrics: Mapping[str, Metric], name: str) -> Metric:
    """Return a metric by its name.

    Raises:
        KeyError: there is none of this name; the message lists those there are.
    """
    if name not in metrics:
        raise KeyError(f"no metric {name!r}; expected one of {', '.join(metrics)}")
    return metrics[name]


def summarise(table: QueryMetrics, settings: Settings) -> dict[str, Metric]:
    """Compute means with intervals of every metric, by its name."""
    return summarise_named(
        metric_names(settings.ks),
        table,
        resamples=settings.bootstrap,
        confidence=settings.confidence,
        seed=settings.seed,
    )


def summarise_named(
    metric_names: Sequence[str], table: QueryMetrics, *, resamples: int, confidence: float, seed: int
) -> dict[str, Metric]:
    """Compute the same for metrics of other names, the M columns of the table."""
    value, chance = means(table.values, table.members), means(table.chance, table.members)
    interval = subject_bootstrap(
        table.values, table.members, table.subjects, resamples=resamples, confidence=confidence, seed=seed
    )
    result = {}
    for m, name in enumerate(metric_names):
        known = ~np.isnan(table.values[:, m])
        queries = table.members[known].sum(axis=0)
        result[name] = Metric.from_means(m, table.names, value, chance, interval, queries)
    return result


def pooled(tables: Sequence[QueryMetrics]) -> QueryMetrics:
    """Put the queries of all folds in one table; means and intervals are then over all of them.

    Args:
        tables: one a fold, of different people, judged by the same metrics.

    Raises:
        ValueError: there is none, or they do not have the same label values.
    """
    if not tables or any(t.names != tables[0].names for t in tables):
        raise ValueError("expected folds judged by the same label values, at least one of them")
    most = max(int(t.subjects.max(initial=-1)) for t in tables) + 1
    return QueryMetrics(
        np.concatenate([t.values for t in tables]),
        np.concatenate([t.chance for t in tables]),
        np.concatenate([t.subjects + fold * most for fold, t in enumerate(tables)]),
        np.concatenate([t.members for t in tables]),
        tables[0].names,
    )


def paired(first: QueryMetrics, second: QueryMetrics) -> QueryMetrics:
    """Subtract the first's values from the second's, query by query.

    Raises:
        ValueError: they asked other queries.
    """
    if first.names != second.names or not all(
        np.array_equal(x, y) for x, y in ((first.subjects, second.subjects), (first.members, second.members))
    ):
        raise ValueError(
            f"the evaluations asked other queries ({len(first.subjects)} and "
            f"{len(second.subjects)}); ask the same, in the same order"
        )
    return QueryMetrics(
        second.values - first.values, second.chance - first.chance, first.subjects, first.members, first.names
    )


def _estimate_json(estimate: Estimate, key: str) -> dict[str, object]:
    per_label = {name: _known(value) for name, value in estimate.per_label.items()}
    return {"micro": _known(estimate.micro), "macro": _known(estimate.macro), key: per_label}


def ends(low: float, high: float) -> list[float] | None:
    """Return an interval as JSON has it; None where there is none."""
    return None if math.isnan(low) else [low, high]


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value

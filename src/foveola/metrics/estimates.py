"""A metric as a user reads it: micro, macro and by label value, with interval and chance."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveola.metrics.metrics import Bools, Floats
from foveola.metrics.settings import Settings, metric_names
from foveola.metrics.tables import number, ranged
from foveola.metrics.uncertainty import Means, means, subject_bootstrap

Interval = tuple[float, float]
MEANS = ("macro", "micro")


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
        """The queries that rows (Q,) chooses."""
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
        """The m-th metric of tables of means; names and queries are those of the L values."""
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
        """Number of queries behind the micro mean, where each has one label value."""
        return sum(self.queries.values())

    @property
    def macro(self) -> float:
        """The unweighted mean over label values, see `Estimate`."""
        return self.value.macro

    @property
    def micro(self) -> float:
        """The mean over queries."""
        return self.value.micro

    @property
    def per_label(self) -> Mapping[str, float]:
        """The mean over the queries of each label value."""
        return self.value.per_label

    @property
    def macro_interval(self) -> Interval:
        """Ends of the macro mean's interval; NaN where there is none."""
        return self.low.macro, self.high.macro

    @property
    def micro_interval(self) -> Interval:
        """Ends of the micro mean's interval; NaN where there is none."""
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
        """Interval of one label value, or of the micro mean."""
        if label is None:
            return self.low.micro, self.high.micro
        return self.low.per_label[label], self.high.per_label[label]

    def to_dict(self, key: str) -> dict[str, object]:
        """Plain types; key is the name of the entry that is by label value."""
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
    """Means with intervals of every metric, by its name."""
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
    """The same for metrics of other names, the M columns of the table."""
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


def _estimate_json(estimate: Estimate, key: str) -> dict[str, object]:
    per_label = {name: _known(value) for name, value in estimate.per_label.items()}
    return {"micro": _known(estimate.micro), "macro": _known(estimate.macro), key: per_label}


def ends(low: float, high: float) -> list[float] | None:
    """An interval as JSON has it; None where there is none."""
    return None if math.isnan(low) else [low, high]


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value

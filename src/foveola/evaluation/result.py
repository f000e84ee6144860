"""What an evaluation found, as a value, as JSON, as Markdown and as text."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from foveola.evaluation.uncertainty import Means

Interval = tuple[float, float]


@dataclass(frozen=True)
class Settings:
    """How it was evaluated; see `foveola.evaluation.evaluate`.

    Raises:
        ValueError: a number is out of range.
    """

    ks: tuple[int, ...]
    exclude_same_subject: bool
    leave_one_out: bool
    bootstrap: int
    confidence: float
    seed: int

    def __post_init__(self) -> None:
        if not self.ks or min(self.ks) < 1:
            raise ValueError(f"ks must be at least 1, got {self.ks}")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence must lie between 0 and 1, got {self.confidence}")
        if self.bootstrap < 0:
            raise ValueError(f"bootstrap must not be negative, got {self.bootstrap}")


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


@dataclass(frozen=True)
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
        cls,
        m: int,
        names: tuple[str, ...],
        value: Means,
        chance: Means,
        interval: Means,
        queries: NDArray[np.int64],
    ) -> "Metric":
        """The m-th metric of tables of means; names and queries are those of the L values."""
        asked = dict(zip(names, (int(n) for n in queries), strict=True))

        def estimate(table: Means, end: int | None = None) -> Estimate:
            def pick(numbers: NDArray[np.float64]) -> float:
                return float(numbers if end is None else numbers[end])

            per_label = {
                name: pick(table.per_label[m, i]) for i, name in enumerate(names) if asked[name]
            }
            return Estimate(pick(table.micro[m]), pick(table.macro[m]), per_label)

        return cls(
            value=estimate(value),
            chance=estimate(chance),
            low=estimate(interval, 0),
            high=estimate(interval, 1),
            queries={name: count for name, count in asked.items() if count},
        )

    def interval(self, label: str | None = None) -> Interval:
        """Interval of one label value, or of the micro mean."""
        if label is None:
            return self.low.micro, self.high.micro
        return self.low.per_label[label], self.high.per_label[label]

    def to_json(self, key: str) -> dict[str, object]:
        """Plain types; key is the name of the entry that is by label value."""
        ends = {name: _ends(*self.interval(name)) for name in self.queries}
        return {
            **_estimate_json(self.value, key),
            "chance": _estimate_json(self.chance, key),
            "interval": {
                "micro": _ends(*self.interval()),
                "macro": _ends(self.low.macro, self.high.macro),
                key: ends,
            },
            "queries": dict(self.queries),
        }


@dataclass(frozen=True)
class Evaluation:
    """The metrics of a set of queries against a gallery, and what was left out.

    Attributes:
        label: what made an image relevant, such as "grade".
        queries: labelled queries, all asked.
        gallery: labelled gallery images.
        unlabelled_queries, unlabelled_gallery: images left out for want of a label.
        excluded_pairs: gallery images of a query's own subject, summed over queries.
        queries_with_exclusions: queries with at least one such image.
        queries_without_relevant: queries whose remaining gallery holds no relevant image.
        settings: how it was done.
        metrics: by name: mHR@K, mAP@K for each K, and mAP@R.
    """

    label: str
    queries: int
    gallery: int
    unlabelled_queries: int
    unlabelled_gallery: int
    excluded_pairs: int
    queries_with_exclusions: int
    queries_without_relevant: int
    settings: Settings
    metrics: Mapping[str, Metric]

    def to_json(self) -> dict[str, object]:
        """Plain types for json.dumps; what is unknown is None."""
        key = "per_grade" if self.label == "grade" else "per_label"
        return {
            "label": self.label,
            "queries": self.queries,
            "gallery": self.gallery,
            "unlabelled_queries": self.unlabelled_queries,
            "unlabelled_gallery": self.unlabelled_gallery,
            "excluded_same_subject": {
                "pairs": self.excluded_pairs,
                "queries": self.queries_with_exclusions,
            },
            "queries_without_relevant": self.queries_without_relevant,
            "settings": {**asdict(self.settings), "ks": list(self.settings.ks)},
            "metrics": {name: metric.to_json(key) for name, metric in self.metrics.items()},
        }

    def to_text(self) -> str:
        """Two tables for a terminal: means with interval and chance, then by label value."""
        parts = [self.summary(), _aligned(self.mean_rows()), self._caption()]
        return "\n\n".join([*parts, _aligned(self.label_rows())])

    def to_markdown(self) -> str:
        """The same two tables in Markdown."""
        parts = [self.summary(), _piped(self.mean_rows()), self._caption()]
        return "\n\n".join([*parts, _piped(self.label_rows())])

    def summary(self) -> str:
        """One paragraph: what was asked, what was ranked, what was left out."""
        out = [f"{self.queries:,} queries against {self.gallery:,} images by {self.label}"]
        if self.settings.leave_one_out:
            out[0] += ", each against all others"
        if self.settings.exclude_same_subject:
            out.append(f"{self.excluded_pairs:,} same-subject pairs excluded")
        else:
            out.append("same-subject images were NOT excluded")
        for count, words in (
            (self.unlabelled_queries, "unlabelled queries not asked"),
            (
                0 if self.settings.leave_one_out else self.unlabelled_gallery,
                "unlabelled gallery images left out",
            ),
            (self.queries_without_relevant, "queries have no relevant image"),
        ):
            if count:
                out.append(f"{count:,} {words}")
        return "; ".join(out) + "."

    def mean_rows(self) -> list[list[str]]:
        """Header and rows: metric, micro and macro with interval and chance."""
        level = f"{100 * self.settings.confidence:g} % interval"
        rows = [["metric", "micro", level, "chance", "macro", level, "chance"]]
        for name, m in self.metrics.items():
            micro = [_number(m.value.micro), _range(m.interval()), _number(m.chance.micro)]
            ends = (m.low.macro, m.high.macro)
            rows.append(
                [name, *micro, _number(m.value.macro), _range(ends), _number(m.chance.macro)]
            )
        return rows

    def label_rows(self) -> list[list[str]]:
        """Header and rows: for each label value its queries and each metric (chance)."""
        counts = next(iter(self.metrics.values())).queries
        rows = [[self.label, *counts], ["queries", *(f"{count:,}" for count in counts.values())]]
        for metric, m in self.metrics.items():
            cells = (
                f"{_number(m.value.per_label.get(name))} ({_number(m.chance.per_label.get(name))})"
                for name in counts
            )
            rows.append([metric, *cells])
        return rows

    def _caption(self) -> str:
        return f"By {self.label}, chance in brackets:"


def _estimate_json(estimate: Estimate, key: str) -> dict[str, object]:
    per_label = {name: _known(value) for name, value in estimate.per_label.items()}
    return {"micro": _known(estimate.micro), "macro": _known(estimate.macro), key: per_label}


def _ends(low: float, high: float) -> list[float] | None:
    return None if math.isnan(low) else [low, high]


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _number(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def _range(ends: Interval) -> str:
    return "-" if math.isnan(ends[0]) else f"{ends[0]:.3f} to {ends[1]:.3f}"


def _aligned(rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def _piped(rows: list[list[str]]) -> str:
    cells = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    rule = ["---"] + ["---:"] * (len(rows[0]) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [cells[0], rule, *cells[1:]])

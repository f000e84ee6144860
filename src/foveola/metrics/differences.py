"""Whether one encoder ranks better than another: the same queries asked of both.

Two intervals that overlap say little, as both encoders meet the same easy and hard queries. The
difference is taken query by query and its mean resampled over subjects, which asks what is
wanted: would other people have shown the same difference?
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from foveola.metrics.estimates import Metric, named, summarise
from foveola.metrics.folds import paired
from foveola.metrics.result import Evaluation
from foveola.metrics.tables import Rows, aligned, metrics_frame, number, piped, ranged
from foveola.notebook import html_lines, html_table

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Difference:
    """What the second of two evaluations reaches beyond the first.

    Attributes:
        label: what made an image relevant.
        queries: asked of both.
        confidence: of the intervals.
        metrics: by name; values and intervals are differences, and so is chance, which is 0
            unless the galleries differ.
    """

    label: str
    queries: int
    confidence: float
    metrics: Mapping[str, Metric]

    def to_dict(self) -> dict[str, object]:
        """Plain types for json.dumps; what is unknown is None."""
        key = "per_grade" if self.label == "grade" else "per_label"
        return {
            "label": self.label,
            "queries": self.queries,
            "confidence": self.confidence,
            "metrics": {name: metric.to_dict(key) for name, metric in self.metrics.items()},
        }

    def __getitem__(self, metric: str) -> Metric:
        """Return the difference in one metric, such as "mAP@10"."""
        return named(self.metrics, metric)

    def to_frame(self) -> "pd.DataFrame":
        """Return a DataFrame: a row for each metric, with both means and their intervals.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        frame = metrics_frame({name: of.to_row() for name, of in self.metrics.items()})
        return frame.drop(columns=["macro_chance", "micro_chance"])

    def __repr__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        return html_lines([self._summary()]) + html_table(self.rows())

    def to_text(self) -> str:
        """A table for a terminal."""
        return f"{self._summary()}\n\n{aligned(self.rows())}"

    def to_markdown(self) -> str:
        """The same table in Markdown."""
        return f"{self._summary()}\n\n{piped(self.rows())}"

    def rows(self) -> Rows:
        """Header and rows: metric, differences of micro and macro means with intervals."""
        level = f"{100 * self.confidence:g} % interval"
        rows = [["second - first", "micro", level, "macro", level]]
        for name, m in self.metrics.items():
            micro, macro = m.interval(), (m.low.macro, m.high.macro)
            rows.append(
                [
                    name,
                    number(m.value.micro, sign=True),
                    ranged(micro, sign=True),
                    number(m.value.macro, sign=True),
                    ranged(macro, sign=True),
                ]
            )
        return rows

    def _summary(self) -> str:
        return (
            f"{self.queries:,} queries by {self.label}, asked of both; where an interval leaves 0 "
            "out, other people would have shown the same sign."
        )


def compare(first: Evaluation, second: Evaluation) -> Difference:
    """Compare two evaluations of the same queries: the second's metrics less the first's.

    Intervals are of a paired bootstrap of subjects. A query for which a metric is undefined in
    either is left out of that metric.

    Raises:
        ValueError: they were done in other ways, or asked other queries.
    """
    if (first.settings, first.label) != (second.settings, second.label):
        raise ValueError("the evaluations have other settings or labels; evaluate both alike")
    table = paired(first.per_query, second.per_query)
    return Difference(first.label, first.queries, first.settings.confidence, summarise(table, first.settings))

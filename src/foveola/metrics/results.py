"""What an evaluation found, and how two of them differ: as a value, as JSON, as Markdown and as text.

Two intervals that overlap say little, as both encoders meet the same easy and hard queries. So a
difference is taken query by query and its mean resampled over subjects, which asks what is wanted:
would other people have shown the same difference?
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

from foveola.metrics.estimates import Metric, QueryMetrics, named, paired, summarise
from foveola.metrics.inputs import Settings
from foveola.notebook import Rows, aligned, html_lines, html_table, number, piped, ranged, to_frame

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Kind = Literal["precision", "retrieved", "subjects"]


@dataclass(frozen=True, repr=False)
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
        metrics: by name: mHR@K, hit@K, mAP@K, mAP@K per hit and nDCG@K for each K; mAP,
            mAP@R, R-precision, MRR.
        subgroups: the same for the queries of each value of each column asked for.
        retrieved: for queries of a label value, the mean share of the first `retrieved_at` that
            carries each label value.
        retrieved_at: K of those shares.
        per_query: what the means are of.
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
    subgroups: Mapping[str, Mapping[str, Mapping[str, Metric]]]
    retrieved: Mapping[str, Mapping[str, float]]
    retrieved_at: int
    per_query: QueryMetrics = field(compare=False, repr=False)

    def to_dict(self) -> dict[str, object]:
        """Return plain types for json.dumps; what is unknown is None."""
        key = "per_grade" if self.label == "grade" else "per_label"
        return {
            "label": self.label,
            "queries": self.queries,
            "gallery": self.gallery,
            "unlabelled_queries": self.unlabelled_queries,
            "unlabelled_gallery": self.unlabelled_gallery,
            "excluded_same_subject": {"pairs": self.excluded_pairs, "queries": self.queries_with_exclusions},
            "queries_without_relevant": self.queries_without_relevant,
            "settings": {**asdict(self.settings), "ks": list(self.settings.ks)},
            "metrics": {name: metric.to_dict(key) for name, metric in self.metrics.items()},
            "subgroups": {
                column: {
                    value: {name: metric.to_dict(key) for name, metric in found.items()}
                    for value, found in groups.items()
                }
                for column, groups in self.subgroups.items()
            },
            "retrieved": {"at": self.retrieved_at, "shares": self.retrieved},
        }

    def __getitem__(self, metric: str) -> Metric:
        """Return one metric, such as "mAP@10": its means, intervals and chance."""
        return named(self.metrics, metric)

    def to_frame(self) -> "pd.DataFrame":
        """Return a DataFrame: a row for each metric, with both means, intervals and chance.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        return _frame({name: of.to_row() for name, of in self.metrics.items()})

    def plot(self, kind: Kind = "precision", *, note: str = "") -> "Figure":
        """Draw a figure, as in `foveola.metrics.plots`, which draws several results together.

        Args:
            kind: "precision" at each K, what was "retrieved", or the spread over "subjects".
            note: a line under the title.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        from foveola.metrics import plots

        if kind not in get_args(Kind):
            raise ValueError(f"kind is {kind!r}; expected one of {', '.join(get_args(Kind))}")
        figure: Figure = getattr(plots, f"plot_{kind}")({self.label: self}, note=note)
        return figure

    def __repr__(self) -> str:
        return f"{self.summary()}\n\n{aligned(self.mean_rows())}"

    def _repr_html_(self) -> str:
        means, by_label = html_table(self.mean_rows()), html_table(self.label_rows())
        heading = html_lines([f"By {self.label}, chance in brackets:"])
        return html_lines([self.summary()]) + means + heading + by_label

    def to_text(self) -> str:
        """Return tables for a terminal: means with interval and chance, by label value, by subgroup."""
        return "\n\n".join(self._parts(aligned))

    def to_markdown(self) -> str:
        """Return the same tables in Markdown."""
        return "\n\n".join(self._parts(piped))

    def _parts(self, table: Callable[[Rows], str]) -> list[str]:
        parts = [self.summary(), table(self.mean_rows()), f"By {self.label}, chance in brackets:"]
        parts += [table(self.label_rows()), f"Share of the first {self.retrieved_at} by {self.label}:"]
        parts.append(table(self.retrieved_rows()))
        for column in self.subgroups:
            parts += [f"{self.headline()} of the queries by {column}:", table(self.subgroup_rows(column))]
        return parts

    def headline(self) -> str:
        """Return "mAP@10", or the deepest mAP@K if 10 is not among the K."""
        return "mAP@10" if 10 in self.settings.ks else f"mAP@{max(self.settings.ks)}"

    def summary(self) -> str:
        """Say in one paragraph what was asked, what was ranked and what was left out."""
        out = [f"{self.queries:,} queries against {self.gallery:,} images by {self.label}"]
        if self.settings.leave_one_out:
            out[0] += ", each against all others"
        if self.settings.exclude != "none":
            out.append(f"{self.excluded_pairs:,} same-{self.settings.exclude} pairs excluded")
        if self.settings.exclude != "subject":
            of = "" if self.settings.exclude == "none" else "other "
            out.append(f"{of}images of the same subject were NOT excluded")
        for count, words in (
            (self.unlabelled_queries, "unlabelled queries not asked"),
            (0 if self.settings.leave_one_out else self.unlabelled_gallery, "unlabelled gallery images left out"),
            (self.queries_without_relevant, "queries have no relevant image"),
        ):
            if count:
                out.append(f"{count:,} {words}")
        return "; ".join(out) + "."

    def mean_rows(self) -> Rows:
        """Return header and rows: metric, micro and macro with interval and chance."""
        level = f"{100 * self.settings.confidence:g} % interval"
        rows = [["metric", "micro", level, "chance", "macro", level, "chance"]]
        rows += [[name, *_means(m)] for name, m in self.metrics.items()]
        return rows

    def label_rows(self) -> Rows:
        """Return header and rows: for each label value its queries and each metric (chance)."""
        counts = next(iter(self.metrics.values())).queries
        rows = [[self.label, *counts], ["queries", *(f"{count:,}" for count in counts.values())]]
        for metric, m in self.metrics.items():
            cells = (
                f"{number(m.value.per_label.get(name))} ({number(m.chance.per_label.get(name))})" for name in counts
            )
            rows.append([metric, *cells])
        return rows

    def retrieved_rows(self) -> Rows:
        """Return header and rows: for queries of each label value, what stands in their first ranks."""
        names = sorted({name for row in self.retrieved.values() for name in row})
        rows = [["query \\ found", *names]]
        for label, shares in self.retrieved.items():
            rows.append([label, *(number(shares.get(name)) for name in names)])
        return rows

    def subgroup_rows(self, column: str) -> Rows:
        """Return header and rows: for each value of a column its queries and the headline metric."""
        level = f"{100 * self.settings.confidence:g} % interval"
        rows = [[column, "queries", "micro", level, "chance", "macro", level, "chance"]]
        for value, found in self.subgroups[column].items():
            m = found[self.headline()]
            rows.append([value, f"{m.total:,}", *_means(m)])
        return rows


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
        """Return plain types for json.dumps; what is unknown is None."""
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
        frame = _frame({name: of.to_row() for name, of in self.metrics.items()})
        return frame.drop(columns=["macro_chance", "micro_chance"])

    def __repr__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        return html_lines([self._summary()]) + html_table(self.rows())

    def to_text(self) -> str:
        """Return a table for a terminal."""
        return f"{self._summary()}\n\n{aligned(self.rows())}"

    def to_markdown(self) -> str:
        """Return the same table in Markdown."""
        return f"{self._summary()}\n\n{piped(self.rows())}"

    def rows(self) -> Rows:
        """Return header and rows: metric, differences of micro and macro means with intervals."""
        level = f"{100 * self.confidence:g} % interval"
        rows = [["second - first", "micro", level, "macro", level]]
        for name, m in self.metrics.items():
            micro = [number(m.micro, sign=True), ranged(m.micro_interval, sign=True)]
            rows.append([name, *micro, number(m.macro, sign=True), ranged(m.macro_interval, sign=True)])
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


def _means(m: Metric) -> list[str]:
    """Cells of both means, each with interval and chance."""
    micro = [number(m.micro), ranged(m.micro_interval), number(m.chance.micro)]
    return [*micro, number(m.macro), ranged(m.macro_interval), number(m.chance.macro)]


def _frame(rows: Mapping[str, Mapping[str, float]]) -> "pd.DataFrame":
    named = [{"metric": name, **row} for name, row in rows.items()]
    return to_frame(named, list(named[0]), "metric")

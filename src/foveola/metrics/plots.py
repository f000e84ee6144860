"""Figures of one evaluation, or of several beside each other. They need matplotlib.

    figure = plot_precision({"ours": first, "theirs": second})
    figure.savefig("precision.png")

Evaluations come by the name they have in the figure. What is shown together should have been
evaluated alike: the same label, K and queries.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveola.metrics.drawing import CHOICE, GREY, MARKERS, counted, finish, one_legend, panels, save
from foveola.metrics.maps import Method, plot_map
from foveola.metrics.metrics import Floats
from foveola.metrics.result import Evaluation
from foveola.metrics.settings import metric_names
from foveola.metrics.sides import RetrievalData

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Evaluations = Mapping[str, Evaluation]

_MOST_PANELS = 9
_BINS = 20
_NUMBERS = 16  # label values up to which shares are written into their cells


def plot_precision(evaluations: Evaluations, *, note: str = "") -> "Figure":
    """Precision at K (mHR@K) against K: macro, then for each label value.

    Bands are the intervals over subjects, dashed lines what chance reaches. Of more than eight
    label values the eight with most queries are shown.

    Args:
        evaluations: by name, at most eight.
        note: a line under the title.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ValueError: no evaluation, more than eight, or of different labels.
    """
    first = _first(evaluations)
    queries = first.metrics[f"mHR@{first.settings.ks[0]}"].queries
    shown = sorted(sorted(queries, key=lambda name: -queries[name])[: _MOST_PANELS - 1])
    places: list[str | None] = [None, *shown]
    columns = min(3, len(places))
    rows = math.ceil(len(places) / columns)
    figure, axes = panels(rows, columns, 1.2 + 2.5 * rows, sharex=True, sharey=True)
    for i, (label, one) in enumerate(zip(places, axes, strict=False)):
        _precision(one, evaluations, label)
        one.set_title(_group_title(first, label), fontsize=10)
        if i + columns >= len(places):
            one.set_xlabel("K, images shown for a query")
            one.tick_params(labelbottom=True)
    for empty in axes[len(places) :]:
        empty.set_visible(False)
    _ranks(axes[0], first.settings.ks)
    figure.supylabel("precision: share of them that is relevant", fontsize=10)
    one_legend(figure, axes[0])
    level = f"bands: {100 * first.settings.confidence:g} % interval over subjects"
    of_all = "" if len(shown) == len(queries) else f"; {len(shown)} of {len(queries)} values"
    return finish(figure, f"Precision at K (mHR@K) by {first.label}{of_all}; {level}", note)


def plot_retrieved(evaluations: Evaluations, *, note: str = "") -> "Figure":
    """What is found: of the first ranks, the mean share that carries each label value.

    A row for the queries of each label value. Arguments and errors as for `plot_precision`.
    """
    first = _first(evaluations)
    L = len(first.retrieved)
    figure, axes = panels(1, len(evaluations), 1.6 + max(2.4, 0.55 * L), sharey=True)
    for (name, evaluation), one in zip(evaluations.items(), axes, strict=True):
        asked = list(evaluation.retrieved)
        found = list(next(iter(evaluation.retrieved.values())))
        shares = np.array([list(row.values()) for row in evaluation.retrieved.values()])
        _shares(one, shares)
        one.set_xticks(range(len(found)), found)
        one.set_yticks(range(len(asked)), [_asked(evaluation, value) for value in asked])
        one.set_title(f"{name}: {counted(evaluation.queries, 'query', 'queries')}", fontsize=10)
        several = ", an image may have several" if (shares.sum(axis=1) > 1 + 1e-9).any() else ""
        one.set_xlabel(f"{first.label} found{several}")
    axes[0].set_ylabel(f"{first.label} of the query", labelpad=10)
    return finish(figure, f"Mean share of the first {first.retrieved_at} found, by {first.label}", note)


def plot_subjects(evaluations: Evaluations, metric: str | None = None, *, note: str = "") -> "Figure":
    """How a metric is spread over people: histogram of the means over each one's queries.

    Args:
        evaluations: by name.
        metric: one of `Evaluation.metrics`; None is mAP@10, or the deepest K there is.
        note: a line under the title.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ValueError: no evaluation, of different labels, or no such metric.
    """
    first = _first(evaluations)
    metric = metric or first.headline()
    count = len(evaluations)
    figure, axes = panels(count, 1, 1.4 + 2.4 * count, sharex=True, sharey=True)
    for i, ((name, evaluation), one) in enumerate(zip(evaluations.items(), axes, strict=True)):
        values, chance = subject_means(evaluation, metric)
        one.hist(values, bins=_BINS, range=(0, 1), color=CHOICE[i], alpha=0.75, edgecolor="white")
        if len(values):
            median = float(np.median(values))
            one.axvline(median, color="black", label=f"median {median:.2f}")
            one.axvline(chance.mean(), color=GREY, ls="--", label=f"chance {chance.mean():.2f}")
            one.legend(frameon=False)
        one.set_title(f"{name}: {counted(len(values), 'subject')}", fontsize=10)
        one.set_ylabel("subjects")
        one.set_xlim(0, 1)
    axes[-1].set_xlabel(f"mean {metric} over the queries of a subject")
    return finish(figure, f"{metric} by {first.label}, subject by subject", note)


def subject_means(evaluation: Evaluation, metric: str) -> tuple[Floats, Floats]:
    """Mean of a metric over each subject's queries, and of its chance level; float64 (S,) each.

    Queries and subjects for whom it is not defined are left out.

    Raises:
        ValueError: no such metric.
    """
    names = metric_names(evaluation.settings.ks)
    if metric not in names:
        raise ValueError(f"no metric {metric!r}; expected one of {', '.join(names)}")
    table, m = evaluation.per_query, names.index(metric)
    known = ~np.isnan(table.values[:, m])
    people, of = np.unique(table.subjects[known], return_inverse=True)
    counts = np.bincount(of, minlength=len(people))
    value, chance = (
        np.bincount(of, weights=numbers[known, m], minlength=len(people)) / counts
        for numbers in (table.values, table.chance)
    )
    return value, chance


def write_plots(
    folder: Path, evaluations: Evaluations, side: RetrievalData, *, method: Method = "pca", note: str = ""
) -> list[Path]:
    """Write precision.png, retrieved.png, subjects.png and map.png.

    Args:
        folder: made if it is not there; files of these names are replaced.
        evaluations: by name.
        side: the images of the map, see `plot_map`.
        method: of the map.
        note: a line under every title.

    Returns:
        The files.

    Raises:
        MissingExtraError: matplotlib, or scikit-learn for t-SNE, is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        "precision": plot_precision(evaluations, note=note),
        "retrieved": plot_retrieved(evaluations, note=note),
        "subjects": plot_subjects(evaluations, note=note),
        "map": plot_map(side, method=method, note=note),
    }
    return [save(figure, folder / f"{name}.png") for name, figure in figures.items()]


def _first(evaluations: Evaluations) -> Evaluation:
    """The one that titles are taken from, when all can be drawn together."""
    if not 1 <= len(evaluations) <= len(CHOICE):
        raise ValueError(f"expected 1 to {len(CHOICE)} evaluations, got {len(evaluations)}")
    labels = {evaluation.label for evaluation in evaluations.values()}
    if len(labels) > 1:
        raise ValueError(f"the evaluations are by {' and by '.join(sorted(labels))}")
    return next(iter(evaluations.values()))


def _precision(axes: "Axes", evaluations: Evaluations, label: str | None) -> None:
    """Curves, bands and chance for one label value, or for the macro mean."""
    axes.grid(axis="y", color="#e3e3e3")
    chances = []
    for (name, evaluation), colour, marker in zip(evaluations.items(), CHOICE, MARKERS, strict=False):
        ks = evaluation.settings.ks
        value, chance, low, high = _curves(evaluation, label)
        axes.fill_between(ks, low, high, color=colour, alpha=0.2, linewidth=0)
        if len(ks) == 1:  # where a band has no width
            axes.vlines(ks, low, high, color=colour, alpha=0.4, linewidth=3)
        axes.plot(ks, value, color=colour, marker=marker, markersize=5, label=name)
        chances.append((ks, chance, colour, f"{name}, chance"))
    if all(one[:2] == chances[0][:2] for one in chances):  # of one gallery it is the same
        chances = [(*chances[0][:2], GREY, "chance")]
    for ks, chance, colour, name in chances:
        mark: dict[str, Any] = {"marker": "_", "markersize": 24} if len(ks) == 1 else {}
        axes.plot(ks, chance, color=colour, ls="--", lw=1.2, label=name, **mark)


def _curves(evaluation: Evaluation, label: str | None) -> list[list[float]]:
    """Value, chance, low and high end, each at every K."""
    found = [evaluation.metrics[f"mHR@{k}"] for k in evaluation.settings.ks]
    return [
        [e.macro if label is None else e.per_label.get(label, math.nan) for e in estimates]
        for estimates in zip(*((m.value, m.chance, m.low, m.high) for m in found), strict=True)
    ]


def _group_title(evaluation: Evaluation, label: str | None) -> str:
    table = evaluation.per_query
    if label is None:
        name, rows = f"macro: mean of the means by {evaluation.label}", table.members.any(axis=1)
    else:
        name = f"{evaluation.label} {label}"
        rows = table.members[:, table.names.index(label)]
    people = counted(len(np.unique(table.subjects[rows])), "subject")
    return f"{name}\n{counted(int(rows.sum()), 'query', 'queries')} of {people}"


def _ranks(axes: "Axes", ks: tuple[int, ...]) -> None:
    axes.set_xscale("log")
    axes.set_xticks(ks, [str(k) for k in ks], minor=False)
    axes.set_xticks([], minor=True)
    axes.set_xlim(ks[0] / 1.2, ks[-1] * 1.2)
    axes.set_ylim(0, 1)


def _asked(evaluation: Evaluation, label: str) -> str:
    table = evaluation.per_query
    return f"{label}  (n = {int(table.members[:, table.names.index(label)].sum()):,})"


def _shares(axes: "Axes", shares: Floats) -> None:
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    if shares.shape[1] > _NUMBERS:
        return
    for (i, j), share in np.ndenumerate(shares):
        colour = "white" if share > 0.55 else "black"
        axes.text(j, i, f"{share:.2f}", ha="center", va="center", color=colour, fontsize=10)

"""Figures of one evaluation, or of several beside each other, and a map of descriptors.

    figure = plot_precision({"ours": first, "theirs": second})
    figure.savefig("precision.png")

Evaluations come by the name they have in the figure. What is shown together should have been
evaluated alike: the same label, K and queries. A map shows two dimensions of many, which is a poor
likeness: images that lie apart on the map are apart, images that lie together need not be. All need
matplotlib.

Letters: N images, D width of a descriptor.
"""

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foveola.errors import FoveolaError, MissingExtraError
from foveola.metrics.drawing import (
    CHOICE,
    GREY,
    MARKERS,
    PALE,
    counted,
    finish,
    one_legend,
    ordinal_colours,
    panels,
    save,
)
from foveola.metrics.inputs import RetrievalData, metric_names
from foveola.metrics.metrics import Bools, Floats
from foveola.metrics.ranking import unit_rows
from foveola.metrics.results import Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Method = Literal["pca", "tsne"]
_PERPLEXITY = 30  # scikit-learn's default, less for few images
_FEWEST = 4
_LETTERS, _BESIDE = 62, 11  # of a legend's line, and what number and mark take of it
Evaluations = Mapping[str, Evaluation]
_MOST_PANELS = 9
_BINS = 20
_NUMBERS = 16  # label values up to which shares are written into their cells


class Projection(NamedTuple):
    """Where images lie on the map.

    Attributes:
        places: float64 (N, 2).
        explained: share of the variance that each axis holds; None for t-SNE.
    """

    places: Floats
    explained: tuple[float, float] | None


def project(descriptors: NDArray[np.float32], method: Method = "pca", seed: int = 0) -> Projection:
    """Project descriptors, their lengths divided out, to two dimensions.

    Args:
        descriptors: float32 (N, D).
        method: "pca", principal components by singular values, each turned so that its largest
            weight is positive; "tsne", scikit-learn's t-SNE, minutes for tens of thousands.
        seed: of t-SNE.

    Raises:
        FoveolaError: fewer than 4 images.
        MissingExtraError: t-SNE is asked for and scikit-learn is not installed.
        ValueError: an unknown method.
    """
    if len(descriptors) < _FEWEST:
        raise FoveolaError(f"a map needs at least {_FEWEST} images, got {len(descriptors)}")
    rows = unit_rows(descriptors)
    if method == "pca":
        return _components(rows)
    if method == "tsne":
        return Projection(_tsne(rows, seed), None)
    raise ValueError(f"method is {method!r}; expected 'pca' or 'tsne'")


def check_tsne() -> None:
    """Say so early if scikit-learn is not installed.

    Raises:
        MissingExtraError: it is not.
    """
    try:
        import sklearn.manifold  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "a t-SNE map needs scikit-learn, which is not installed. Run: pip install scikit-learn"
        ) from error


def plot_map(side: RetrievalData, *, method: Method = "pca", seed: int = 0, note: str = "") -> "Figure":
    """Draw the images of a side on a map, by label and, beside it, by each of its columns.

    Grades and other numbers run from light to dark; other values have colours without order, the
    seven commonest of more than eight. Up to eight values have marks of their own too. An image
    with several label values is "several".

    Args:
        side: what to show; with columns ("camera") there is a panel for each.
        method: see `project`.
        seed: of t-SNE and of the order in which images are drawn, so that none lies on top for
            being last.
        note: a line under the title.

    Raises:
        FoveolaError: fewer than 4 images.
        MissingExtraError: matplotlib, or scikit-learn for t-SNE, is not installed.
    """
    shown: dict[str, Sequence[Hashable]] = {side.label: _label_of(side), **side.columns}
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    figure, axes = panels(rows, columns, 1 + rows * (6.4 if columns == 1 else 4.9))
    projection = project(side.descriptors, method, seed)
    order = np.random.default_rng(seed).permutation(len(side.identities))
    for (name, values), one in zip(shown.items(), axes, strict=False):
        _scatter(one, projection.places, values, order)
        one.set_title(f"by {name}", fontsize=10)
        _name_axes(one, projection)
    for empty in axes[len(shown) :]:
        empty.set_visible(False)
    method_name = "principal components" if method == "pca" else "t-SNE"
    images = counted(len(side.identities), "image")
    return finish(figure, f"Descriptors of {images} by {method_name}", note)


def _components(rows: Floats) -> Projection:
    centred = rows - rows.mean(axis=0)
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2]
    axes *= np.sign(axes[np.arange(len(axes)), abs(axes).argmax(axis=1)])[:, None]
    places = np.zeros((len(rows), 2))  # descriptors of one number have one component
    places[:, : len(axes)] = centred @ axes.T
    share = np.zeros(2)
    share[: len(axes)] = singular[:2] ** 2 / max(float((singular**2).sum()), 1e-300)
    return Projection(places, (float(share[0]), float(share[1])))


def _tsne(rows: Floats, seed: int) -> Floats:
    check_tsne()
    from sklearn.manifold import TSNE

    perplexity = min(_PERPLEXITY, (len(rows) - 1) / 3)
    model = TSNE(2, perplexity=perplexity, init="pca", random_state=seed)
    return np.asarray(model.fit_transform(rows), dtype=np.float64)


def _label_of(side: RetrievalData) -> list[str | None]:
    """One word an image: its label value, "several", or None."""
    counts = np.asarray(side.labels).sum(axis=1)
    first = np.asarray(side.labels).argmax(axis=1)
    return [None if not n else "several" if n > 1 else side.label_names[i] for n, i in zip(counts, first, strict=True)]


def _scatter(axes: "Axes", places: Floats, values: Sequence[Hashable], order: NDArray[np.int64]) -> None:
    """Points of all values mixed, so that none hides another; a legend with their numbers."""
    words = ["unknown" if value is None else str(value) for value in values]
    styles = _styles(words)
    kept = np.array([word if word in styles else "other" for word in words])
    size = float(np.clip(30_000 / len(words), 4, 30))
    for start in range(0, len(order), step := -(-len(order) // 20)):  # in 20 layers
        layer = order[start : start + step]
        for word, (colour, marker) in styles.items():
            x, y = places[layer[kept[layer] == word]].T
            axes.scatter(x, y, s=size, color=colour, marker=marker, linewidths=0)
    for word, (colour, marker) in styles.items():
        name = f"{word} ({int((kept == word).sum()):,})"
        axes.scatter([], [], s=36, color=colour, marker=marker, linewidths=0, label=name)
    longest = max(len(word) for word in styles)
    axes.legend(
        frameon=False,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.12),
        ncols=max(1, min(len(styles), _LETTERS // (longest + _BESIDE))),
        handletextpad=0.1,
        columnspacing=1,
    )


def _styles(words: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and mark of each value that gets its own, then of the rest."""
    counts = Counter(words)
    grey = [word for word in ("unknown", "several") if counts.pop(word, 0)]
    if all(word.isdigit() for word in counts):
        names = sorted(counts, key=int)
        marks = MARKERS if len(names) <= len(MARKERS) else "o" * len(names)
        styles = {n: (c, m) for n, c, m in zip(names, ordinal_colours(len(names)), marks, strict=False)}
    else:
        most = len(CHOICE) if len(counts) <= len(CHOICE) else len(CHOICE) - 1
        names = sorted(name for name, _ in counts.most_common(most))
        grey += ["other"] if len(counts) > most else []
        styles = {n: (c, m) for n, c, m in zip(names, CHOICE, MARKERS, strict=False)}
    return dict.fromkeys(grey, (PALE, "o")) | styles


def _name_axes(axes: "Axes", projection: Projection) -> None:
    if projection.explained is None:
        names = ["t-SNE axis 1 (no unit)", "t-SNE axis 2 (no unit)"]
        axes.set_xticks([])
        axes.set_yticks([])
    else:
        axes.set_aspect("equal", adjustable="datalim")
        shares = (f"{100 * share:.0f} % of variance" for share in projection.explained)
        names = [f"component {i} ({share})" for i, share in enumerate(shares, 1)]
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])


def plot_precision(evaluations: Evaluations, *, note: str = "") -> "Figure":
    """Draw precision at K (mHR@K) against K: macro, then for each label value.

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
    """Draw what is found: of the first ranks, the mean share that carries each label value.

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
        one.set_yticks(range(len(asked)), [f"{value}  (n = {_rows_of(evaluation, value).sum():,})" for value in asked])
        one.set_title(f"{name}: {counted(evaluation.queries, 'query', 'queries')}", fontsize=10)
        several = ", an image may have several" if (shares.sum(axis=1) > 1 + 1e-9).any() else ""
        one.set_xlabel(f"{first.label} found{several}")
    axes[0].set_ylabel(f"{first.label} of the query", labelpad=10)
    return finish(figure, f"Mean share of the first {first.retrieved_at} found, by {first.label}", note)


def plot_subjects(evaluations: Evaluations, metric: str | None = None, *, note: str = "") -> "Figure":
    """Draw how a metric is spread over people: a histogram of the means over each one's queries.

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
    """Return the mean of a metric over each subject's queries, and of its chance level; float64 (S,) each.

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
        rows = _rows_of(evaluation, label)
    people = counted(len(np.unique(table.subjects[rows])), "subject")
    return f"{name}\n{counted(int(rows.sum()), 'query', 'queries')} of {people}"


def _ranks(axes: "Axes", ks: tuple[int, ...]) -> None:
    axes.set_xscale("log")
    axes.set_xticks(ks, [str(k) for k in ks], minor=False)
    axes.set_xticks([], minor=True)
    axes.set_xlim(ks[0] / 1.2, ks[-1] * 1.2)
    axes.set_ylim(0, 1)


def _rows_of(evaluation: Evaluation, label: str) -> Bools:
    table = evaluation.per_query
    return table.members[:, table.names.index(label)]


def _shares(axes: "Axes", shares: Floats) -> None:
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    if shares.shape[1] > _NUMBERS:
        return
    for (i, j), share in np.ndenumerate(shares):
        colour = "white" if share > 0.55 else "black"
        axes.text(j, i, f"{share:.2f}", ha="center", va="center", color=colour, fontsize=10)

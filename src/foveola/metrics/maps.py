"""A map of an archive: its descriptors in two dimensions, coloured by what is known of them.

Two dimensions of many are a poor likeness: images that lie apart on the map are apart, images that
lie together need not be. Letters: N images, D width of a descriptor.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foveola.errors import FoveolaError, MissingExtraError
from foveola.metrics.drawing import CHOICE, MARKERS, PALE, counted, finish, ordinal_colours, panels
from foveola.metrics.metrics import Floats
from foveola.metrics.ranking import unit_rows
from foveola.metrics.sides import RetrievalData

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Method = Literal["pca", "tsne"]

_PERPLEXITY = 30  # scikit-learn's default, less for few images
_FEWEST = 4
_LETTERS, _BESIDE = 62, 11  # of a legend's line, and what number and mark take of it


class Projection(NamedTuple):
    """Where images lie on the map.

    Attributes:
        places: float64 (N, 2).
        explained: share of the variance that each axis holds; None for t-SNE.
    """

    places: Floats
    explained: tuple[float, float] | None


def project(descriptors: NDArray[np.float32], method: Method = "pca", seed: int = 0) -> Projection:
    """Two dimensions for descriptors, their lengths divided out.

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
    """The images of a side on a map, by label and, beside it, by each of its columns.

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

"""What all figures share: matplotlib where it is installed, colours, sizes, files; and reliability.

Colours stay apart for colour-blind readers: those without order are of Okabe and Ito (2008), those
with an order run through viridis from light to dark. Figures are 1000 pixels wide.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from foveola.errors import MissingExtraError
from foveola.metrics.probabilities import calibration_error, reliability
from foveola.resources import told_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CHOICE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F")
MARKERS = "os^Dv*XP"
GREY, PALE = "#8c8c8c", "#c4c4c4"
_LIGHTEST, _DARKEST = 0.92, 0.0  # of viridis; its last tenth is too pale on white
_WIDTH, _DPI = 10.0, 100  # inches, pixels an inch
_LAYOUT: dict[str, Any] = {"w_pad": 0.1, "h_pad": 0.08, "wspace": 0.03, "hspace": 0.04}


def check_matplotlib() -> None:
    """Say so before an hour of work is done if nothing can be drawn.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import_module("matplotlib")
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "figures need matplotlib, which is not installed. Run: pip install 'foveola[train]'"
        ) from error


def panels(
    rows: int, columns: int, height: float, *, sharex: bool = False, sharey: bool = False
) -> tuple["Figure", list["Axes"]]:
    """Make a figure 10 inches wide with a grid of axes, row by row; height in inches."""
    check_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), dpi=_DPI, layout="constrained")
    figure.get_layout_engine().set(**_LAYOUT)  # type: ignore[union-attr]  # it was just chosen
    grid: Any = figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)
    axes: list[Axes] = list(grid.ravel())
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.set_axisbelow(True)
    return figure, axes


def ordinal_colours(count: int) -> list[str]:
    """Return colours from light to dark for values with an order, such as grades."""
    check_matplotlib()
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    steps = [i / max(count - 1, 1) for i in range(count)]
    return [to_hex(colormaps["viridis"](_LIGHTEST + (_DARKEST - _LIGHTEST) * s)) for s in steps]


def one_legend(figure: "Figure", axes: "Axes") -> None:
    """Put the legend of one of the axes below the whole figure."""
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False)


def finish(figure: "Figure", title: str, note: str = "") -> "Figure":
    """Title, and a note of what a reader must not overlook, such as that it is phantoms."""
    figure.suptitle(f"{title}\n{note}" if note else title, fontsize=12)
    return figure


def save(figure: "Figure", path: Path) -> Path:
    """Write a PNG without the time of writing, so that equal figures are equal files."""
    with told_of(path):
        figure.savefig(path, metadata={"Software": None})
    return path


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return number and word, as in "1,031 queries"; many is one with an s unless given."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def save_reliability(truth: ArrayLike, said: Mapping[str, ArrayLike], path: Path, *, note: str = "") -> Path:
    """Draw probabilities of one truth, such as before and after temperature scaling, and save it.

    Left all from 0 to 1 and right, on its own scale, how many answers each point stands for.

    Args:
        truth: bool (N, L).
        said: (N, L) probabilities, by the name in the figure.
        path: of the PNG.
        note: a line under the title.

    Returns:
        path.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    known = np.asarray(truth, bool).ravel()
    figure, (points, counts) = panels(1, 2, 4.4)
    points.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--")
    for (name, given), colour, marker in zip(said.items(), CHOICE, MARKERS, strict=False):
        scores = np.asarray(given, np.float64).ravel()
        bins = reliability(scores, known)
        error = float(calibration_error(scores, known, np.ones((1, len(known))))[0])
        x = [each.said for each in bins]
        points.plot(x, [each.true for each in bins], color=colour, marker=marker, label=name + f", ECE {error:.3f}")
        counts.plot(x, [each.answers for each in bins], color=colour, marker=marker)
    points.set(
        xlabel="mean probability said", ylabel="share that is true", xlim=(0, 1), ylim=(0, 1), title="Reliability"
    )
    one_legend(figure, points)
    counts.set(xlabel="mean probability said", ylabel="answers", yscale="log", title="How many")
    return save(finish(figure, "How far probabilities are frequencies", note), path)

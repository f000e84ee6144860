"""The reliability plot: how often what was said with a probability is true. It needs matplotlib."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from foveola.metrics.binary import calibration_error, reliability
from foveola.metrics.drawing import CHOICE, GREY, MARKERS, finish, one_legend, panels, save


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

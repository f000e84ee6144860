"""One number that makes a model's confidence honest: every logit divided by a temperature.

Source: Guo et al., ICML 2017. The order of what it ranks stays as it is; only how sure it sounds
changes. To be fitted on people that the model was not trained on.
"""

import numpy as np
from numpy.typing import ArrayLike

from foveola.metrics.metrics import Floats

COLDEST, HOTTEST = 0.05, 20.0
_HALVINGS = 60


def fit_temperature(truth: ArrayLike, logits: ArrayLike, *, softmax: bool = False) -> float:
    """The temperature with the least log loss, in [COLDEST, HOTTEST]; 1 where nothing is known.

    The loss is convex in the inverse of the temperature, so halving finds where its slope is 0.

    Args:
        truth: (N, L), 0 or 1 and NaN where it is not known.
        logits: (N, L).
        softmax: of one softmax a row, with the truth spread evenly over a row's labels; else each
            label by itself.

    Raises:
        ValueError: shapes differ, or a logit is no number.
    """
    known, z = np.asarray(truth, np.float64), np.asarray(logits, np.float64)
    if known.shape != z.shape or z.ndim != 2:
        raise ValueError(f"expected truth and logits (N, L), got {known.shape} and {z.shape}")
    if not np.isfinite(z).all():
        raise ValueError("a logit is not a finite number")
    if softmax:
        rows = np.nan_to_num(known).sum(axis=1) > 0
        known, z = np.nan_to_num(known)[rows], z[rows]
        known = known / known.sum(axis=1, keepdims=True)
    else:
        told = ~np.isnan(known)
        known, z = known[told][None], z[told][None]
    if not z.size:
        return 1.0
    low, high = 1 / HOTTEST, 1 / COLDEST
    for _ in range(_HALVINGS):
        middle = float(np.sqrt(low * high))
        if _slope(known, z, middle, softmax) > 0:
            high = middle
        else:
            low = middle
    return 1 / high


def _slope(truth: Floats, z: Floats, scale: float, softmax: bool) -> float:
    """Of the log loss, by the inverse temperature."""
    scaled = z * scale
    if softmax:
        p = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        p = p / p.sum(axis=1, keepdims=True)
    else:
        p = 1 / (1 + np.exp(-np.clip(scaled, -500, 500)))
    return float((z * (p - truth)).sum())

"""Answers that come as probabilities: figures of each, for many weightings at once, and temperature.

Every figure takes scores or answers (N,), the truth (N,) and weights (B, N), how often each example
counts, and gives (B,): one number for each weighting. With weights from a bootstrap that is an
interval for the price of a few matrix operations. Definitions are scikit-learn's, and tests hold
them to it.

Temperature scaling divides every logit by one number, so that a model's confidence is honest (Guo
et al., ICML 2017). The order of what it ranks stays as it is. It is to be fitted on people that the
model was not trained on.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from foveola.metrics.metrics import Bools, Floats

COLDEST, HOTTEST = 0.05, 20.0
_HALVINGS = 60


def auc(scores: Floats, truth: Bools, weights: Floats) -> Floats:
    """Compute the area under the ROC; ties count half. NaN without an example of a kind."""
    hits, alarms = _cumulated(scores, truth, weights)
    total = hits[:, -1] * alarms[:, -1]
    steps = np.diff(alarms, prepend=0.0)
    below = hits - np.diff(hits, prepend=0.0) / 2  # half of what ties
    return _ratio((steps * below).sum(axis=1), total)


def average_precision(scores: Floats, truth: Bools, weights: Floats) -> Floats:
    """Sum precision over the steps of recall, not interpolated. NaN without a positive one."""
    hits, alarms = _cumulated(scores, truth, weights)
    asked = hits + alarms
    precision = np.divide(hits, asked, out=np.zeros_like(hits), where=asked > 0)
    return _ratio((np.diff(hits, prepend=0.0) * precision).sum(axis=1), hits[:, -1])


def kappa(answers: Bools, truth: Bools, weights: Floats) -> Floats:
    """Compute Cohen's kappa. NaN where answers and truth leave no room for chance."""
    tp, fp, fn, tn = _counts(answers, truth, weights)
    total = tp + fp + fn + tn
    agreed = (tp + tn) / total
    chance = ((tp + fp) * (tp + fn) + (fn + tn) * (fp + tn)) / total**2
    return _ratio(agreed - chance, 1 - chance)


def f1(answers: Bools, truth: Bools, weights: Floats) -> Floats:
    """Compute F1 of the positive class; 0 where it is neither said nor true, as scikit-learn has it."""
    tp, fp, fn, _ = _counts(answers, truth, weights)
    return np.nan_to_num(_ratio(2 * tp, 2 * tp + fp + fn))


def accuracy(answers: Bools, truth: Bools, weights: Floats) -> Floats:
    """Return the share that is right; the micro-averaged F1 over both classes is the same number."""
    tp, fp, fn, tn = _counts(answers, truth, weights)
    return _ratio(tp + tn, tp + fp + fn + tn)


def sensitivity(answers: Bools, truth: Bools, weights: Floats) -> Floats:
    """Return the share of the positive that is found."""
    tp, _, fn, _ = _counts(answers, truth, weights)
    return _ratio(tp, tp + fn)


def specificity(answers: Bools, truth: Bools, weights: Floats) -> Floats:
    """Return the share of the negative that is left alone."""
    _, fp, _, tn = _counts(answers, truth, weights)
    return _ratio(tn, tn + fp)


class Bin(NamedTuple):
    """Answers whose probabilities lie in one of equal bins.

    Attributes:
        said: mean of their probabilities.
        true: share of them that is true.
        answers: how many they are.
    """

    said: float
    true: float
    answers: int


def reliability(scores: Floats, truth: Bools, bins: int = 10) -> list[Bin]:
    """Compare (N,) probabilities with how often they were true, in bins that have any."""
    place = np.minimum((scores * bins).astype(np.int64), bins - 1)
    members = (place == i for i in range(bins))
    return [Bin(float(scores[m].mean()), float(truth[m].mean()), int(m.sum())) for m in members if m.any()]


def calibration_error(scores: Floats, truth: Bools, weights: Floats, bins: int = 15) -> Floats:
    """Compute the expected calibration error: |mean probability - share that is true| over equal bins.

    Source: Naeini, Cooper and Hauskrecht, AAAI 2015; of the positive class.
    """
    place = np.minimum((scores * bins).astype(np.int64), bins - 1)
    member = (place[:, None] == np.arange(bins)).astype(np.float64)
    gap = (weights * (scores - truth)) @ member
    return np.asarray(np.abs(gap).sum(axis=1) / weights.sum(axis=1))


def _cumulated(scores: Floats, truth: Bools, weights: Floats) -> tuple[Floats, Floats]:
    """(B, T) positives and negatives at or above each of T falling values."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.diff(scores[order], append=-np.inf))
    weighed, true = weights[:, order], truth[order]
    return (np.cumsum(weighed * true, axis=1)[:, ends], np.cumsum(weighed * ~true, axis=1)[:, ends])


def _counts(answers: Bools, truth: Bools, weights: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """(B,) each: true positives, false positives, false negatives, true negatives."""
    cells = (answers & truth, answers & ~truth, ~answers & truth, ~answers & ~truth)
    tp, fp, fn, tn = (weights @ cell.astype(np.float64) for cell in cells)
    return tp, fp, fn, tn


def _ratio(above: Floats, below: Floats) -> Floats:
    result = np.full(np.shape(above), np.nan)
    np.divide(above, below, out=result, where=np.abs(below) > 1e-12)
    return result


def fit_temperature(truth: ArrayLike, logits: ArrayLike, *, softmax: bool = False) -> float:
    """Fit the temperature with the least log loss, in [COLDEST, HOTTEST]; 1 where nothing is known.

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

"""Penalised linear classifiers, fitted to their optimum: what an archive learns from its labels.

Shapes: N cases, D numbers of a descriptor, K label values.

The problem is convex, so neither a start nor a seed plays a part: the same cases in the same order
give the same weights.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]
_Any = NDArray[np.floating[Any]]
Link = Literal["softmax", "sigmoid"]  # one value a case, or any number of values
STEPS = 200  # of L-BFGS, at most
TOLERANCE = 1e-5
_FALL = 1e-4  # times the tolerance: a step that gains less of the loss is the last
_ROWS = 1 << 14  # descriptors that are made float64 at once
_NEWTON_STEPS = 200
_FURTHEST = 2.0  # by which a weight moves in one step: far from the end Newton's is too long
_DONE = 1e-9


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear classifier on descriptors.

    Attributes:
        weights: float32 (D, K).
        bias: float32 (K,).
        scale: factor of the prior's logits, where the classifier was fitted on top of a prior.
    """

    weights: Vectors
    bias: Vectors
    scale: float = 0.0

    def logits(self, descriptors: Vectors) -> Floats:
        """Return (Q, K) float64 logits of descriptors (Q, D)."""
        wide = np.asarray(descriptors, np.float64) @ self.weights.astype(np.float64)
        return np.asarray(wide + self.bias)


def fit_linear(
    descriptors: Vectors,
    targets: NDArray[np.bool_],
    weights: Floats,
    *,
    link: Link,
    penalty: float | Floats,
    prior: Floats | None = None,
    start: Linear | None = None,
    tolerance: float = TOLERANCE,
) -> Linear:
    """Fit a classifier by penalised cross-entropy.

        mean of the weighted losses + penalty / 2 * sum of the squared weights

    on descriptors that are brought to mean 0 and deviation 1. With a prior, its logits are added,
    times a factor that is fitted without a penalty: the weights then say in what the archive
    differs from it.

    Args:
        descriptors: float32 (N, D).
        targets: bool (N, K); for softmax exactly one a row.
        weights: float64 (N,), or (N, K) for sigmoid, of the losses; not below 0.
        link: softmax or sigmoid.
        penalty: above 0; for sigmoid also one for each value, float64 (K,).
        prior: float64 (N, K), logits of another classifier.
        start: a classifier to start from, for speed; it does not change the optimum.
        tolerance: the gradient's largest part at the end; losses are means.

    Returns:
        The classifier of descriptors as they are, not standardised.
    """
    from scipy.optimize import minimize  # takes .1 s, which a search need not wait for

    mean, deviation = _standard(descriptors)
    x = np.asarray(descriptors - mean.astype(np.float32), np.float32)
    x /= deviation.astype(np.float32)
    D, K = x.shape[1], targets.shape[1]
    each = (weights if weights.ndim == 2 else weights[:, None]) / weights.sum()
    each = each * (1 if weights.ndim == 1 else K)
    loss = objective(x, targets, each, link=link, penalty=penalty, prior=prior)
    theta = np.zeros(D * K + K + (prior is not None))
    if prior is not None:
        theta[-1] = 1
    if start is not None:
        W = start.weights.astype(np.float64) * deviation[:, None]
        theta[: D * K] = W.ravel()
        theta[D * K : D * K + K] = start.bias + mean @ start.weights.astype(np.float64)
        if prior is not None:
            theta[-1] = start.scale
    found = minimize(
        loss,
        theta,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": STEPS, "gtol": tolerance, "ftol": tolerance * _FALL},
    ).x
    W = found[: D * K].reshape(D, K) / deviation[:, None]
    bias = found[D * K : D * K + K] - mean @ W
    scale = float(found[-1]) if prior is not None else 0.0
    return Linear(W.astype(np.float32), bias.astype(np.float32), scale)


def objective(
    x: _Any,
    targets: NDArray[np.bool_],
    each: Floats,
    *,
    link: Link,
    penalty: float | Floats,
    prior: Floats | None = None,
) -> Callable[[Floats], tuple[float, Floats]]:
    """Return what a fit makes least: of D * K weights, K biases, and a prior's factor.

    Args:
        x: (N, D), standardised; what is large is computed in its precision.
        targets: bool (N, K).
        each: float64 (N, 1) or (N, K), the share of each loss.
        link: as for `fit_linear`.
        penalty: likewise.
        prior: likewise.

    Returns:
        A function of a float64 vector that gives the value and its gradient.
    """
    kind = x.dtype.type
    D, K = x.shape[1], targets.shape[1]
    wanted, share = targets.astype(kind), each.astype(kind)
    offset = None if prior is None else prior.astype(kind)
    of_link = _softmax_loss if link == "softmax" else _sigmoid_loss

    def loss(theta: Floats) -> tuple[float, Floats]:
        W = theta[: D * K].reshape(D, K)
        z = x @ W.astype(kind) + theta[D * K : D * K + K].astype(kind)
        if offset is not None:
            z += kind(theta[-1]) * offset
        value, slope = of_link(z, wanted)
        slope *= share
        total = float((value * share).sum(dtype=np.float64)) + float((penalty * W * W).sum()) / 2
        parts = [(x.T @ slope + penalty * W).ravel(), slope.sum(axis=0, dtype=np.float64)]
        if offset is not None:
            parts.append(np.array([(slope * offset).sum(dtype=np.float64)]))
        return total, np.concatenate(parts)

    return loss


def _standard(descriptors: Vectors) -> tuple[Floats, Floats]:
    """(D,) mean and deviation; of numbers that are all the same, up to rounding, deviation 1."""
    mean = descriptors.mean(axis=0, dtype=np.float64)
    deviation = np.zeros(len(mean))
    for start in range(0, len(descriptors), _ROWS):  # without a copy of all in float64
        off = descriptors[start : start + _ROWS] - mean
        deviation += (off * off).sum(axis=0)
    deviation = np.sqrt(deviation / len(descriptors))
    return mean, np.where(deviation > 1e-6 * np.abs(mean), deviation, 1.0)


def softmax(logits: Floats) -> Floats:
    """Return probabilities (..., K) that sum to 1."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def sigmoid(logits: Floats) -> Floats:
    """Return probabilities (...), each by itself."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * np.asarray(logits, np.float64))))


def balanced(targets: NDArray[np.bool_], link: Link) -> Floats:
    """Return weights by which every value counts the same however few cases have it.

    For softmax float64 (N,); for sigmoid (N, K), where having a value and not having it count the
    same. Their mean is 1.
    """
    count = targets.sum(axis=0)
    N, K = targets.shape
    if link == "softmax":
        return np.asarray((N / K / np.maximum(count, 1))[targets.argmax(axis=1)])
    has, lacks = N / 2 / np.maximum(count, 1), N / 2 / np.maximum(N - count, 1)
    return np.asarray(np.where(targets, has, lacks))


def _softmax_loss(z: _Any, wanted: _Any) -> tuple[_Any, _Any]:
    """(N, K) logits, which are changed -> (N, 1) losses and (N, K) slopes."""
    z -= z.max(axis=1, keepdims=True)
    p = np.exp(z)
    total = p.sum(axis=1, keepdims=True)
    p /= total
    value = np.log(total) - (z * wanted).sum(axis=1, keepdims=True)
    return value, p - wanted


def _sigmoid_loss(z: _Any, wanted: _Any) -> tuple[_Any, _Any]:
    """(N, K) logits -> (N, K) losses and slopes."""
    value = np.maximum(z, 0) - z * wanted + np.log1p(np.exp(-np.abs(z)))
    return value, (1 + np.tanh(z / 2)) / 2 - wanted


def logistic(x: Floats, y: Floats, share: ArrayLike, penalty: ArrayLike) -> Floats:
    """Fit weights (D,) with the least share . log loss + penalty . weights^2 / 2.

    No constant is added: give x a column of ones, with no penalty, where one is wanted.

    Args:
        x: (N, D).
        y: (N,), 0 or 1.
        share: (N,) or one number, of the examples; they sum to 1.
        penalty: (D,) or one number; above 0 it bounds the weights where data are separable.
    """
    share, ridge = np.broadcast_to(share, len(x)), np.diag(np.broadcast_to(penalty, x.shape[1]))
    weights = np.zeros(x.shape[1])
    for _ in range(_NEWTON_STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -50, 50)))
        gradient = x.T @ (share * (p - y)) + ridge @ weights
        # the last term keeps it solvable where a column has neither penalty nor curvature
        hessian = (x * (share * p * (1 - p))[:, None]).T @ x + ridge + 1e-12 * np.eye(len(ridge))
        step = np.linalg.solve(hessian, gradient)
        weights -= step * min(1.0, _FURTHEST / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < _DONE:
            break
    return weights

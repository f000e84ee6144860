"""Penalised linear classifiers, fitted to their optimum: what an archive learns from its labels.

Shapes: N cases, D numbers of a descriptor, K label values.

The problem is convex, so neither a start nor a seed plays a part: the same cases in the same order
give the same weights.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]

Link = Literal["softmax", "sigmoid"]  # one value a case, or any number of values

STEPS = 200  # of L-BFGS, at most
_TOLERANCE = 1e-5  # of the gradient's largest part; losses are means


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

    Returns:
        The classifier of descriptors as they are, not standardised.
    """
    from scipy.optimize import minimize  # takes .1 s, which a search need not wait for

    mean = descriptors.mean(axis=0, dtype=np.float64)
    deviation = descriptors.std(axis=0, dtype=np.float64) + 1e-6
    x = ((descriptors - mean.astype(np.float32)) / deviation.astype(np.float32)).astype(np.float32)
    D, K = x.shape[1], targets.shape[1]
    wanted = targets.astype(np.float32)
    each = (weights if weights.ndim == 2 else weights[:, None]) / weights.sum()
    each = each.astype(np.float32) * (1 if weights.ndim == 1 else np.float32(K))
    offset = None if prior is None else prior.astype(np.float32)

    def loss(theta: Floats) -> tuple[float, Floats]:
        W = theta[: D * K].reshape(D, K)
        z = x @ W.astype(np.float32) + theta[D * K : D * K + K].astype(np.float32)
        if offset is not None:
            z += np.float32(theta[-1]) * offset
        value, slope = _softmax_loss(z, wanted) if link == "softmax" else _sigmoid_loss(z, wanted)
        slope *= each
        total = float((value * each).sum(dtype=np.float64)) + float((penalty * W * W).sum()) / 2
        parts = [
            (x.T @ slope + penalty * W).ravel(),
            slope.sum(axis=0, dtype=np.float64),
        ]
        if offset is not None:
            parts.append(np.array([(slope * offset).sum(dtype=np.float64)]))
        return total, np.concatenate(parts)

    theta = np.zeros(D * K + K + (offset is not None))
    if offset is not None:
        theta[-1] = 1
    if start is not None:
        W = start.weights.astype(np.float64) * deviation[:, None]
        theta[: D * K] = W.ravel()
        theta[D * K : D * K + K] = start.bias + mean @ start.weights.astype(np.float64)
        if offset is not None:
            theta[-1] = start.scale
    found = minimize(
        loss, theta, jac=True, method="L-BFGS-B",
        options={"maxiter": STEPS, "gtol": _TOLERANCE, "ftol": 1e-9},
    ).x  # fmt: skip
    W = found[: D * K].reshape(D, K) / deviation[:, None]
    bias = found[D * K : D * K + K] - mean @ W
    scale = float(found[-1]) if offset is not None else 0.0
    return Linear(W.astype(np.float32), bias.astype(np.float32), scale)


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


def _softmax_loss(z: Vectors, wanted: Vectors) -> tuple[Vectors, Vectors]:
    z -= z.max(axis=1, keepdims=True)
    p = np.exp(z)
    total = p.sum(axis=1, keepdims=True)
    p /= total
    value = np.log(total) - (z * wanted).sum(axis=1, keepdims=True)
    return value, p - wanted


def _sigmoid_loss(z: Vectors, wanted: Vectors) -> tuple[Vectors, Vectors]:
    value = np.maximum(z, 0) - z * wanted + np.log1p(np.exp(-np.abs(z)))
    return value, (0.5 * (1 + np.tanh(0.5 * z))).astype(np.float32) - wanted

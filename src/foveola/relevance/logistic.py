"""Logistic regression by Newton's method, with a weight for each example."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_STEPS = 200
_FURTHEST = 2.0  # by which a weight moves in one step: far from the end Newton's is too long
_DONE = 1e-9


def logistic(x: Floats, y: Floats, share: ArrayLike, penalty: ArrayLike) -> Floats:
    """Weights (D,) with the least share . log loss + penalty . weights^2 / 2.

    No constant is added: give x a column of ones, with no penalty, where one is wanted.

    Args:
        x: (N, D).
        y: (N,), 0 or 1.
        share: (N,) or one number, of the examples; they sum to 1.
        penalty: (D,) or one number; above 0 it bounds the weights where data are separable.
    """
    share, ridge = np.broadcast_to(share, len(x)), np.diag(np.broadcast_to(penalty, x.shape[1]))
    weights = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -50, 50)))
        gradient = x.T @ (share * (p - y)) + ridge @ weights
        # the last term keeps it solvable where a column has neither penalty nor curvature
        hessian = (x * (share * p * (1 - p))[:, None]).T @ x + ridge + 1e-12 * np.eye(len(ridge))
        step = np.linalg.solve(hessian, gradient)
        weights -= step * min(1.0, _FURTHEST / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < _DONE:
            break
    return weights

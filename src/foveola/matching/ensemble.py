"""Several models as one, as the AdaTriplet paper combines its five folds (methods.md 2.6).

    evaluate_matching(rows[0], cases, similarity=ensemble(rows))

Letters: M models, N images, D width of a descriptor; for "distances" it may differ between models.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
How = Literal["distances", "features"]


def ensemble(descriptors: Sequence[Vectors], how: How = "distances") -> Vectors:
    """(N, N) similarities of all pairs, falling with the distance, from -1 to 1.

    Args:
        descriptors: of M models, (N, D) each; lengths are divided out.
        how: "distances" averages squared Euclidean distances of the unit descriptors, which the
            paper does for mAP and CMC, and orders as the mean cosine does. "features" averages the
            descriptors themselves, without new length, and takes Euclidean distances, which it
            does for mAP@R.

    Raises:
        ValueError: no model, shapes that do not fit, or an unknown way.
    """
    if how not in ("distances", "features"):
        raise ValueError(f"how is {how!r}; expected 'distances' or 'features'")
    units = [_unit(rows) for rows in descriptors]
    widths = {rows.shape[1] for rows in units}
    if not units or len({len(rows) for rows in units}) > 1 or (how == "features" and len(widths) > 1):
        raise ValueError(f"expected models of the same images, got {[u.shape for u in units]}")
    if how == "distances":
        cosines = np.stack([rows @ rows.T for rows in units]).mean(axis=0)
        return np.asarray(cosines, dtype=np.float32)
    mean = np.mean(units, axis=0)
    squares = (mean * mean).sum(axis=1)
    # of vectors no longer than 1, distances are no longer than 2: 1 - d^2 / 2 lies in -1 to 1
    half = np.maximum(squares[:, None] + squares - 2 * mean @ mean.T, 0) / 2
    return np.asarray(1 - half, dtype=np.float32)


def _unit(rows: Vectors) -> NDArray[np.float64]:
    x = np.asarray(rows, dtype=np.float64)
    if x.ndim != 2 or not np.isfinite(x).all() or not x.any(axis=1).all():
        raise ValueError(f"expected finite descriptors (N, D) without a row of zeros, got {x.shape}")
    unit: NDArray[np.float64] = x / np.linalg.norm(x, axis=1, keepdims=True)
    return unit

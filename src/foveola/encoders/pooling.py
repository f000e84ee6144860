"""How a feature map becomes one vector, with numpy."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Maps = NDArray[np.float32]
Vectors = NDArray[np.float32]


class Pooling(NamedTuple):
    """Generalised mean over positions: of x^p, its p-th root; values below eps count as eps."""

    p: float
    eps: float

    def powers(self, maps: Maps) -> NDArray[np.float64]:
        """(..., C, h, w) -> the same shape, what is averaged."""
        return np.asarray(np.maximum(maps, self.eps).astype(np.float64) ** self.p)

    def root(self, means: NDArray[np.float64]) -> Vectors:
        """(..., C) means of the powers -> pooled values."""
        return np.asarray(means ** (1 / self.p), np.float32)

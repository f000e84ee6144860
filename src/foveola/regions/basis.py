"""How the places of an archive's photographs are made small: its own principal axes, as bytes.

The axes are learnt once from a sample of the archive, less its mean appearance, so that what all
retinas share counts for nothing in a similarity. Letters: C channels in, D kept, n x n positions.
"""

from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from foveola import files
from foveola.errors import RegionError

D = 32  # kept of 256 channels; 64 find no more lesions (benchmarks/regions.py)
STEPS = 127  # a unit vector's values as whole numbers from -127 to 127
Bytes = NDArray[np.int8]
Floats = NDArray[np.float32]


class Basis(NamedTuple):
    """Principal axes of an archive's places.

    Attributes:
        mean: (C,) float32, what is subtracted.
        axes: (C, D) float32, of unit length.
        grid: n.
    """

    mean: Floats
    axes: Floats
    grid: int

    @classmethod
    def learn(cls, places: Floats, grid: int) -> Self:
        """(N, C) vectors of places in the field -> the D axes along which they differ most.

        Raises:
            ValueError: fewer places than axes.
        """
        if len(places) <= D or places.shape[1] < D:
            raise ValueError(f"expected more than {D} places of {D} channels, got {places.shape}")
        mean = places.mean(axis=0, dtype=np.float64)
        centred = places - mean
        _, axes = np.linalg.eigh(centred.T @ centred)
        return cls(mean.astype(np.float32), axes[:, ::-1][:, :D].astype(np.float32), grid)

    def reduced(self, maps: Floats, inside: NDArray[np.bool_]) -> Floats:
        """(n, n, C) -> (n, n, D) of unit length; zero where not inside the field."""
        small = (maps - self.mean) @ self.axes
        small /= np.maximum(np.linalg.norm(small, axis=-1, keepdims=True), 1e-12)
        small[~inside] = 0
        return np.asarray(small, np.float32)

    def save(self, path: Path) -> None:
        """Write it whole or not at all."""
        grid = np.array(self.grid, np.int64)
        files.save_arrays(path, {"mean": self.mean, "axes": self.axes, "grid": grid})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            RegionError: the file is missing or damaged.
        """
        try:
            held = files.load_arrays(path)
            mean, axes, grid = held["mean"], held["axes"], int(held["grid"])
        except (OSError, ValueError, KeyError, TypeError):
            raise RegionError(damaged(path.parent)) from None
        sound = mean.ndim == 1 and axes.shape == (len(mean), D) and 1 <= grid <= 1024
        if not (sound and np.isfinite(mean).all() and np.isfinite(axes).all()):
            raise RegionError(damaged(path.parent))
        return cls(mean.astype(np.float32), axes.astype(np.float32), grid)


def packed(small: Floats) -> Bytes:
    """Unit vectors -> int8; a value is off by 1/254 at most, a cosine by about .002."""
    return np.asarray(np.round(small * STEPS), np.int8)


def damaged(folder: Path) -> str:
    """The sentence for a side file that can't be read."""
    return (
        f"{folder} is damaged; make it anew with 'foveola regions off {folder.parent}' and then "
        f"'foveola regions on {folder.parent}'"
    )

"""A map of an archive: every photograph a point, those with alike descriptors near each other.

The map shows the two principal axes of the descriptors, on one scale, so that distances in it are
distances along these axes. It is what two straight axes can show and no more: points that lie
together here may be far apart along the others, which is why the share of the variance is said.
"""

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveola.archive import Archive

UNKNOWN = -1  # grade


@dataclass(frozen=True, eq=False)
class Overview:
    """N points.

    Attributes:
        ids: int64 (N,), of the cases.
        places: float32 (N, 2), from 0 to 1.
        grades: int8 (N,), -1 where unknown.
        share: of the descriptors' variance that the two axes show, from 0 to 1.
    """

    ids: NDArray[np.int64]
    places: NDArray[np.float32]
    grades: NDArray[np.int8]
    share: float

    def packed(self) -> bytes:
        """Return 9 N bytes, little-endian: all ids uint32, all x and all y uint16, all grades int8."""
        x, y = np.round(self.places.T * 65535).astype("<u2")
        parts = (self.ids.astype("<u4"), x, y, self.grades.astype("i1"))
        return b"".join(part.tobytes() for part in parts)


class Overviews:
    """The map of an archive, made again only when the archive has changed.

    Args:
        archive: opened.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._lock = threading.Lock()
        self._ids: NDArray[np.int64] | None = None  # of the state that was drawn
        self._made: Overview | None = None

    def get(self) -> Overview:
        """Return the map of the archive as it is now."""
        with self._lock:
            with self._archive.state() as state:
                if self._made is not None and self._ids is state.ids:
                    return self._made
                ids, matrix, labelled = state.ids, state.matrix, state.labelled()
            places, share = project(matrix)
            grades = [UNKNOWN if grade is None else grade for grade, _ in labelled]
            self._ids = ids
            self._made = Overview(ids, places, np.array(grades, np.int8), share)
            return self._made


def project(matrix: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """Project descriptors (N, D) to places (N, 2) from 0 to 1, with the share of the variance they show.

    The axes point where their largest coefficient is positive, so a map does not turn over from
    one machine to another.
    """
    if len(matrix) < 2 or matrix.shape[1] < 2:
        return np.full((len(matrix), 2), 0.5, np.float32), 0.0
    wide = matrix.astype(np.float64)
    wide -= wide.mean(axis=0)
    values, vectors = np.linalg.eigh(wide.T @ wide)
    axes = vectors[:, [-1, -2]]
    largest = np.abs(axes).argmax(axis=0)
    axes = axes * np.where(axes[largest, [0, 1]] < 0, -1.0, 1.0)
    flat = wide @ axes
    low, high = flat.min(axis=0), flat.max(axis=0)
    span = float((high - low).max())
    total = float(values.sum())
    share = float(values[-2:].sum() / total) if total > 0 else 0.0
    if span <= 0:
        return np.full((len(matrix), 2), 0.5, np.float32), share
    return ((flat - (low + high) / 2) / span + 0.5).astype(np.float32), share

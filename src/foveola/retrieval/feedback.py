"""More like these, less like that: a query moved by what somebody marked among its hits.

    q' = q + MORE mean(more) - LESS mean(less),   of length 1

This is Rocchio's formula for relevance feedback (in Salton, The SMART Retrieval System, 1971) on
unit descriptors. The weights are our proposal, by what benchmarks/feedback.py measured: .75, usual
for texts, hardly moves a descriptor whose neighbours are all near (docs/how-to/feedback.md).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

MORE = 1.5  # weight of the mean of what the query should be more like
LESS = 0.15  # of what it should be less like: more than that spoils the answer, as measured


class Marks(NamedTuple):
    """Cases that somebody marked.

    Attributes:
        more: ids of cases to be more like.
        less: ids of cases to be less like; one that is in both counts in neither.
    """

    more: tuple[int, ...] = ()
    less: tuple[int, ...] = ()

    @property
    def all(self) -> frozenset[int]:
        """Every id."""
        return frozenset(self.more) | frozenset(self.less)

    @property
    def plain(self) -> "Marks":
        """Without those that are in both, each once and in order."""
        more, less = set(self.more), set(self.less)
        return Marks(tuple(sorted(more - less)), tuple(sorted(less - more)))


def moved(query: Vectors, more: Vectors, less: Vectors, *, towards: float = MORE, away: float = LESS) -> Vectors:
    """The descriptor to search with.

    Args:
        query: (D,) unit vector.
        more: (M, D) unit vectors; M may be 0.
        less: (L, D) likewise.
        towards: weight of the mean of `more`, at least 0.
        away: of the mean of `less`, likewise.

    Returns:
        (D,) float32 unit vector; the query itself where nothing is left of the sum.
    """
    if towards < 0 or away < 0:
        raise ValueError(f"expected weights of at least 0, got {towards} and {away}")
    summed = query.astype(np.float64)
    if len(more):
        summed = summed + towards * more.mean(axis=0, dtype=np.float64)
    if len(less):
        summed = summed - away * less.mean(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(summed))
    return query if length < 1e-6 else (summed / length).astype(np.float32)

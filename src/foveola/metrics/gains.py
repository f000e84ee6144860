"""Graded relevance: how much of what a query is after an image has, from 0 to 1.

Letters: L label values, U and V different label sets among the queries and in the gallery,
B queries of a block, N gallery images, K ranks looked at.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foveola.metrics.metrics import Bools, Floats

_WIDEST = 4  # grades apart on the ICDR scale, at which nothing is alike


class BlockGains(NamedTuple):
    """Gains of some queries.

    Attributes:
        first: float64 (B, K), by rank; 0 where a ranking is shorter.
        ideal: float64 (B, K), the greatest there are, falling.
        mean: float64 (B,), over all images that could be ranked.
    """

    first: Floats
    ideal: Floats
    mean: Floats


def gain_table(queries: Bools, gallery: Bools, names: tuple[str, ...], label: str) -> Floats:
    """Gain of each gallery label set for each of the queries' sets, (U, L), (V, L) -> (U, V).

    Grades: 1 - |difference| / 4, so that a neighbouring grade is worth 3/4. Findings and all
    other labels: the Jaccard index, shared values / values of either.
    """
    if label == "grade" and all(name.isdigit() for name in names):
        grades = np.array([int(name) for name in names])
        apart = grades[queries.argmax(axis=1)][:, None] - grades[gallery.argmax(axis=1)]
        return np.asarray(1 - np.minimum(np.abs(apart), _WIDEST) / _WIDEST)
    shared = queries.astype(np.float64) @ gallery.T.astype(np.float64)
    either = queries.sum(axis=1)[:, None] + gallery.sum(axis=1) - shared
    return np.asarray(shared / np.maximum(either, 1))


class Gains:
    """Gains of a gallery for queries, by label set: there are few, however many images.

    Args:
        queries: bool (Q, L).
        gallery: bool (N, L).
        names: of the L label values.
        label: what the label is.
    """

    def __init__(self, queries: Bools, gallery: Bools, names: tuple[str, ...], label: str) -> None:
        asked, of_query = np.unique(queries, axis=0, return_inverse=True)
        ranked, of_gallery = np.unique(gallery, axis=0, return_inverse=True)
        self._table = gain_table(asked, ranked, names, label)
        self._of_query, self._of_gallery = of_query.ravel(), of_gallery.ravel()
        self._counts = np.bincount(self._of_gallery, minlength=len(ranked))
        self._falling = np.argsort(-self._table, axis=1, kind="stable")

    def of_block(self, part: slice, first: NDArray[np.int64], excluded: Bools) -> BlockGains:
        """Gains of a slice of the queries.

        Args:
            part: the B queries.
            first: int64 (B, K), positions in the gallery by rank, -1 for none.
            excluded: bool (B, N), what is left out of each ranking.
        """
        rows = self._of_query[part]
        table = self._table[rows]  # (B, V)
        left = self._counts - self._count(excluded)
        order = self._falling[rows]
        until = np.take_along_axis(left, order, axis=1).cumsum(axis=1)
        at = (until[:, None, :] <= np.arange(first.shape[1])[:, None]).sum(axis=2)  # (B, K)
        best = np.pad(np.take_along_axis(table, order, axis=1), ((0, 0), (0, 1)))
        found = np.take_along_axis(table, self._of_gallery[first], axis=1)
        return BlockGains(
            np.where(first < 0, 0, found),
            np.take_along_axis(best, at, axis=1),
            (table * left).sum(axis=1) / np.maximum(left.sum(axis=1), 1),
        )

    def _count(self, excluded: Bools) -> NDArray[np.int64]:
        """(B, N) -> (B, V): how many of each label set."""
        B, N = excluded.shape
        V = len(self._counts)
        places = np.flatnonzero(excluded)
        row = np.repeat(np.arange(B), np.count_nonzero(excluded, axis=1))
        cells = row * V + self._of_gallery[places - row * N]
        return np.bincount(cells, minlength=B * V).reshape(B, V)

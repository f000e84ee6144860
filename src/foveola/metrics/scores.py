"""Ranking by something else than the cosine.

Letters: Q queries, B of them in a block, N gallery images, as the method that names them counts.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from foveola.metrics.metrics import Bools, Floats

_MOST = 1 + 2**-30  # a cosine of two equal rows may end a last bit above 1


class Scores(Protocol):
    """Scores of the gallery for each query, by which it is ranked; used from several threads.

    Rows are those of the two sides given to `evaluate_retrieval`. As that leaves unlabelled images
    out, it asks for `restricted` once, and for the blocks of what that returns.
    """

    def restricted(self, queries: NDArray[np.int64], gallery: NDArray[np.int64]) -> "Scores":
        """The same for some rows of both sides, which are then counted from 0.

        Args:
            queries: int64, positions of the queries that remain, rising.
            gallery: int64, of the gallery images; the queries' where these are the gallery.
        """
        ...

    def of_block(self, part: slice, cosines: Floats, excluded: Bools) -> Floats:
        """Scores of some queries, float64 (B, N) from -1 to 1, the greatest first.

        They are compared in steps of 2^-30, as cosines are, and equal ones keep the order of the
        gallery. A row must not depend on which others are in its block.

        Args:
            part: the B queries.
            cosines: float64 (B, N), from -1 to 1; may be overwritten and returned.
            excluded: bool (B, N), what is left out of each ranking, the query itself too; not to
                be changed. Scores there are ignored, but lie in the range.
        """
        ...


def checked(scores: Scores, part: slice, cosines: Floats, excluded: Bools) -> Floats:
    """Scores of a block that can be ranked.

    Raises:
        ValueError: they are of another shape, or some are NaN or beyond -1 to 1.
    """
    left_out = excluded.view()
    left_out.flags.writeable = False  # a changed one would rank a query's own subject
    shape = cosines.shape
    found = np.asarray(scores.of_block(part, cosines, left_out), dtype=np.float64)
    if found.shape != shape:
        raise ValueError(f"expected scores {shape} of a block of queries, got {found.shape}")
    low, high = (float(end(found, initial=0)) for end in (np.min, np.max))
    if not -_MOST <= low <= high <= _MOST:  # nor NaN, which is in no order
        raise ValueError(f"expected scores from -1 to 1, got {low:g} to {high:g}")
    return found

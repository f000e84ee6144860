"""In which order cases come: the most agreeing first, and both of two likely values in view.

Shapes: n cases, K label values.

Where two values are nearly equally likely, an order by score alone would show one of them only. So
the first hits are chosen one by one: each case of a value makes the next of that value count less,

    (1 - share) cosine + share agreement (1 - FADE)^(cases of that value before)

which leaves a sure answer as it is, and lets a likely second value in after a few hits. Source: the
idea is that of intent-aware diversification (Agrawal et al., WSDM 2009); the form is ours.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foveola.relevance.labels import Ids, LabelTable
from foveola.relevance.linear import Floats, Vectors

FIRST = 12  # hits that are chosen one by one: what a page shows
FADE = 0.05


class Asked(NamedTuple):
    """What cases are ordered by beside their cosine.

    Attributes:
        wanted: float64 (K,), what the query asks for.
        targets: float32 (N, K), what each case of the archive counts for.
        codes: int64 (N,), the recorded value of each; -1 where none is, or several may be.
        share: of the agreement in the score, above 0 to 1.
    """

    wanted: Floats
    targets: Vectors
    codes: Ids
    share: float

    def rivals(self) -> Ids:
        """Return the values likely enough to come among the first hits; at least two, or none."""
        if not len(self.codes) or self.codes.max() < 0:
            return np.empty(0, np.int64)
        likely = self.wanted >= self.wanted.max() * (1 - FADE) ** FIRST
        return np.flatnonzero(likely) if likely.sum() > 1 else np.empty(0, np.int64)


def codes_in(recorded: LabelTable) -> Ids:
    """Return int64 (N,): the one recorded value of each case; -1 for none and for findings."""
    if recorded.link == "sigmoid":
        return np.full(len(recorded.known), -1, np.int64)
    return np.where(recorded.known, recorded.members.argmax(axis=1), -1)


def spread(
    cosines: Floats, agreements: Floats, codes: Ids, share: float, count: int
) -> NDArray[np.int64]:
    """Choose cases one by one, see the module's text; equal ones in the order given.

    Args:
        cosines: float64 (n,).
        agreements: float64 (n,).
        codes: int64 (n,), the recorded value of each, -1 for none.
        share: of the agreement.
        count: how many to choose.

    Returns:
        int64 (min(count, n),): their positions.
    """
    left = np.ones(len(codes), bool)
    before = np.zeros(max(int(codes.max(initial=-1)), -1) + 2)  # the last is of cases without one
    chosen = []
    for _ in range(min(count, len(codes))):
        fade = (1 - FADE) ** before[codes]
        score = np.where(left, (1 - share) * cosines + share * agreements * fade, -np.inf)
        best = int(score.argmax())
        chosen.append(best)
        left[best] = False
        if codes[best] >= 0:
            before[codes[best]] += 1
    return np.array(chosen, np.int64)

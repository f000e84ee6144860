"""In which order cases come: the most agreeing first, and both of two likely values in view.

Shapes: n cases, K label values.

Where two values are nearly equally likely, an order by score alone would show one of them only. So
the first hits are chosen one by one: each case of a value makes the others of it count less,

    score - share a (1 - (1 - FADE)^(cases of that value before))

where a is the agreement of the value's best case. That leaves a sure answer as it is, and lets a
likely second value in after a few hits. Cases of one value keep their order among each other; one
without a recorded value never gains. Source: the idea is that of intent-aware diversification
(Agrawal et al., WSDM 2009); the form is ours.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foveola.relevance.labels import Ids, LabelTable
from foveola.relevance.linear import Floats, Vectors

FIRST = 12  # hits that are chosen one by one: what a page shows
FADE = 0.0125  # lets a second grade at odds of 45 to 40 in by rank 10; more costs right hits


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
        """Return the values whose cases may come among the first hits; at least two, or none."""
        found = np.flatnonzero(np.bincount(self.codes + 1, minlength=1)[1:])
        return found if len(found) > 1 else np.empty(0, np.int64)


def codes_in(recorded: LabelTable) -> Ids:
    """Return int64 (N,): the one recorded value of each case; -1 for none and for findings."""
    if recorded.link == "sigmoid":
        return np.full(len(recorded.known), -1, np.int64)
    return np.where(recorded.known, recorded.members.argmax(axis=1), -1)


def spread(cosines: Floats, agreements: Floats, codes: Ids, share: float, count: int) -> NDArray[np.int64]:
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
    scores = scores_of(cosines, agreements, share).astype(np.float64)
    worth = np.zeros(int(codes.max(initial=-1)) + 2)  # of each value; the last is of cases without
    best_first = np.argsort(-scores, kind="stable")[::-1]
    worth[codes[best_first]] = share * agreements[best_first]  # the best of a value is written last
    before = np.zeros(len(worth))
    chosen = []
    for _ in range(min(count, len(codes))):
        lost = worth * (1 - (1 - FADE) ** before)
        lost[-1] = lost[:-1].max(initial=0.0)
        best = int((scores - lost[codes]).argmax())
        chosen.append(best)
        scores[best] = -np.inf
        before[codes[best]] += 1
    return np.array(chosen, np.int64)


def scores_of(cosines: Floats, agreements: Floats, share: float) -> Vectors:
    """Return float32 (n,) scores, in which what looks equal is equal."""
    return np.asarray((1 - share) * cosines + share * agreements, np.float32)

"""What an archive learnt of one label, and in which order cases come by it. Needs numpy alone.

Shapes: N cases, n of them, Q queries, D numbers of a descriptor, K label values.

    agreement = wanted . target        in [0, 1]
    score     = share agreement + (1 - share) cosine

`wanted` are the query's probabilities of the label values, as if all were equally common. `target`
says what a case counts for: OWN what is recorded of it, the rest what the other cases make likely;
of a case without a label that rest alone is known, times OWN, so that no photograph counts for more
than one of which the same is recorded. Agreement is then expected: the probability that query and
case have the same value. Both are vectors, so that a search needs one product of K numbers more for
a case.

Of findings there are K + 1 numbers, the last for none of them: without it, a healthy query would
ask for whichever finding is the least unlikely. A query's are the roots of its probabilities,
brought to length 1; a case's are those of its findings, likewise of length 1, since one with many
findings shares one with nearly every query.

Where two values are nearly equally likely, an order by score alone would show one of them only. So
the first hits are chosen one by one: each case of a value makes the others of it count less,

    score - share a (1 - (1 - FADE)^(cases of that value before))

where a is the agreement of the value's best case. That leaves a sure answer as it is, and lets a
likely second value in after a few hits. Cases of one value keep their order among each other; one
without a recorded value never gains.

Source: ours. Ranking by the expected relevance is the probability ranking principle (Robertson,
J. Documentation 1977); the idea of the first hits is that of intent-aware diversification (Agrawal
et al., WSDM 2009).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foveola.answers import LabelShare, Order, Suggestion
from foveola.relevance.calibrate import Calibrated
from foveola.relevance.labels import GRADE, Ids, LabelTable
from foveola.relevance.linear import Floats, Linear, Link, Vectors

FIRST = 12  # hits that are chosen one by one: what a page shows
FADE = 0.0125  # lets a second grade at odds of 45 to 40 in by rank 10; more costs right hits
ORDERS: tuple[Order, ...] = ("learned", "looks", "both")
SHARES: dict[Order, float] = {"learned": 0.9, "both": 0.5, "looks": 0.0}  # of the agreement
NEIGHBOUR = 0.1  # what the next grade counts for, beside 1 for the same
EVEN = 0.8  # of the likeliest value's share, from which another is told to be nearly as likely
NEARLY = 0.9  # of what is wanted most: as much at least of such values, so that the hits show them
OWN = 0.95  # what a case's own label counts for; the rest is what other cases say of it
_ROWS = 1 << 14  # cases whose logits are computed at once


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


@dataclass(frozen=True, eq=False)
class Relevance:
    """What was learnt of one label.

    Attributes:
        label: "grade", "findings", or the name of a further column.
        values: K words, in order.
        link: softmax where a case has one value, sigmoid where it has any number.
        linear: descriptor to logits.
        calibrated: logits to probabilities.
        apart: the same classifier without the people of each fold; empty where it was learnt from
            no case of the archive.
        fold: int8 (N,), to which fold the cases that the archive then had belong; -1 for one that
            it was not learnt from.
        cases: that it was learnt from.
        unlearnt: values that too few people have.
    """

    label: str
    values: tuple[str, ...]
    link: Link
    linear: Linear
    calibrated: Calibrated
    apart: tuple[Linear, ...]
    fold: NDArray[np.int8]
    cases: int
    unlearnt: tuple[str, ...] = ()

    def logits(self, descriptors: Vectors, fold: NDArray[np.int8] | None = None) -> Floats:
        """Return float64 (Q, K) logits of descriptors (Q, D), each from a fit without its fold."""
        return logits_apart(self.linear, self.apart, fold, descriptors)

    def wanted(self, logits: Floats) -> Floats:
        """Return float64 (Q, K), for findings (Q, K + 1): what queries of these logits ask for."""
        return wanted_of(self.calibrated, logits, self.link)

    def shares(self, logits: Floats) -> Floats:
        """Return float64 (Q, K): natural probabilities of the values."""
        return self.calibrated.natural.probabilities(logits, self.link)

    def told(self, logits: Floats) -> tuple[LabelShare, ...]:
        """Return how many of 100 photographs with these logits (K,) have each value, most first.

        Empty where the archive is too small to say how surely.
        """
        p = self.shares(logits[None])[0]
        order = np.lexsort((np.arange(len(p)), -p))
        pairs = [(self.values[k], self.calibrated.share(float(p[k]))) for k in order]
        return tuple(LabelShare(value, share) for value, share in pairs if share is not None)


def logits_apart(
    whole: Linear, apart: tuple[Linear, ...], fold: NDArray[np.int8] | NDArray[np.int64] | None, descriptors: Vectors
) -> Floats:
    """Return float64 (Q, K) logits by the classifier that lacks each one's fold; -1 is in none."""
    logits = whole.logits(descriptors)
    for k, linear in enumerate(apart) if fold is not None else ():
        logits[fold == k] = linear.logits(descriptors[fold == k])
    return logits


def wanted_of(calibrated: Calibrated, logits: Floats, link: Link) -> Floats:
    """Return what queries of logits (Q, K) ask for: float64 (Q, K), for findings (Q, K + 1)."""
    p = calibrated.even.probabilities(logits, link)
    if link == "softmax":
        told = calibrated.natural.probabilities(logits, link)
        likely = told >= EVEN * told.max(axis=1, keepdims=True)
        likely &= likely.sum(axis=1, keepdims=True) > 1
        p = np.where(likely, np.maximum(p, NEARLY * p.max(axis=1, keepdims=True)), p)
        return np.asarray(p / p.sum(axis=1, keepdims=True))
    none = 1 - p.max(axis=1, keepdims=True)  # at most: that of the likeliest is lacking
    roots = np.sqrt(np.concatenate([p, none], axis=1))
    return np.asarray(roots / np.linalg.norm(roots, axis=1, keepdims=True))


def targets_of(recorded: LabelTable, said: Floats, own: float = OWN) -> Vectors:
    """Return what cases count for, see the module's text.

    Args:
        recorded: of N cases.
        said: float64 (N, K), natural probabilities by fits without the case.
        own: what a case's own label counts for.

    Returns:
        float32 (N, K), for findings (N, K + 1).
    """
    members = recorded.members.astype(np.float64)
    if recorded.link == "sigmoid":
        members, said = shared(members), shared(said)
    target = np.where(recorded.known[:, None], own * members + (1 - own) * said, own * said)
    if recorded.label == GRADE:
        target = target @ neighbours(recorded.values)
    return np.asfortranarray(target, np.float32)  # a search adds up its columns


def shared(probabilities: Floats) -> Floats:
    """Return float64 (N, K + 1): sets of findings as vectors of length 1, the last number for none.

    Of a set that is only likely it is what such a vector is expected to be at least, as if findings
    were independent: the root of their number is put at its mean, and the inverse root is convex
    (Jensen's inequality).
    """
    count = probabilities.sum(axis=1, keepdims=True)
    none = np.prod(1 - probabilities, axis=1, keepdims=True)
    return np.concatenate([probabilities / np.sqrt(1 + count - probabilities), none], axis=1)


def neighbours(values: tuple[str, ...], share: float = NEIGHBOUR) -> Floats:
    """Return (K, K): what a grade counts for where another is wanted."""
    grades = np.array([float(value) for value in values])
    apart = np.abs(grades[:, None] - grades)
    return np.where(apart == 0, 1.0, np.where(apart == 1, share, 0.0))


@dataclass(frozen=True, eq=False)
class Part:
    """A label's part of every query.

    Attributes:
        relevance: what was learnt of the label.
        targets: float32 (N, K), what each case counts for, see `relevance.targets_of`.
        codes: int64 (N,), the recorded value of each case, -1 for none.
        fold: int8 (N,), to which fold each case belongs, -1 for one that nothing was learnt from.
    """

    relevance: Relevance
    targets: Vectors
    codes: Ids
    fold: NDArray[np.int8]

    @classmethod
    def of(cls, relevance: Relevance, recorded: LabelTable, matrix: Vectors, fold: NDArray[np.int8]) -> "Part":
        """Make the part of N cases.

        Args:
            relevance: of the label.
            recorded: labels of the cases.
            matrix: float32 (N, D), their descriptors.
            fold: int8 (N,), of the cases.
        """
        recorded = recorded.of_values(relevance.values)
        said = np.empty(recorded.members.shape)
        for start in range(0, len(said), _ROWS):
            rows = slice(start, start + _ROWS)
            said[rows] = relevance.shares(relevance.logits(matrix[rows], fold[rows]))
        return cls(relevance, targets_of(recorded, said), codes_in(recorded), fold)

    def asked(self, order: Order, descriptor: Vectors, own: Ids) -> Asked | None:
        """Return what cases are ordered by beside the cosine; None for the cosine alone.

        Args:
            order: "learned", "both" or "looks".
            descriptor: (D,) of the query.
            own: rows of the query's own person, whose fold is left out of the fit.
        """
        if order == "looks":
            return None
        wanted = self.relevance.wanted(self.relevance.logits(descriptor[None], self._fold(own)))[0]
        return Asked(wanted, self.targets, self.codes, SHARES[order])

    def suggestion(self, descriptor: Vectors, own: Ids) -> Suggestion | None:
        """Return what is suggested of a query; None where it can't be said how surely.

        Arguments as for `asked`.
        """
        relevance = self.relevance
        shares = relevance.told(relevance.logits(descriptor[None], self._fold(own))[0])
        if not shares:
            return None
        told, several = relevance.calibrated, relevance.link == "sigmoid"
        return Suggestion(relevance.label, shares, several, told.people, told.new, relevance.unlearnt)

    def _fold(self, own: Ids) -> NDArray[np.int8]:
        """(1,) the fold that the query's own person is in; -1 for a person new to the cases."""
        return np.array([self.fold[own].max(initial=-1)], np.int8)

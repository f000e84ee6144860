"""What an archive learnt of one label, and how it orders cases by it. Needs numpy alone.

Shapes: N cases, Q queries, D numbers of a descriptor, K label values.

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

Source: ours. Ranking by the expected relevance is the probability ranking principle (Robertson,
J. Documentation 1977).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveola.answers import LabelShare, Order
from foveola.relevance.calibrate import Calibrated
from foveola.relevance.labels import GRADE, LabelTable
from foveola.relevance.linear import Floats, Linear, Link, Vectors

ORDERS: tuple[Order, ...] = ("learned", "looks", "both")
SHARES: dict[Order, float] = {"learned": 0.9, "both": 0.5, "looks": 0.0}  # of the agreement
NEIGHBOUR = 0.1  # what the next grade counts for, beside 1 for the same
EVEN = 0.8  # of the likeliest value's share, from which another is told to be nearly as likely
NEARLY = 0.9  # of what is wanted most: as much at least of such values, so that the hits show them
OWN = 0.95  # what a case's own label counts for; the rest is what other cases say of it


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

"""From logits and similarities to shares that hold, and what is suggested of a photograph by them.

Logits become probabilities of two kinds, both learnt from people whom the fit did not see:

    even      as if every label value were as common as any other: what is ranked by, so that a rare
              grade is found as well as a common one
    natural   as common as the values are in the archive: what is told, "of 100 photographs like
              this, 55 are grade 2"

Each is softmax(slope z + shift), with one slope (temperature scaling with a shift for each value:
Guo et al., ICML 2017), or for findings sigmoid(slope z + shift), each with its own (Platt, 1999).

A curve gives the chance that two photographs agree, as a rising function of their similarity. Pairs
are sorted into bins of similarity; the share that agrees in each is made to rise by pooling
neighbouring bins that fall (isotonic regression: Ayer et al., Ann. Math. Statist. 1955). Pairs of
one person hang together, so an interval counts people: its width is that of a share of as many
independent pairs as would vary like the people do (Wilson's interval of an effective number).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveola.answers import Share
from foveola.relevance.labels import Bools, Ids, LabelTable
from foveola.relevance.linear import Floats, Link, balanced, sigmoid, softmax

BIN = 50  # pairs, at least
BINS = 40  # at most
Z = 1.959964  # of a 95 % interval
_RIDGE = 1e-3  # of shifts and of the slope's logarithm, so that few cases can't make them boundless


@dataclass(frozen=True)
class Curve:
    """Similarity to chance, with a 95 % interval, linear between the knots.

    Attributes:
        similarity: ascending, mean of each bin.
        chance: rising.
        low, high: of the interval.
        pairs: it rests on.
        people: that these are of.
    """

    similarity: tuple[float, ...]
    chance: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    pairs: int
    people: int

    def at(self, similarity: float) -> Share:
        """Return the chance at a similarity; beyond the ends it is that of the end."""
        value, low, high = (
            float(np.interp(similarity, self.similarity, line)) for line in (self.chance, self.low, self.high)
        )
        return Share(value, low, high)


def read_curve(values: Mapping[str, Any] | None) -> Curve | None:
    """Read a curve as JSON kept it; None stays None."""
    if values is None:
        return None
    made: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return Curve(**made)


def fit_curve(similarity: Floats, agree: Bools, people: Ids) -> Curve | None:
    """Fit a curve; None for fewer than BIN pairs.

    Args:
        similarity: (P,) of each pair.
        agree: (P,) whether the two agree.
        people: (P,) who asked; pairs of one person count as one observation.
    """
    if len(similarity) < BIN:
        return None
    from scipy.optimize import isotonic_regression  # takes .1 s, which a search need not wait for

    order = np.argsort(similarity, kind="stable")
    bins = np.array_split(order, min(BINS, len(order) // BIN))
    rising = isotonic_regression([agree[b].mean() for b in bins], weights=[len(b) for b in bins])
    bins = [np.concatenate(bins[start:end]) for start, end in pairwise(rising.blocks)]
    shares = [share_of(agree[b], people[b]) for b in bins]
    return Curve(
        similarity=tuple(float(similarity[b].mean()) for b in bins),
        chance=tuple(share.value for share in shares),
        low=tuple(np.maximum.accumulate([share.low for share in shares]).tolist()),
        high=tuple(np.minimum.accumulate([share.high for share in shares][::-1])[::-1].tolist()),
        pairs=len(similarity),
        people=len(np.unique(people)),
    )


def share_of(agree: Bools, people: Ids) -> Share:
    """Return the share that agrees, with an interval over people."""
    p = float(agree.mean())
    _, own = np.unique(people, return_inverse=True)
    sums = np.bincount(own, weights=agree - p)
    variance = float((sums * sums).sum()) / len(agree) ** 2
    independent = float(own.max() + 1)
    if 0 < p < 1 and variance > 0:
        # as many independent pairs as vary like this; never more than there are pairs
        independent = min(float(len(agree)), p * (1 - p) / variance)
    return wilson(p * independent, independent)


def wilson(positive: float, count: float) -> Share:
    """Return a share of `count` independent cases with Wilson's 95 % interval.

    Source: Wilson, J. Am. Stat. Assoc. 1927.

    >>> share = wilson(45, 50)
    >>> share.value, round(share.low, 3), round(share.high, 3)
    (0.9, 0.786, 0.957)
    """
    p = positive / count
    centre = (p + Z * Z / (2 * count)) / (1 + Z * Z / count)
    half = Z / (1 + Z * Z / count) * math.sqrt(p * (1 - p) / count + Z * Z / (4 * count * count))
    return Share(p, max(0.0, centre - half), min(1.0, centre + half))


def percentile(value: float, quantiles: ArrayLike) -> float:
    """Return the share, from 0 to 1, of what the quantiles describe that is less than a value."""
    line = np.asarray(quantiles, np.float64)
    return float(np.interp(value, line, np.linspace(0, 1, len(line)), left=0.0, right=1.0))


@dataclass(frozen=True, eq=False)
class Scaling:
    """A slope and a shift for each of K label values.

    Attributes:
        slope, shift: float64 (K,).
    """

    slope: Floats
    shift: Floats

    def probabilities(self, logits: Floats, link: Link) -> Floats:
        """Return (..., K) probabilities of logits (..., K)."""
        scaled = logits * self.slope + self.shift
        return softmax(scaled) if link == "softmax" else sigmoid(scaled)


@dataclass(frozen=True, eq=False)
class Calibrated:
    """What logits are worth, learnt from people new to the fit.

    Attributes:
        even: as if every value were as common as any other.
        natural: as common as the values are in the archive.
        curve: the share of cases that have a value, by the probability told for it, with its 95 %
            interval over people; None where there were too few to say.
        people: from whom all this was learnt.
        new: whether the encoder, too, was trained on no photograph of theirs, as far as is known.
    """

    even: Scaling
    natural: Scaling
    curve: Curve | None
    people: int
    new: bool = True

    def share(self, probability: float) -> Share | None:
        """Return a natural probability with its interval; None where that is not known."""
        if self.curve is None:
            return None
        found = self.curve.at(probability)
        return Share(probability, min(probability, found.low), max(probability, found.high))


def calibrate(logits: Floats, members: Bools, people: Ids, *, link: Link) -> Calibrated:
    """Learn what logits are worth.

    Args:
        logits: float64 (N, K), each from a fit without the person it is about.
        members: bool (N, K), which values a case has.
        people: int64 (N,), whose it is.
        link: softmax or sigmoid.
    """
    natural = _scaling(logits, members, np.ones(len(members)), link)
    told = natural.probabilities(logits, link)
    values = members.shape[1]
    return Calibrated(
        even=_scaling(logits, members, balanced(members, link), link),
        natural=natural,
        curve=fit_curve(told.ravel(), members.ravel(), np.repeat(people, values)),
        people=len(np.unique(people)),
    )


def _scaling(logits: Floats, members: Bools, weights: Floats, link: Link) -> Scaling:
    if link == "softmax":
        return _fitted(logits, members, weights, link)
    columns = weights if weights.ndim == 2 else np.repeat(weights[:, None], members.shape[1], 1)
    each = [_fitted(logits[:, [k]], members[:, [k]], columns[:, k], link) for k in range(members.shape[1])]
    return Scaling(np.concatenate([one.slope for one in each]), np.concatenate([one.shift for one in each]))


def _fitted(logits: Floats, members: Bools, weights: Floats, link: Link) -> Scaling:
    """One slope, and a shift for each column."""
    from scipy.optimize import minimize

    share = weights / weights.sum()
    K = logits.shape[1]

    def loss(theta: Floats) -> tuple[float, Floats]:
        slope, shift = np.exp(theta[0]), theta[1:]
        z = logits * slope + shift
        p = softmax(z) if link == "softmax" else sigmoid(z)
        if link == "softmax":
            high = z.max(axis=1)
            value = high + np.log(np.exp(z - high[:, None]).sum(axis=1)) - (z * members).sum(axis=1)
        else:
            value = (np.logaddexp(0, z) - z * members).sum(axis=1)
        off = (p - members) * share[:, None]
        gradient = np.concatenate([[(off * logits).sum() * slope], off.sum(axis=0)])
        return float(share @ value) + _RIDGE / 2 * float(theta @ theta), gradient + _RIDGE * theta

    theta = minimize(loss, np.zeros(1 + K), jac=True, method="L-BFGS-B").x
    return Scaling(np.full(K, np.exp(theta[0])), theta[1:])


def restricted(scaling: Scaling, columns: NDArray[np.int64]) -> Scaling:
    """Return the scaling of some of the values; of one that is not there (-1), slope 1, shift 0."""
    known = columns >= 0
    return Scaling(np.where(known, scaling.slope[columns], 1.0), np.where(known, scaling.shift[columns], 0.0))


def as_common(even: Scaling, labels: LabelTable) -> Scaling:
    """Return the natural scaling of an archive whose values are as common as these labels say.

    By Bayes: probabilities of a world in which all values are equally common, times how common they
    are. Source: Saerens et al., Neural Computation 14 (2002), equation 2.4.
    """
    members = labels.members[labels.known]
    share = (members.sum(axis=0) + 0.5) / (len(members) + 1)  # never 0 nor 1
    odds = np.log(share) if labels.link == "softmax" else np.log(share / (1 - share))
    return Scaling(even.slope, even.shift + odds)

"""From logits to probabilities that keep what they say.

Two kinds, both learnt from people whom the fit did not see:

    even      as if every label value were as common as any other: what is ranked by, so that a rare
              grade is found as well as a common one
    natural   as common as the values are in the archive: what is told, "of 100 photographs like
              this, 55 are grade 2"

Each is softmax(slope z + shift), with one slope (temperature scaling with a shift for each value:
Guo et al., ICML 2017), or for findings sigmoid(slope z + shift), each with its own (Platt, 1999).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveola.answers import Share
from foveola.relevance.curve import Curve, fit_curve
from foveola.relevance.labels import Bools, Ids, LabelTable
from foveola.relevance.linear import Floats, Link, balanced, sigmoid, softmax

_RIDGE = 1e-3  # of shifts and of the slope's logarithm, so that few cases can't make them boundless


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

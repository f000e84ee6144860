"""The chance that two photographs agree, as a rising function of their similarity.

Pairs are sorted into bins of similarity; the share that agrees in each is made to rise by pooling
neighbouring bins that fall (isotonic regression: Ayer et al., Ann. Math. Statist. 1955). Pairs of
one person hang together, so an interval counts people: its width is that of a share of as many
independent pairs as would vary like the people do (Wilson's interval of an effective number).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveola.answers import Share

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ids = NDArray[np.int64]

BIN = 50  # pairs, at least
BINS = 40  # at most
Z = 1.959964  # of a 95 % interval


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
        """The chance at a similarity; beyond the ends it is that of the end."""
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
    order = np.argsort(similarity, kind="stable")
    bins = np.array_split(order, min(BINS, len(order) // BIN))
    bins = _risen(agree, bins)
    shares = [share_of(agree[b], people[b]) for b in bins]
    return Curve(
        similarity=tuple(float(similarity[b].mean()) for b in bins),
        chance=tuple(share.value for share in shares),
        low=tuple(np.maximum.accumulate([share.low for share in shares]).tolist()),
        high=tuple(np.minimum.accumulate([share.high for share in shares][::-1])[::-1].tolist()),
        pairs=len(similarity),
        people=len(np.unique(people)),
    )


def _risen(agree: Bools, bins: list[Ids]) -> list[Ids]:
    """Pool neighbouring bins until their shares rise."""
    risen: list[Ids] = []
    for each in bins:
        risen.append(each)
        while len(risen) > 1 and agree[risen[-2]].mean() >= agree[risen[-1]].mean():
            last = risen.pop()
            risen[-1] = np.concatenate([risen[-1], last])
    return risen


def share_of(agree: Bools, people: Ids) -> Share:
    """The share that agrees, with an interval over people."""
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
    """A share of `count` independent cases with Wilson's 95 % interval.

    Source: Wilson, J. Am. Stat. Assoc. 1927.
    """
    p = positive / count
    centre = (p + Z * Z / (2 * count)) / (1 + Z * Z / count)
    half = Z / (1 + Z * Z / count) * math.sqrt(p * (1 - p) / count + Z * Z / (4 * count * count))
    return Share(p, max(0.0, centre - half), min(1.0, centre + half))


def percentile(value: float, quantiles: ArrayLike) -> float:
    """Share, from 0 to 1, of what the quantiles describe that is less than a value."""
    line = np.asarray(quantiles, np.float64)
    return float(np.interp(value, line, np.linspace(0, 1, len(line)), left=0.0, right=1.0))

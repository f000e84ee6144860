"""From evidence to the probability that two photographs show one eye.

A calibration turns the evidence of a pair into a likelihood ratio LR: how many times as often such
evidence is seen on two photographs of one eye than on those of two. What that makes probable
depends on how many others there are: with a chance `prior` that the query's eye is in the archive
at all, spread evenly over its N photographs, q = prior / N and

    P(candidate i) = LR_i q / (LR_i q + 1 - q)
    P(none)        = (1 - prior) / (1 - prior + q sum_j LR_j)

Logistic regression on pairs whose truth is known gives log LR. It is bounded by the number of
those pairs: no experiment with n pairs of two eyes shows a ratio above n, or with m pairs of one
eye a ratio below 1 / m.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveola import files
from foveola.errors import MatchingError
from foveola.relevance.linear import logistic

Floats = NDArray[np.float64]

CALIBRATION = "calibration.json"  # in the folder of an encoder
CHANCE = 5  # features that agree between photographs of two eyes: up to here they say nothing
MANY = 60  # beyond which more say no more
_PENALTY = 0.0, 1e-6, 1e-6, 1e-6  # bounds the weights where the evidence tells all
PRIOR = 0.5  # that the eye is in the archive, where nothing else is known


@dataclass(frozen=True)
class Evidence:
    """What speaks for two photographs showing one eye.

    Attributes:
        cosine: of their descriptors.
        inliers: local features that agree on one map between them.
        correlation: of vessels and lesions under that map; 0 where there is none.
        overlap: share of the smaller retina that both show under it.
    """

    cosine: float
    inliers: int = 0
    correlation: float = 0.0
    overlap: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What evidence is worth.

    Attributes:
        encoder: fingerprint of the encoder whose cosines were calibrated.
        weights: of 1, cosine, log(inliers / CHANCE) and correlation, natural logarithms.
        pairs: of one eye and of two that it was fitted to, which bound it.
    """

    encoder: str
    weights: tuple[float, float, float, float]
    pairs: tuple[int, int]

    def log_ratio(self, evidence: Sequence[Evidence]) -> Floats:
        """Compute the natural logarithm of the likelihood ratio, (N,), bounded by the pairs it rests on."""
        low, high = -math.log(self.pairs[0]), math.log(self.pairs[1])
        return np.asarray(np.clip(self.score(evidence), low, high))

    def score(self, evidence: Sequence[Evidence]) -> Floats:
        """Compute the same (N,) without bounds: for an order, not for a probability."""
        return np.asarray(_columns(evidence) @ np.array(self.weights))

    def save(self, path: Path) -> None:
        """Write as JSON."""
        files.write_json(path, asdict(self), indent=2)

    @classmethod
    def load(cls, path: Path, encoder: str) -> "Calibration":
        """Read from JSON.

        Raises:
            MatchingError: it can't be read, or belongs to another encoder.
        """
        if not path.exists():
            raise MatchingError(
                f"{path.parent} has no {path.name}: what its evidence is worth is unknown; make it "
                "with: foveola matching calibrate ENCODER MANIFEST"
            )
        try:
            values = files.read_json(path)
            weights = tuple(map(float, values["weights"]))
            pairs = tuple(map(int, values["pairs"]))
            if len(weights) != 4 or len(pairs) != 2 or not all(map(math.isfinite, weights)) or min(pairs) < 1:
                raise ValueError("expected 4 finite weights and 2 numbers of pairs")
            made = cls(encoder=str(values["encoder"]), weights=weights, pairs=pairs)
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise MatchingError(f"the calibration {path} can't be used: {error}") from None
        if made.encoder != encoder:
            raise MatchingError(
                f"the calibration {path.name} belongs to another encoder ({made.encoder[:12]}) "
                f"than this archive's ({encoder[:12]})"
            )
        return made


def fit(evidence: Sequence[Evidence], same: ArrayLike, encoder: str) -> Calibration:
    """Fit to pairs whose truth is known, both kinds counting alike.

    Args:
        evidence: of each pair.
        same: bool (N,), whether it is of one eye.
        encoder: fingerprint of the encoder of the cosines.

    Raises:
        ValueError: there is no pair of a kind.
    """
    truth = np.asarray(same, dtype=bool)
    counts = int(truth.sum()), int((~truth).sum())
    if min(counts) < 1 or len(truth) != len(evidence):
        raise ValueError(f"expected pairs of both kinds, got {counts}")
    share = np.where(truth, 0.5 / counts[0], 0.5 / counts[1])
    weights = logistic(_columns(evidence), truth.astype(np.float64), share, _PENALTY).tolist()
    return Calibration(encoder=encoder, weights=(weights[0], weights[1], weights[2], weights[3]), pairs=counts)


def posterior(log_ratios: ArrayLike, gallery: int, prior: float = PRIOR, others: float = 0.0) -> tuple[Floats, float]:
    """Compute the probability of each of K candidates, (K,), and that none in the gallery is the eye.

    Args:
        log_ratios: (K,) natural logarithms.
        gallery: N photographs, at least K.
        prior: that the eye is in the gallery, above 0 and below 1.
        others: natural logarithm of the ratio of each photograph that was not compared; 0 speaks
            neither for nor against.

    Raises:
        ValueError: a number is out of range.

    >>> chances, none = posterior([np.log(10_000)], gallery=100)  # one strong candidate of 100
    >>> print(chances.round(3), round(none, 3))
    [0.98] 0.01
    """
    ratios = np.exp(np.asarray(log_ratios, dtype=np.float64))
    if not 0 < prior < 1 or gallery < max(1, len(ratios)):
        raise ValueError(f"prior is {prior}, {len(ratios)} candidates of {gallery} photographs")
    each = prior / gallery
    some = each * (float(ratios.sum()) + (gallery - len(ratios)) * math.exp(others))
    return np.asarray(ratios * each / (ratios * each + 1 - each)), (1 - prior) / (1 - prior + some)


def _columns(evidence: Sequence[Evidence]) -> Floats:
    """(N, 4)."""
    rows = [
        (1.0, e.cosine, math.log(min(max(e.inliers, CHANCE), MANY) / CHANCE), max(e.correlation, 0.0)) for e in evidence
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, 4)

"""Open-set identification: saying "no match" for whoever the gallery does not hold.

The first of a ranking is accepted when its similarity reaches a threshold. FPIR, the false
positive identification rate, is the share of searches without a mate that are accepted all the
same; TPIR, the true positive identification rate, the share of searches with a mate that bring
it up first and accept it (ISO/IEC 19795-1). A threshold is judged on other subjects than those
it was set on.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foveola.metrics.identification import Best
from foveola.metrics.metrics import Floats
from foveola.metrics.uncertainty import means, subject_bootstrap
from foveola.metrics.verification import Rate

FALSE_POSITIVES = (0.01, 0.05, 0.1)
_LEAST = 3  # false positives that a rate must amount to before a threshold is set for it


@dataclass(frozen=True)
class Rejection:
    """What one threshold does to people it was not set on.

    Attributes:
        wanted: FPIR that the thresholds were set for.
        fpir: FPIR they had.
        tpir: TPIR they had.
        thresholds: of each fold of subjects.
    """

    wanted: float
    fpir: Rate
    tpir: Rate
    thresholds: tuple[float, ...]

    def to_dict(self) -> dict[str, object]:
        """Plain types for json.dumps."""
        return {
            "wanted_fpir": self.wanted,
            "fpir": self.fpir.to_dict(),
            "tpir": self.tpir.to_dict(),
            "thresholds": list(self.thresholds),
        }


def reject(
    best: Best,
    *,
    false_positives: Sequence[float] = FALSE_POSITIVES,
    folds: int = 2,
    bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Rejection]:
    """Set thresholds on some subjects and judge them on the others, fold by fold.

    Every query is asked twice: with its identity in the gallery, where it is there, and as if it
    were not, when the best of another identity stands first.

    Args:
        best: of an identification.
        false_positives: FPIR to set thresholds for; those of which fewer than 3 false positives
            could be expected on the subjects of a fold are left out, and so are all of them
            where there are fewer subjects than folds.
        folds: of subjects, at least 2.
        bootstrap: resamples of the subjects; the thresholds stay.
        confidence: of the intervals.
        seed: of the folds and the bootstrap.

    Raises:
        ValueError: fewer than 2 folds, or a rate out of range.
    """
    if not all(0 < rate < 1 for rate in false_positives):
        raise ValueError(f"false positive rates must lie between 0 and 1, got {false_positives}")
    subjects, own = np.unique(best.subjects, return_inverse=True)
    if folds < 2:
        raise ValueError(f"expected at least 2 folds, got {folds}")
    if len(subjects) < folds:
        return []
    order = np.random.default_rng(seed).permutation(len(subjects))
    fold = (order % folds)[own]
    known = ~np.isnan(best.impostor)
    fewest = min(int((known & (fold != f)).sum()) for f in range(folds))
    found = []
    for rate in (rate for rate in false_positives if rate * fewest >= _LEAST):
        thresholds = [threshold_for(best.impostor[fold != f], rate) for f in range(folds)]
        values = _judged(best, np.array(thresholds)[fold])
        members = np.empty((len(values), 0), dtype=bool)
        ends = subject_bootstrap(values, members, best.subjects, resamples=bootstrap, confidence=confidence, seed=seed)
        point = means(values, members).micro.tolist()
        fpir, tpir = (Rate(p, *e) for p, e in zip(point, ends.micro.tolist(), strict=True))
        found.append(Rejection(rate, fpir, tpir, tuple(thresholds)))
    return found


def threshold_for(impostor: Floats, rate: float) -> float:
    """The least similarity that at most this share of searches without a mate reaches.

    Args:
        impostor: (Q,) best similarity to another identity, NaN where there is none.
        rate: FPIR, between 0 and 1.
    """
    known = np.sort(impostor[~np.isnan(impostor)])[::-1]
    if not len(known):
        return math.nan
    allowed = int(np.floor(rate * len(known) + 1e-9))
    return float(np.nextafter(known[min(allowed, len(known) - 1)], np.inf))


def _judged(best: Best, line: Floats) -> Floats:
    """(Q, 2): whether a search without a mate is accepted, and whether one with a mate is."""
    false = np.where(np.isnan(best.impostor), np.nan, best.impostor >= line)
    true = np.where(best.mated, best.right & (best.similarity >= line), np.nan)
    return np.column_stack([false, true])

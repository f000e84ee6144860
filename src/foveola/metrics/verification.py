"""Whether two images are of one identity, judged by a threshold on their similarity.

A genuine pair is of one identity, an impostor pair of two. At a threshold the false match rate
(FMR) is the share of impostor pairs at or above it, the false non-match rate (FNMR) that of
genuine pairs below; the terms are those of ISO/IEC 19795-1. Pairs are counted in steps of
similarity, so that an archive's billions of impostor pairs take no memory.

Letters: T thresholds, S subjects.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveola.metrics.estimates import Interval, ends, percentiles, resampled
from foveola.metrics.metrics import Floats

Counts = NDArray[np.int64] | NDArray[np.int32]

STEPS = 1 << 16  # from -1 to 1: 3e-5 each, finer than the noise of a descriptor
FALSE_MATCHES = (1e-2, 1e-3, 1e-4)
_LEAST = 3  # impostor pairs a rate must amount to before FNMR is told at it
_CHUNK = 100  # resamples at a time


@dataclass(frozen=True, eq=False)
class Pairs:
    """How many genuine and impostor pairs lie at each step of similarity, by subject.

    Attributes:
        genuine: int (S, T), pairs of each asking subject at each step, steps rising.
        impostor: likewise.
        similarity: (T,), rising: the least similarity of each step.
    """

    genuine: Counts
    impostor: Counts
    similarity: Floats

    @classmethod
    def from_scores(
        cls,
        genuine: ArrayLike,
        impostor: ArrayLike,
        genuine_subjects: ArrayLike | None = None,
        impostor_subjects: ArrayLike | None = None,
    ) -> "Pairs":
        """Make pairs of similarities, each value a step of its own.

        Args:
            genuine: (G,) similarities, finite.
            impostor: (I,) likewise.
            genuine_subjects: int (G,) from 0, who asked; each pair its own without.
            impostor_subjects: int (I,) likewise.

        Raises:
            ValueError: a similarity is not finite, or there is no pair of a kind.
        """
        sides = [np.asarray(x, dtype=np.float64).ravel() for x in (genuine, impostor)]
        if not all(len(x) and np.isfinite(x).all() for x in sides):
            raise ValueError("expected finite similarities of both genuine and impostor pairs")
        if genuine_subjects is None or impostor_subjects is None:
            people = [np.arange(len(sides[0])), len(sides[0]) + np.arange(len(sides[1]))]
        else:
            people = [np.asarray(x, dtype=np.int64) for x in (genuine_subjects, impostor_subjects)]
        steps, place = np.unique(np.concatenate(sides), return_inverse=True)
        shape = (int(max(each.max() for each in people)) + 1, len(steps))
        tables = []
        for of, at in zip(people, np.split(place, [len(sides[0])]), strict=True):
            table = np.zeros(shape, dtype=np.int32)
            np.add.at(table, (of, at), 1)
            tables.append(table)
        return cls(tables[0], tables[1], steps)


@dataclass(frozen=True)
class Rate:
    """A number with the ends of its interval; NaN where it is not known."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @property
    def interval(self) -> Interval:
        """Return both ends."""
        return self.low, self.high

    def to_dict(self) -> dict[str, object]:
        """Return plain types; what is unknown is None."""
        value = None if math.isnan(self.value) else self.value
        return {"value": value, "interval": ends(self.low, self.high)}


@dataclass(frozen=True)
class Verification:
    """How well similarity tells pairs of one identity from pairs of two.

    Attributes:
        genuine: number of pairs of one identity.
        impostor: number of pairs of two.
        auc: area under the ROC; ties count half.
        eer: equal error rate, where FMR and FNMR cross.
        threshold: similarity at which they cross.
        fnmr: FNMR at each FMR asked for; NaN where there are too few impostor pairs for it.
        confidence: of the intervals.
        roc: (FMR, FNMR) at falling thresholds, for a plot.
    """

    genuine: int
    impostor: int
    auc: Rate
    eer: Rate
    threshold: float
    fnmr: dict[float, Rate]
    confidence: float
    roc: tuple[Floats, Floats] = field(compare=False, repr=False)

    def to_dict(self) -> dict[str, object]:
        """Return plain types for json.dumps."""
        return {
            "genuine_pairs": self.genuine,
            "impostor_pairs": self.impostor,
            "auc": self.auc.to_dict(),
            "eer": self.eer.to_dict(),
            "threshold_at_eer": self.threshold,
            "fnmr_at_fmr": {f"{fmr:g}": rate.to_dict() for fmr, rate in self.fnmr.items()},
        }


def verify(
    pairs: Pairs,
    *,
    false_matches: Sequence[float] = FALSE_MATCHES,
    bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Verification:
    """Judge similarity as a test of identity, with intervals over subjects.

    Subjects that ask are resampled with all their pairs; those they are compared with stay. FMR
    at a threshold is over all impostor pairs, not the mean over subjects.

    Args:
        pairs: at least one of each kind.
        false_matches: FMR at which FNMR is told. It is the least FNMR of a threshold whose FMR
            is not above it.
        bootstrap: resamples of the subjects; 0 for no intervals.
        confidence: of the intervals, between 0 and 1.
        seed: of the random numbers.

    Raises:
        ValueError: there is no pair of a kind, or a rate is out of range.
    """
    if not pairs.genuine.any() or not pairs.impostor.any():
        raise ValueError("expected at least one genuine and one impostor pair")
    if not all(0 < fmr < 1 for fmr in false_matches):
        raise ValueError(f"false match rates must lie between 0 and 1, got {false_matches}")
    known = [fmr for fmr in false_matches if fmr * pairs.impostor.sum() >= _LEAST]
    point, draws = _points(pairs, known, bootstrap, seed)
    low, high = percentiles(draws, confidence).T
    rates = [Rate(*values) for values in zip(point.tolist(), low.tolist(), high.tolist(), strict=True)]
    fmr, fnmr = (curve[0] for curve in _curves(pairs, np.ones((1, len(pairs.genuine)))))
    at = int(np.argmin(np.abs(fmr - fnmr)))
    told = dict(zip(known, rates[2:], strict=True))
    return Verification(
        int(pairs.genuine.sum()),
        int(pairs.impostor.sum()),
        auc=rates[0],
        eer=rates[1],
        threshold=float(pairs.similarity[::-1][max(at - 1, 0)]),
        fnmr={fmr: told.get(fmr, Rate(math.nan)) for fmr in false_matches},
        confidence=confidence,
        roc=(fmr, fnmr),
    )


def _points(pairs: Pairs, known: Sequence[float], bootstrap: int, seed: int) -> tuple[Floats, Floats]:
    """AUC, EER and FNMR of all subjects, (2 + F,), and of each resample, (B, 2 + F)."""
    generator = np.random.default_rng(seed)
    S = len(pairs.genuine)
    point = _judge(pairs, np.ones((1, S)), known)
    draws = (_judge(pairs, weights, known) for weights in resampled(generator, bootstrap if S > 1 else 0, S, _CHUNK))
    return point[0], np.concatenate([point[:0], *draws])


def _judge(pairs: Pairs, weights: Floats, known: Sequence[float]) -> Floats:
    """(B, 2 + F) for weights (B, S) of the subjects."""
    fmr, fnmr = _curves(pairs, weights)
    # trapezoids: pairs that tie at a step count half
    area = (np.diff(fmr, axis=1) * (2 - fnmr[:, 1:] - fnmr[:, :-1]) / 2).sum(axis=1)
    at = [_fnmr_at(fmr, fnmr, rate) for rate in known]
    return np.column_stack([area, _crossing(fmr, fnmr), *at])


def _curves(pairs: Pairs, weights: Floats) -> tuple[Floats, Floats]:
    """FMR and FNMR, both (B, 1 + T), from a threshold above all pairs downward."""
    matched = []
    for counts in (pairs.impostor, pairs.genuine):
        totals = np.cumsum((weights @ counts.astype(np.float64))[:, ::-1], axis=1)
        with np.errstate(invalid="ignore"):  # a resample without any pair is NaN
            shares = totals / totals[:, -1:]
        matched.append(np.concatenate([np.zeros((len(weights), 1)), shares], axis=1))
    return matched[0], 1 - matched[1]


def _crossing(fmr: Floats, fnmr: Floats) -> Floats:
    """(B,): where the straight lines between thresholds cross the diagonal FMR = FNMR."""
    over = np.argmax(fmr >= fnmr, axis=1)  # 1 or more: at the highest threshold FNMR is 1
    rows = np.arange(len(fmr))
    before, after = (fnmr - fmr)[rows, over - 1], (fmr - fnmr)[rows, over]
    with np.errstate(invalid="ignore"):
        share = before / (before + after)
    crossed: Floats = fmr[rows, over - 1] + share * (fmr[rows, over] - fmr[rows, over - 1])
    return crossed


def _fnmr_at(fmr: Floats, fnmr: Floats, rate: float) -> Floats:
    """(B,): FNMR at the lowest threshold whose FMR is not above rate."""
    last = (fmr <= rate).sum(axis=1) - 1
    found: Floats = np.where(last < 0, np.nan, fnmr[np.arange(len(fmr)), np.maximum(last, 0)])
    return found

"""How well probabilities of several findings agree with the truth, for people as a whole.

The official score of ODIR-2019 flattens the table of N people and L labels to NL yes-or-no
answers (docs/explanation/methods.md 3.7): Cohen's kappa, "F1" (micro-averaged over both classes, which is the share
of answers that are right), AUC, and their mean. Its F1 is high for a reader that always says no, so
the honest figures stand beside it: by label AUC, average precision, kappa, F1, sensitivity and
specificity, their means over the labels, the share of people with every label right, and how far
probabilities are from frequencies. Intervals are over subjects.

Letters: N rows, L labels, B resamples.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from foveola.metrics import probabilities
from foveola.metrics.estimates import percentiles, resampled
from foveola.metrics.metrics import Bools, Floats
from foveola.metrics.verification import Rate

ODIR = ("N", "D", "G", "C", "A", "H", "M", "O")
THRESHOLD = 0.5  # of the official score, strictly above
_CHUNK = 50  # resamples at a time

_Scored = Callable[[Floats, Bools, Floats], Floats]
_Answered = Callable[[Bools, Bools, Floats], Floats]
_SCORED: dict[str, _Scored] = {"AUC": probabilities.auc, "AP": probabilities.average_precision}
_ANSWERED: dict[str, _Answered] = {
    "kappa": probabilities.kappa,
    "F1": probabilities.f1,
    "sensitivity": probabilities.sensitivity,
    "specificity": probabilities.specificity,
}
BY_LABEL = (*_SCORED, *_ANSWERED)
OVERALL = (
    "final",
    "kappa",
    "F1 (official)",
    "AUC",
    "macro-AUC",
    "mAP",
    "macro-kappa",
    "macro-F1",
    "exact match",
    "ECE",
)


@dataclass(frozen=True)
class ReadingEvaluation:
    """Figures of a reader.

    Attributes:
        labels: names of the L labels.
        rows: people, or eyes, that were judged.
        overall: each of OVERALL with its interval.
        by_label: of each label, each of BY_LABEL with its interval; NaN where it is not defined.
        positive: rows that carry each label.
        baselines: the official figures and macro-F1 of readers that look at nothing: "all no",
            and "prevalence", which gives every row the frequencies.
        confidence: of the intervals.
    """

    labels: tuple[str, ...]
    rows: int
    overall: Mapping[str, Rate]
    by_label: Mapping[str, Mapping[str, Rate]]
    positive: Mapping[str, int]
    baselines: Mapping[str, Mapping[str, float]]
    confidence: float

    def to_dict(self) -> dict[str, object]:
        """Return plain types for json.dumps."""
        return {
            "rows": self.rows,
            "confidence": self.confidence,
            "overall": {name: rate.to_dict() for name, rate in self.overall.items()},
            "by_label": {
                label: {"positive": self.positive[label]} | {name: rate.to_dict() for name, rate in rates.items()}
                for label, rates in self.by_label.items()
            },
            "baselines": {name: dict(values) for name, values in self.baselines.items()},
        }


def official_score(truth: ArrayLike, probabilities: ArrayLike) -> dict[str, float]:
    """Compute the score of ODIR-2019: "kappa", "F1 (official)", "AUC" and "final", their mean.

    Args:
        truth: bool (N, L).
        probabilities: (N, L) in [0, 1]; an answer is yes strictly above 0.5.

    Raises:
        ValueError: shapes differ, or a probability is none.
    """
    known, chances = _checked(truth, probabilities)
    values = _official(known, chances, np.full(chances.shape[1], THRESHOLD), np.ones((1, len(known))))
    return {name: float(value[0]) for name, value in values.items()}


def evaluate_reading(
    truth: ArrayLike,
    probabilities: ArrayLike,
    *,
    labels: Sequence[str] = ODIR,
    thresholds: ArrayLike = THRESHOLD,
    subjects: ArrayLike | None = None,
    bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> ReadingEvaluation:
    """Judge a reader.

    Args:
        truth: bool (N, L).
        probabilities: (N, L) in [0, 1].
        labels: names of the labels.
        thresholds: one, or (L,), strictly above which an answer is yes. Choose them on other
            people than these (`choose_thresholds`).
        subjects: int (N,), equal for rows of one person; None if every row is a person.
        bootstrap: resamples of the subjects; 0 for no intervals.
        confidence: of the intervals.
        seed: of the random numbers.

    Raises:
        ValueError: shapes differ, or a probability or a threshold is none.
    """
    known, chances = _checked(truth, probabilities)
    if known.shape[1] != len(labels):
        raise ValueError(f"{len(labels)} names for {known.shape[1]} labels")
    limits = np.broadcast_to(np.asarray(thresholds, dtype=np.float64), (len(labels),))
    if np.isnan(limits).any():
        raise ValueError("a threshold is not a number; nothing would lie above it")
    of = np.unique(np.arange(len(known)) if subjects is None else np.asarray(subjects), return_inverse=True)[1]
    point = _figures(known, chances, limits, np.ones((1, len(known))))[0]
    people, generator = int(of.max()) + 1, np.random.default_rng(seed)
    weights = resampled(generator, bootstrap if people > 1 else 0, people, _CHUNK)
    draws = np.concatenate([point[None][:0], *(_figures(known, chances, limits, each[:, of]) for each in weights)])
    low, high = percentiles(draws, confidence).T if len(draws) else (np.full(len(point), np.nan),) * 2
    rates = [Rate(*each) for each in zip(point.tolist(), low.tolist(), high.tolist(), strict=True)]
    start = len(OVERALL)
    by_label = {
        label: dict(zip(BY_LABEL, rates[start + i :: len(labels)], strict=True)) for i, label in enumerate(labels)
    }
    return ReadingEvaluation(
        tuple(labels),
        len(known),
        dict(zip(OVERALL, rates[:start], strict=True)),
        by_label,
        dict(zip(labels, known.sum(axis=0).tolist(), strict=True)),
        _baselines(known, limits),
        confidence,
    )


def choose_thresholds(truth: ArrayLike, probabilities: ArrayLike) -> Floats:
    """Choose (L,) for each label the threshold with the best F1 of the positive class; 0.5 where none is positive.

    To be chosen on validation people. Halfway between two probabilities, so that it does not hang
    on one person's last digit.

    Args:
        truth: bool (N, L).
        probabilities: (N, L).
    """
    known, chances = _checked(truth, probabilities)
    chosen = np.full(known.shape[1], THRESHOLD)
    for label, (true, scores) in enumerate(zip(known.T, chances.T, strict=True)):
        values = np.unique(scores)
        cuts = np.concatenate([[values[0] / 2], (values[1:] + values[:-1]) / 2])
        if not true.any():
            continue
        said = scores[None] > cuts[:, None]
        hits = (said & true).sum(axis=1)
        chosen[label] = cuts[np.argmax(2 * hits / np.maximum(said.sum(axis=1) + true.sum(), 1))]
    return chosen


def _checked(truth: ArrayLike, probabilities: ArrayLike) -> tuple[Bools, Floats]:
    known, chances = np.asarray(truth, dtype=bool), np.asarray(probabilities, dtype=np.float64)
    if known.ndim != 2 or known.shape != chances.shape or not known.size:
        raise ValueError(f"expected truth and probabilities of one shape (N, L), got {known.shape} and {chances.shape}")
    if not ((chances >= 0) & (chances <= 1)).all():  # NaN is neither
        raise ValueError("a probability is not a number from 0 to 1")
    return known, chances


def _figures(truth: Bools, chances: Floats, limits: Floats, weights: Floats) -> Floats:
    """(B, F): those of OVERALL, then each of BY_LABEL for all labels."""
    answers = chances > limits
    tables = {}
    for name, scored in _SCORED.items():
        each = [scored(chances[:, i], truth[:, i], weights) for i in range(truth.shape[1])]
        tables[name] = np.stack(each, axis=1)
    for name, answered in _ANSWERED.items():
        each = [answered(answers[:, i], truth[:, i], weights) for i in range(truth.shape[1])]
        tables[name] = np.stack(each, axis=1)
    flat = np.repeat(weights, truth.shape[1], axis=1)
    right = weights @ (answers == truth).all(axis=1).astype(np.float64) / weights.sum(axis=1)
    overall = [
        *_official(truth, chances, limits, weights).values(),
        *(_known_mean(tables[name]) for name in ("AUC", "AP", "kappa", "F1")),
        right,
        probabilities.calibration_error(chances.ravel(), truth.ravel(), flat),
    ]
    return np.column_stack([*overall, *tables.values()])


def _official(truth: Bools, chances: Floats, limits: Floats, weights: Floats) -> dict[str, Floats]:
    answers, flat = (chances > limits).ravel(), np.repeat(weights, truth.shape[1], axis=1)
    kappa = probabilities.kappa(answers, truth.ravel(), flat)
    right = probabilities.accuracy(answers, truth.ravel(), flat)
    auc = probabilities.auc(chances.ravel(), truth.ravel(), flat)
    return {"final": (kappa + right + auc) / 3, "kappa": kappa, "F1 (official)": right, "AUC": auc}


def _known_mean(table: Floats) -> Floats:
    """(B,) mean over the labels for which the figure is defined."""
    known = ~np.isnan(table)
    counts = known.sum(axis=1)
    total = np.nan_to_num(table).sum(axis=1)
    return np.where(counts > 0, total / np.maximum(counts, 1), math.nan)


def _baselines(truth: Bools, limits: Floats) -> dict[str, dict[str, float]]:
    """What is reached without looking."""
    readers = {"all no": np.zeros(truth.shape), "prevalence": np.broadcast_to(truth.mean(axis=0), truth.shape)}
    named = ("final", "kappa", "F1 (official)", "AUC", "macro-F1")
    told = {}
    for name, chances in readers.items():
        figures = _figures(truth, np.asarray(chances), limits, np.ones((1, len(truth))))[0]
        told[name] = {key: float(figures[OVERALL.index(key)]) for key in named}
    return told

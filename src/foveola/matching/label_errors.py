"""Grades and findings that other people's cases speak against.

A label is judged by a classifier that has not seen the person: logistic regression on the
descriptors, for one tenth of the people at a time fitted to all others. A grade is ordinal, so
there is one question for each step (is it more than g?), and it is doubted where a grade two or
more steps away is likelier than itself: neighbouring grades are where graders differ. A finding
has lines of its own, those of confident learning (Northcutt et al., JAIR 2021): with t1 and t0 the
mean probability among the cases that carry it and those that do not, it is doubted at no more than
t0 and missed at t1 or more, and the order is by how far it lies from the usual, t1 - p or p - t0: a
finding that the classifier never recognises is not doubted for being rare. The nearest cases are
named beside, as what a person can look at.

Letters: N cases, K neighbours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveola.metrics.ranking import query_blocks, unit_rows
from foveola.records import Case
from foveola.relevance.linear import logistic

Vectors = NDArray[np.float32]
Unit = NDArray[np.float64]
Floats = NDArray[np.float64]

NEIGHBOURS = 15
_LEAST = 5  # cases that must carry a value, and must not, before it is judged
_FOLDS = 10
_PENALTY = 1e-4  # on the squared weights of unit descriptors, of the mean loss
_FAR = 2  # steps between grades that are more than a matter of opinion


@dataclass(frozen=True)
class Doubt:
    """A label that the neighbours speak against.

    Attributes:
        case: its place among the cases.
        column: "grade" or "findings".
        value: what is doubted ("grade 2") or missed.
        missing: whether the value is missed rather than doubted.
        probability: of the value, by the classifier that has not seen the person.
        instead: the likeliest value, for a grade.
        score: from 0 to 1, for the order within a column: of a grade how much likelier it is two
            or more steps away than right; of a finding how far it lies from what is usual.
        share: of the nearest cases of other people that carry the value.
        neighbours: places of these, best first.
    """

    case: int
    column: str
    value: str
    missing: bool
    probability: float
    instead: str
    score: float
    share: float
    neighbours: tuple[int, ...]


def doubts(descriptors: Vectors, cases: Sequence[Case], *, neighbours: int = NEIGHBOURS) -> list[Doubt]:
    """Find labels that disagree with those of other people, worst first.

    Args:
        descriptors: (N, D) of the similarity encoder; a row of zeros where there is none.
        cases: N.
        neighbours: K, of other people and with a label of that column.
    """
    unit = unit_rows(np.asarray(descriptors))
    found = _grades(unit, cases, neighbours) + _findings(unit, cases, neighbours)
    return sorted(found, key=lambda doubt: (-doubt.score, doubt.case, doubt.value))


def _grades(unit: Unit, cases: Sequence[Case], k: int) -> list[Doubt]:
    seen = _described(unit)
    rows = [i for i, case in enumerate(cases) if case.grade is not None and i in seen]
    grades = np.array([cases[i].grade for i in rows], dtype=np.int64)
    values, counts = np.unique(grades, return_counts=True)
    if (counts >= _LEAST).sum() < 2:
        return []
    more = np.stack([grades > value for value in values[:-1]], axis=1)
    chances = _of_steps(_out_of_fold(unit[rows], more, _people(cases, rows)))
    own = chances[np.arange(len(rows)), np.searchsorted(values, grades)]
    far = (chances * (np.abs(values - grades[:, None]) >= _FAR)).sum(axis=1)
    carried = np.stack([grades == value for value in values], axis=1)
    near, shares = _shares(unit, cases, rows, carried, k)
    found = []
    for r in np.flatnonzero(far > own).tolist():
        mine = int(np.searchsorted(values, grades[r]))
        found.append(
            Doubt(
                rows[r],
                "grade",
                f"grade {grades[r]}",
                False,
                float(own[r]),
                f"grade {values[chances[r].argmax()]}",
                float(far[r] - own[r]),
                float(shares[r, mine]),
                tuple(near[r]),
            )
        )
    return found


def _of_steps(more: Floats) -> Floats:
    """(N, G) probability of each grade from (N, G - 1) that it is more than each but the last."""
    edges = np.concatenate([np.ones((len(more), 1)), more, np.zeros((len(more), 1))], axis=1)
    steps = np.maximum(edges[:, :-1] - edges[:, 1:], 0)
    return np.asarray(steps / np.maximum(steps.sum(axis=1, keepdims=True), 1e-12))


def _findings(unit: Unit, cases: Sequence[Case], k: int) -> list[Doubt]:
    told: dict[str, set[str]] = {}
    for case in cases:
        told.setdefault(case.collection, set()).update(case.findings or ())
    seen = _described(unit)
    found = []
    for name in sorted(set().union(*told.values()) if told else ()):
        if name.startswith("quality:"):
            continue
        # a data set that never names a finding says nothing of it
        rows = [i for i, c in enumerate(cases) if c.findings is not None and name in told[c.collection] and i in seen]
        own = np.array([name in (cases[i].findings or ()) for i in rows], bool)
        if min(own.sum(), (~own).sum()) < _LEAST:
            continue
        chance = _out_of_fold(unit[rows], own[:, None], _people(cases, rows))[:, 0]
        usual, absent = float(chance[own].mean()), float(chance[~own].mean())
        doubted = np.where(own, chance <= absent, chance >= usual)
        near, shares = _shares(unit, cases, rows, own[:, None], k)
        for r in np.flatnonzero(doubted).tolist():
            has, p = bool(own[r]), float(chance[r])
            found.append(
                Doubt(
                    rows[r],
                    "findings",
                    name,
                    not has,
                    p,
                    "",
                    max(0.0, usual - p if has else p - absent),
                    float(shares[r, 0]),
                    tuple(near[r]),
                )
            )
    return found


def _described(unit: Unit) -> set[int]:
    """Places of cases that have a descriptor."""
    return set(np.flatnonzero((unit != 0).any(axis=1)).tolist())


def _people(cases: Sequence[Case], rows: Sequence[int]) -> NDArray[np.int64]:
    """(N,) a number for each person."""
    codes: dict[object, int] = {}
    return np.array([codes.setdefault(cases[i].identity, len(codes)) for i in rows])


def _out_of_fold(x: Unit, y: NDArray[np.bool_], people: NDArray[np.int64]) -> Floats:
    """(N, L) probabilities of L yes-or-no questions, each by classifiers without that person."""
    columns = np.column_stack([np.ones(len(x)), x]).astype(np.float64)
    penalty = np.r_[0.0, np.full(x.shape[1], _PENALTY)]
    chances = np.empty(y.shape)
    for fold in range(_FOLDS):
        asked = people % _FOLDS == fold
        for question in range(y.shape[1]):
            known = y[~asked, question].astype(np.float64)
            weights = logistic(columns[~asked], known, 1 / max(1, len(known)), penalty)
            odds = np.clip(columns[asked] @ weights, -50, 50)
            chances[asked, question] = 1 / (1 + np.exp(-odds))
    return chances


def _shares(
    every: Unit, cases: Sequence[Case], rows: Sequence[int], own: NDArray[np.bool_], k: int
) -> tuple[list[list[int]], Floats]:
    """Nearest cases of other people among rows, and the share of each value among them."""
    unit, people = every[list(rows)], _people(cases, rows)
    near: list[list[int]] = []
    shares = np.full(own.shape, np.nan)
    for part in query_blocks(len(rows), len(rows)):
        similar = unit[part] @ unit.T
        similar[people[part, None] == people] = -np.inf
        first = np.argsort(-similar, axis=1, kind="stable")[:, :k]
        for r, line in enumerate(first, start=part.start):
            kept = line[np.isfinite(similar[r - part.start, line])]
            near.append([rows[j] for j in kept])
            if len(kept):
                shares[r] = own[kept].mean(axis=0)
    return near, shares

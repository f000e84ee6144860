"""Made-up archives as arrays: descriptors of which some directions tell a label."""

import numpy as np

from foveola.relevance.labels import LabelTable
from foveola.relevance.order import FADE


def unit_rows(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def graded(count, *, dimension=16, values=3, shares=None, signal=1.5, each=2, seed=0):
    """Descriptors (N, D), a table of grades, and people who have `each` photographs.

    The photographs of a person share a grade, and are alike.
    """
    rng = np.random.default_rng(seed)
    people = np.arange(count) // each
    grade = rng.choice(values, people[-1] + 1, p=shares)
    centres = rng.normal(size=(values, dimension)) * signal
    own = rng.normal(size=(people[-1] + 1, dimension))
    x = centres[grade[people]] + own[people] + 0.5 * rng.normal(size=(count, dimension))
    return unit_rows(x), LabelTable.of("grade", [{str(g)} for g in grade[people]]), people


def found(count, *, dimension=16, values="ABC", signal=2.0, each=2, seed=0):
    """Likewise with findings, of which some photographs have none."""
    rng = np.random.default_rng(seed)
    people = np.arange(count) // each
    has = rng.random((people[-1] + 1, len(values))) < 0.3
    axes = rng.normal(size=(len(values), dimension)) * signal
    x = has[people] @ axes + rng.normal(size=(count, dimension))
    recorded = [{v for v, h in zip(values, row, strict=True) if h} for row in has[people]]
    return unit_rows(x), LabelTable.of("findings", recorded), people


def slow_spread(score, agreements, codes, share, count):
    """Positions of the first hits by the definition, for cases in order of their scores."""
    worth = {v: share * agreements[codes == v][0] for v in set(codes[codes >= 0].tolist())}
    chosen = []

    def lost(value):
        before = sum(codes[i] == value for i in chosen)
        return worth[value] * (1 - (1 - FADE) ** before)

    def now(i):
        if codes[i] >= 0:
            return score[i] - lost(codes[i])
        return score[i] - max((lost(v) for v in worth), default=0)

    for _ in range(min(len(codes), count)):
        left = [i for i in range(len(codes)) if i not in chosen]
        chosen.append(max(left, key=lambda i: (now(i), -i)))
    return chosen

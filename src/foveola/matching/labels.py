"""Grades and findings that disagree with the nearest cases.

Among the K nearest cases of other people, a share p carries a label value. Cases that carry it
themselves have a mean share t1, the others t0, so a value is doubted where it is carried at a
share of no more than t0 (it looks like the cases without it), and missed where it is not carried
at a share of t1 or more. Lines of each label's own are those of confident learning (Northcutt et
al., JAIR 2021); rare values are not doubted merely for being rare.

Letters: N cases, K neighbours, L label values.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveola.cases import Case
from foveola.evaluation.ranking import query_blocks, unit_rows

Vectors = NDArray[np.float32]
Floats = NDArray[np.float64]

NEIGHBOURS = 15
_LEAST = 5  # cases that a value needs before it is judged


@dataclass(frozen=True)
class Doubt:
    """A label that the neighbours speak against.

    Attributes:
        case: its place among the cases.
        column: "grade" or "findings".
        value: what is doubted ("grade 2") or missed.
        missing: whether the value is missed rather than doubted.
        share: of the neighbours that carry it.
        usual: mean share among cases that carry it, and among those that do not.
        instead: what the neighbours carry instead, for a grade.
        score: how far the share lies beyond its line, from 0 to 1.
        neighbours: places of the nearest, best first.
    """

    case: int
    column: str
    value: str
    missing: bool
    share: float
    usual: tuple[float, float]
    instead: str
    score: float
    neighbours: tuple[int, ...]


def doubts(
    descriptors: Vectors, cases: Sequence[Case], *, neighbours: int = NEIGHBOURS
) -> list[Doubt]:
    """Labels that disagree with those of the most similar cases, worst first.

    Args:
        descriptors: (N, D) of the similarity encoder.
        cases: N.
        neighbours: K, of other people and with a label of that column.
    """
    found = _grades(descriptors, cases, neighbours) + _findings(descriptors, cases, neighbours)
    return sorted(found, key=lambda doubt: (-doubt.score, doubt.case, doubt.value))


def _grades(descriptors: Vectors, cases: Sequence[Case], k: int) -> list[Doubt]:
    rows = [i for i, case in enumerate(cases) if case.grade is not None]
    values = [f"grade {cases[i].grade}" for i in rows]
    names = sorted(set(values))
    own = np.array([[value == name for name in names] for value in values], bool)
    own = own.reshape(len(rows), len(names))
    near, shares = _shares(descriptors, cases, rows, own, k)
    carried, absent = _usual(shares, own)
    found = []
    for r, mine in enumerate(own.argmax(axis=1)) if names else ():
        likely = np.where(own[r], -np.inf, shares[r] - carried)
        other = int(likely.argmax())
        beyond = absent[mine] - shares[r, mine]
        if beyond >= 0 and likely[other] >= 0:  # unlike its own grade, and like another
            found.append(Doubt(
                rows[r], "grade", names[mine], False, float(shares[r, mine]),
                (float(carried[mine]), float(absent[mine])), names[other],
                float(shares[r, other] - shares[r, mine]), tuple(near[r]),
            ))  # fmt: skip
    return found


def _findings(descriptors: Vectors, cases: Sequence[Case], k: int) -> list[Doubt]:
    told: dict[str, set[str]] = {}
    for case in cases:
        told.setdefault(case.collection, set()).update(case.findings or ())
    found = []
    for name in sorted(set().union(*told.values()) if told else ()):
        if name.startswith("quality:"):
            continue
        # a data set that never names a finding says nothing of it
        rows = [i for i, c in enumerate(cases)
                if c.findings is not None and name in told[c.collection]]  # fmt: skip
        own = np.array([[name in (cases[i].findings or ())] for i in rows], bool).reshape(-1, 1)
        if min(own.sum(), (~own).sum()) < _LEAST:
            continue
        near, shares = _shares(descriptors, cases, rows, own, k)
        carried, absent = _usual(shares, own)
        for r, (has, share) in enumerate(zip(own[:, 0], shares[:, 0], strict=True)):
            beyond = absent[0] - share if has else share - carried[0]
            if beyond >= 0:
                found.append(Doubt(
                    rows[r], "findings", name, not has, float(share),
                    (float(carried[0]), float(absent[0])), "",
                    float(1 - share if has else share), tuple(near[r]),
                ))  # fmt: skip
    return found


def _shares(
    descriptors: Vectors, cases: Sequence[Case], rows: Sequence[int], own: NDArray[np.bool_], k: int
) -> tuple[list[list[int]], Floats]:
    """Nearest cases of other people among rows, and the share of each value among them."""
    unit = unit_rows(np.asarray(descriptors)[list(rows)])
    codes: dict[object, int] = {}
    people = np.array([codes.setdefault(cases[i].identity, len(codes)) for i in rows])
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


def _usual(shares: Floats, own: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """(L,) mean share of each value among cases that carry it, and among those that do not.

    Infinite where too few do or do not, so that nothing is judged by them.
    """
    known = ~np.isnan(shares)
    lines = []
    for of, unknown in ((own, np.inf), (~own, -np.inf)):
        counted = (of & known).sum(axis=0)
        total = np.where(of & known, shares, 0).sum(axis=0)
        mean = np.divide(total, counted, out=np.zeros(len(counted)), where=counted > 0)
        lines.append(np.where(counted >= _LEAST, mean, unknown))
    return lines[0], lines[1]

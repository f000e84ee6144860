"""Photographs of one person at one visit, left eye and right, with what was found in them.

What a person is known to have: the column `subject_findings` where the manifest has one (the
official labels of ODIR), else what either eye has; "N", normal, only where both have nothing else.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveola.records import Case, Eye

LEFT, RIGHT = 0, 1
NORMAL = "N"
PERSON = "subject_findings"  # the column, where there is one
EYES: tuple[Eye, Eye] = ("left", "right")


@dataclass(frozen=True, eq=False)
class People:
    """P people, each at one visit.

    Attributes:
        photographs: int (P, 2), places of the left and the right photograph; -1 where there is
            none.
        truth: float32 (P, L), 1 or 0, NaN where nobody looked.
        eyes: float32 (P, 2, L), likewise of each eye.
        identities: of the P people; the same person may come at several visits.
        labels: the L names.
    """

    photographs: NDArray[np.int64]
    truth: NDArray[np.float32]
    eyes: NDArray[np.float32]
    identities: tuple[tuple[str, str], ...]
    labels: tuple[str, ...]

    @property
    def present(self) -> NDArray[np.bool_]:
        """Return (P, 2) which photographs there are."""
        return self.photographs >= 0

    def of(self, rows: NDArray[np.int64]) -> "People":
        """Return some of the people."""
        return People(
            self.photographs[rows],
            self.truth[rows],
            self.eyes[rows],
            tuple(self.identities[i] for i in rows),
            self.labels,
        )


def people_of(cases: Sequence[Case], labels: Sequence[str]) -> People:
    """Pair photographs by person and visit; of several of one eye the first counts.

    A photograph whose eye is not known is left out.

    Args:
        cases: photographs.
        labels: what is read, in this order.
    """
    pairs = pair_eyes(((case.identity, case.visit), case.eye) for case in cases)
    eyes = np.full((len(pairs), 2, len(labels)), np.nan, np.float32)
    truth = np.full((len(pairs), len(labels)), np.nan, np.float32)
    for row, pair in enumerate(pairs.tolist()):
        found = [cases[i] for i in pair if i >= 0]
        for side, i in enumerate(pair):
            if i >= 0 and cases[i].findings is not None:
                eyes[row, side] = _marked(cases[i].findings or frozenset(), labels)
        known = findings_of(found)
        if known is not None:
            truth[row] = _marked(known, labels)
    firsts = [cases[max(pair)].identity for pair in pairs]
    return People(pairs, truth, eyes, tuple(firsts), tuple(labels))


def pair_eyes(shown: Iterable[tuple[Hashable, Eye | None]]) -> NDArray[np.int64]:
    """Return places of left and right photographs (P, 2), people in order of appearance; -1 is none.

    Args:
        shown: of each photograph what those of one person at one visit share, and the eye.

    >>> pair_eyes([("ann", "left"), ("ben", "right"), ("ann", "right")]).tolist()
    [[0, 2], [-1, 1]]
    """
    people: dict[Hashable, list[int]] = {}
    for i, (key, eye) in enumerate(shown):
        if eye is not None:
            pair = people.setdefault(key, [-1, -1])
            side = EYES.index(eye)
            pair[side] = i if pair[side] < 0 else pair[side]
    return np.array(list(people.values()), dtype=np.int64).reshape(-1, 2)


def findings_of(photographs: Sequence[Case]) -> frozenset[str] | None:
    """Return what the person on these photographs has; None where nobody looked at one of them."""
    for case in photographs:
        told = case.extra.get(PERSON)
        if told is not None:
            return frozenset(part.strip() for part in str(told).split(";") if part.strip())
    if any(case.findings is None for case in photographs):
        return None
    every = frozenset[str]().union(*(case.findings or () for case in photographs))
    return every - {NORMAL} or every


def grade_of(photographs: Sequence[Case]) -> int | None:
    """Return the worst grade that is known of the eyes of a person; None where none is."""
    return max((case.grade for case in photographs if case.grade is not None), default=None)


def _marked(found: frozenset[str], labels: Sequence[str]) -> NDArray[np.float32]:
    return np.array([label in found for label in labels], dtype=np.float32)

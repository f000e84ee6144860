"""Photographs of one person at one visit, left eye and right, with what was found in them.

What a person is known to have: the column `subject_findings` where the manifest has one (the
official labels of ODIR), else what either eye has; "N", normal, only where both have nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveola.cases import Case

LEFT, RIGHT = 0, 1
NORMAL = "N"
PERSON = "subject_findings"  # the column, where there is one
_EYES = ("left", "right")


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
        """(P, 2) which photographs there are."""
        return self.photographs >= 0

    def of(self, rows: NDArray[np.int64]) -> "People":
        """Some of them."""
        return People(
            self.photographs[rows], self.truth[rows], self.eyes[rows],
            tuple(self.identities[i] for i in rows), self.labels,
        )  # fmt: skip


def people_of(cases: Sequence[Case], labels: Sequence[str]) -> People:
    """Pair photographs by person and visit; of several of one eye the first counts.

    A photograph whose eye is not known is left out.

    Args:
        cases: photographs.
        labels: what is read, in this order.
    """
    visits: dict[tuple[object, object], list[int]] = {}
    for i, case in enumerate(cases):
        if case.eye is not None:
            pair = visits.setdefault((case.identity, case.visit), [-1, -1])
            side = _EYES.index(case.eye)
            pair[side] = i if pair[side] < 0 else pair[side]
    pairs = np.array(list(visits.values()), dtype=np.int64).reshape(-1, 2)
    eyes = np.full((len(pairs), 2, len(labels)), np.nan, np.float32)
    truth = np.full((len(pairs), len(labels)), np.nan, np.float32)
    for row, pair in enumerate(pairs.tolist()):
        found = [cases[i] for i in pair if i >= 0]
        for side, i in enumerate(pair):
            if i >= 0 and cases[i].findings is not None:
                eyes[row, side] = _marked(cases[i].findings or frozenset(), labels)
        known = _of_person(found)
        if known is not None:
            truth[row] = _marked(known, labels)
    firsts = [cases[max(pair)].identity for pair in pairs]
    return People(pairs, truth, eyes, tuple(firsts), tuple(labels))


def _of_person(found: Sequence[Case]) -> frozenset[str] | None:
    """What the person has, None where nobody looked at an eye."""
    for case in found:
        told = case.extra.get(PERSON)
        if told is not None:
            return frozenset(part.strip() for part in str(told).split(";") if part.strip())
    if any(case.findings is None for case in found):
        return None
    every = frozenset[str]().union(*(case.findings or () for case in found))
    return every - {NORMAL} or every


def _marked(found: frozenset[str], labels: Sequence[str]) -> NDArray[np.float32]:
    return np.array([label in found for label in labels], dtype=np.float32)

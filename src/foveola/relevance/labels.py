"""The labels that an archive records, as an array.

Shapes: N cases, K label values.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveola.relevance.linear import Link

Bools = NDArray[np.bool_]
Ids = NDArray[np.int64]

GRADE, FINDINGS = "grade", "findings"
MOST_VALUES = 50  # of a column; one with more names cases, and is no label


@dataclass(frozen=True, eq=False)
class LabelTable:
    """What is recorded of N cases under one label.

    Attributes:
        label: "grade", "findings", or the name of a further column.
        values: K words, in order.
        members: bool (N, K), which values a case has.
        known: bool (N,), whether anything is recorded; a case whose findings are known to be none
            is known and has no value.
    """

    label: str
    values: tuple[str, ...]
    members: Bools
    known: Bools

    @property
    def link(self) -> Link:
        """Whether a case has one value (softmax), or any number of them (sigmoid)."""
        return "sigmoid" if self.label == FINDINGS else "softmax"

    @classmethod
    def of(cls, label: str, recorded: Sequence[Collection[str] | None]) -> "LabelTable":
        """Make a table of N sets of values, None where nothing is recorded."""
        values = tuple(sorted({value for each in recorded for value in each or ()}))
        at = {value: i for i, value in enumerate(values)}
        members = np.zeros((len(recorded), len(values)), bool)
        pairs = [(i, at[value]) for i, each in enumerate(recorded) for value in each or ()]
        members[tuple(np.array(pairs, np.int64).reshape(-1, 2).T)] = True
        return cls(label, values, members, np.array([r is not None for r in recorded], bool))

    def rows(self, chosen: Ids | Bools) -> "LabelTable":
        """Return the table of some of the cases, with the same values."""
        return LabelTable(self.label, self.values, self.members[chosen], self.known[chosen])

    def of_values(self, values: Sequence[str]) -> "LabelTable":
        """Return the table with these values in this order; one that no case has stays empty.

        Of a label with one value a case, a case whose value is not among them becomes unknown.
        """
        members = np.zeros((len(self.members), len(values)), bool)
        for i, value in enumerate(values):
            if value in self.values:
                members[:, i] = self.members[:, self.values.index(value)]
        known = self.known & members.any(axis=1) if self.link == "softmax" else self.known
        return LabelTable(self.label, tuple(values), members, known)


def codes_of(identities: Sequence[object]) -> Ids:
    """Return (N,) numbers in order of first appearance, equal where identities are."""
    codes: dict[object, int] = {}
    return np.array([codes.setdefault(each, len(codes)) for each in identities], np.int64)

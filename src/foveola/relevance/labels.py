"""The labels that an archive records, or a caller gives, as an array.

Shapes: N cases, K label values.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from foveola.records import is_missing, known_identifier
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
        """Return whether a case has one value (softmax), or any number of them (sigmoid)."""
        return "sigmoid" if self.label == FINDINGS else "softmax"

    @classmethod
    def of(cls, label: str, recorded: Sequence[Collection[str] | None]) -> Self:
        """Make a table of N sets of values, None where nothing is recorded."""
        values = tuple(sorted({value for each in recorded for value in each or ()}))
        at = {value: i for i, value in enumerate(values)}
        members = np.zeros((len(recorded), len(values)), bool)
        pairs = [(i, at[value]) for i, each in enumerate(recorded) for value in each or ()]
        members[tuple(np.array(pairs, np.int64).reshape(-1, 2).T)] = True
        return cls(label, values, members, np.array([r is not None for r in recorded], bool))

    @classmethod
    def of_any(cls, labels: Any, label: str | None = None) -> Self:
        """Make a table of labels of any type.

        Args:
            labels: N values: text, numbers, anything with a text of its own; None, NaN or "" is
                unknown. A set, list or tuple is several values of one case, as findings are, and an
                empty one is known to be none. Or bool (N, K), or 0 and 1, whose columns are the
                values; those of a DataFrame have names.
            label: what the labels are; None is "findings" where a case may have several values,
                else "label".

        Raises:
            ValueError: an array is of another shape, grades are no numbers, or a label is given
                several values that has one.

        >>> table = LabelTable.of_any([2, "2", None, 0.0])
        >>> table.values, table.known.tolist()
        (('0', '2'), [True, True, False, True])
        """
        several, recorded = _value_sets(labels)
        name = label or (FINDINGS if several else "label")
        if several and name != FINDINGS and any(len(each or ()) > 1 for each in recorded):
            raise ValueError(f"some cases have several values, which only {FINDINGS!r} has; label is {label!r}")
        table = cls.of(name, recorded)
        if name == GRADE and not all(value.isdecimal() for value in table.values):
            raise ValueError(f"grades are numbers, got {', '.join(table.values)}")
        return table

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


def word_of(value: Any) -> str | None:
    """Return a label or a name as text, the same for 2, 2.0 and "2"; None where it is unknown."""
    if isinstance(value, str):
        return str(value) or None  # "none" and "NA" are words, too
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    text = str(value)
    return None if is_missing(text) else text


def people_of_groups(groups: Iterable[Any] | None, count: int, role: str) -> list[tuple[str, str | int]]:
    """Return what photographs of one person share; one of nobody known is of a person of its own.

    Args:
        groups: N names or numbers of people, None or NaN where unknown; None knows of nobody.
        count: N.
        role: what the photographs are, so that nobody known of two roles is not one person.

    Raises:
        ValueError: there are more or fewer.
    """
    given = [None] * count if groups is None else groups
    names = [known_identifier(word_of(each)) for each in given]
    if len(names) != count:
        raise ValueError(f"expected {count} groups, one for each vector, got {len(names)}")
    return [(role, i) if name is None else ("group", name) for i, name in enumerate(names)]


def _value_sets(labels: Any) -> tuple[bool, list[frozenset[str] | None]]:
    """Whether cases may have several values, and those of each; None where they are unknown."""
    if isinstance(labels, str | bytes):
        raise ValueError(f"labels are one text, {labels!r}; expected N of them")
    if getattr(labels, "ndim", 1) != 1:
        return True, _of_columns(np.asarray(labels), getattr(labels, "columns", None))
    values = list(labels)
    several = [isinstance(v, set | frozenset | list | tuple | np.ndarray) for v in values]
    sets = [
        frozenset(word for each in value if (word := word_of(each)) is not None)
        if many
        else None
        if (word := word_of(value)) is None
        else frozenset({word})
        for value, many in zip(values, several, strict=True)
    ]
    return any(several), sets


def _of_columns(members: NDArray[Any], names: Iterable[Any] | None) -> list[frozenset[str] | None]:
    if members.ndim != 2 or not np.isin(members, (0, 1)).all():
        raise ValueError(f"expected labels (N,), or (N, K) of True and False, got {members.shape} {members.dtype}")
    words = list(map(str, range(members.shape[1]) if names is None else names))
    return [frozenset(words[k] for k in np.flatnonzero(row)) for row in members.astype(bool)]

"""What an evaluation is given: images with what is true of them, and how it is to be done.

Letters: N images of a side, D width of a descriptor, L label values.
"""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveola.errors import FoveolaError
from foveola.metrics.metrics import Bools
from foveola.records import Case

Exclude = Literal["subject", "eye", "visit", "none"]
WHOLE = ("mAP", "mAP@R", "R-precision", "MRR")  # of whole rankings
AT_K = ("mHR@{}", "hit@{}", "mAP@{}", "mAP@{} per hit", "nDCG@{}")
_FIELDS = ("eye", "visit", "grade", "collection")
_MOST_VALUES = 12  # numbers of more values are split in bands


def metric_names(ks: tuple[int, ...]) -> list[str]:
    """Return the names of the metrics, in the order of their columns."""
    return [*(name.format(k) for name in AT_K for k in ks), *WHOLE]


@dataclass(frozen=True)
class Settings:
    """How it was evaluated; see `foveola.metrics.evaluate_retrieval`.

    Raises:
        ValueError: a setting is out of range.
    """

    ks: tuple[int, ...]
    exclude: Exclude
    leave_one_out: bool
    bootstrap: int
    confidence: float
    seed: int

    def __post_init__(self) -> None:
        if not self.ks or min(self.ks) < 1:
            raise ValueError(f"ks must be at least 1, got {self.ks}")
        if self.exclude not in get_args(Exclude):
            raise ValueError(f"exclude is {self.exclude!r}; expected {', '.join(get_args(Exclude))}")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence must lie between 0 and 1, got {self.confidence}")
        if self.bootstrap < 0:
            raise ValueError(f"bootstrap must not be negative, got {self.bootstrap}")


@dataclass(frozen=True, eq=False)
class RetrievalData:
    """Images that ask or are ranked: what the encoder made of them and what is true.

    Attributes:
        descriptors: float32 (N, D), finite, no row of zeros; length is divided out.
        labels: int (N,), a code into `label_names` with -1 for unlabelled, or bool (N, L),
            the label values an image has, with a row of False for an image without any.
        identities: N hashables, equal for images of one person.
        label_names: L words; by default the numbers 0 to L-1.
        label: what the label is, "grade" or "findings", for tables.
        eyes, visits: N hashables, None where unknown; needed to leave out the same eye or visit
            alone.
        columns: by name, N values by which results are split, None where unknown.

    Raises:
        ValueError: shapes do not fit, or a descriptor has no direction.
    """

    descriptors: NDArray[np.float32]
    labels: NDArray[np.int64] | Bools
    identities: Sequence[Hashable]
    label_names: tuple[str, ...] = ()
    label: str = "label"
    eyes: Sequence[Hashable] | None = None
    visits: Sequence[Hashable] | None = None
    columns: Mapping[str, Sequence[Hashable]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows = np.asarray(self.descriptors, dtype=np.float32)
        members = _indicator(np.asarray(self.labels), len(self.label_names))
        if rows.ndim != 2 or not len(rows) == len(members) == len(self.identities):
            raise ValueError(
                f"expected descriptors (N, D), labels (N,) or (N, L) and N identities, got "
                f"{rows.shape}, {np.shape(self.labels)} and {len(self.identities)}"
            )
        for name, values in self._further().items():
            if len(values) != len(rows):
                raise ValueError(f"expected {len(rows)} {name}, got {len(values)}")
        check_directions(rows)
        names = self.label_names or tuple(str(i) for i in range(members.shape[1]))
        if len(names) != members.shape[1] or len(set(names)) != len(names):
            raise ValueError(f"expected {members.shape[1]} different label names, got {names}")
        object.__setattr__(self, "descriptors", rows)
        object.__setattr__(self, "labels", members)
        object.__setattr__(self, "label_names", tuple(names))

    @classmethod
    def from_cases(
        cls, descriptors: ArrayLike, cases: Iterable[Case], label: str, by: Sequence[str] = ()
    ) -> "RetrievalData":
        """Take labels and identities from cases, row i of the descriptors being case i.

        Args:
            descriptors: float32 (N, D).
            cases: N cases.
            label: "grade", "findings" or a further column of the manifest. An image
                without it, and one whose set of findings is empty, is unlabelled.
            by: columns by which results are split: eye, visit, grade, collection, or further
                ones of the manifest.

        Raises:
            FoveolaError: no case has such a column.
        """
        records = list(cases)
        values = [_label_values(case, label) for case in records]
        names = tuple(sorted(set().union(*values)))
        column = {name: i for i, name in enumerate(names)}
        members = np.zeros((len(records), len(names)), dtype=bool)
        for row, found in enumerate(values):
            members[row, [column[value] for value in found]] = True
        return cls(
            np.asarray(descriptors, np.float32),
            members,
            [case.identity for case in records],
            names,
            label,
            eyes=[case.eye for case in records],
            visits=[case.visit for case in records],
            columns={name: _column(records, name) for name in by},
        )

    def labelled_rows(self) -> NDArray[np.int64]:
        """Return the positions of the images that have at least one label value, rising."""
        return np.flatnonzero(self.labels.any(axis=1))

    def labelled(self) -> "RetrievalData":
        """Return the images that have at least one label value."""
        keep = self.labelled_rows().tolist()
        further: dict[str, Any] = {
            name: [values[i] for i in keep] for name, values in self._further(columns=False).items()
        }
        return replace(
            self,
            descriptors=self.descriptors[keep],
            labels=self.labels[keep],
            columns={name: [values[i] for i in keep] for name, values in self.columns.items()},
            **further,
        )

    def _further(self, *, columns: bool = True) -> dict[str, Sequence[Hashable]]:
        given: dict[str, Sequence[Hashable]] = {"identities": self.identities}
        given |= {name: of for name in ("eyes", "visits") if (of := getattr(self, name)) is not None}
        return given | (dict(self.columns) if columns else {})


def known_columns(cases: Sequence[Case], names: Iterable[str]) -> list[str]:
    """Return the names for which some case has a value, as `RetrievalData.from_cases` needs."""
    return [name for name in names if any(v not in (None, "") for v in _values(cases, name))]


def _indicator(labels: NDArray[np.generic], width: int) -> Bools:
    """Codes (N,) or indicators (N, L) -> bool (N, L)."""
    if labels.ndim == 2 and labels.dtype == bool:
        return labels.astype(bool)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"expected labels int (N,) or bool (N, L), got {labels.dtype} {labels.shape}")
    codes = labels.astype(np.int64)
    width = width or int(codes.max(initial=-1)) + 1
    if codes.min(initial=0) < -1 or codes.max(initial=-1) >= width:
        raise ValueError(f"expected label codes from -1 to {width - 1}, found others")
    return np.asarray(codes[:, None] == np.arange(width))


def check_directions(descriptors: NDArray[np.float32]) -> None:
    """Raise a ValueError where a row (N, D) is not finite or all zero."""
    bad = np.flatnonzero(~np.isfinite(descriptors).all(axis=1))
    if len(bad):
        raise ValueError(f"{len(bad)} descriptors hold NaN or infinity, the first in row {bad[0]}")
    zero = np.flatnonzero(~descriptors.any(axis=1))
    if len(zero):
        raise ValueError(f"{len(zero)} descriptors are all zero, the first in row {zero[0]}")


def _label_values(case: Case, label: str) -> frozenset[str]:
    if label == "findings":
        return case.findings or frozenset()
    value = case.grade if label == "grade" else case.extra.get(label)
    return frozenset() if value in (None, "") else frozenset({str(value)})


def _column(cases: Sequence[Case], name: str) -> list[Hashable]:
    """Values of a column; ages and other numbers of many values in bands of ten."""
    values = _values(cases, name)
    known = {value for value in values if value not in (None, "")}
    if not known:
        raise FoveolaError(f"no image has a column {name!r} with a value; see `foveola info`")
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in known)
    if numbers and len(known) > _MOST_VALUES:
        return [None if v in (None, "") else _band(v) for v in values]
    return [None if v in (None, "") else str(v) for v in values]


def _values(cases: Sequence[Case], name: str) -> list[Any]:
    return [getattr(case, name) if name in _FIELDS else case.extra.get(name) for case in cases]


def _band(value: float) -> str:
    low = 10 * math.floor(value / 10)
    return f"{low}-{low + 9}"

"""How a descriptor is judged: which images are asked, what is ranked, what counts as right.

    side = Side.from_cases(descriptors, cases, label="grade")
    print(evaluate(side).to_text())

Letters: N images of a side, D width of a descriptor, L label values.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveola.cases import Case
from foveola.errors import FoveolaError
from foveola.evaluation import metrics
from foveola.evaluation.metrics import Bools, Floats
from foveola.evaluation.ranking import cosines, query_blocks, rank_relevance
from foveola.evaluation.result import Evaluation, Metric, Settings
from foveola.evaluation.uncertainty import means, subject_bootstrap

DEFAULT_KS = (1, 5, 10, 20, 50)


@dataclass(frozen=True, eq=False)
class Side:
    """Images that ask or are ranked: what the encoder made of them and what is true.

    Attributes:
        descriptors: float32 (N, D), finite, no row of zeros; length is divided out.
        labels: int (N,), a code into `label_names` with -1 for unlabelled, or bool (N, L),
            the label values an image has, with a row of False for an image without any.
        identities: N hashables, equal for images of one person.
        label_names: L words; by default the numbers 0 to L-1.
        label: what the label is, "grade" or "findings", for tables.

    Raises:
        ValueError: shapes do not fit, or a descriptor has no direction.
    """

    descriptors: NDArray[np.float32]
    labels: NDArray[np.int64] | Bools
    identities: Sequence[Hashable]
    label_names: tuple[str, ...] = ()
    label: str = "label"

    def __post_init__(self) -> None:
        rows = np.asarray(self.descriptors, dtype=np.float32)
        members = _indicator(np.asarray(self.labels), len(self.label_names))
        if rows.ndim != 2 or not len(rows) == len(members) == len(self.identities):
            raise ValueError(
                f"expected descriptors (N, D), labels (N,) or (N, L) and N identities, got "
                f"{rows.shape}, {np.shape(self.labels)} and {len(self.identities)}"
            )
        _check_directions(rows)
        names = self.label_names or tuple(str(i) for i in range(members.shape[1]))
        if len(names) != members.shape[1] or len(set(names)) != len(names):
            raise ValueError(f"expected {members.shape[1]} different label names, got {names}")
        object.__setattr__(self, "descriptors", rows)
        object.__setattr__(self, "labels", members)
        object.__setattr__(self, "label_names", tuple(names))

    @classmethod
    def from_cases(cls, descriptors: ArrayLike, cases: Iterable[Case], label: str) -> "Side":
        """Labels and identities from cases, row i of the descriptors being case i.

        Args:
            descriptors: float32 (N, D).
            cases: N cases.
            label: "grade", "findings" or a further column of the manifest. An image
                without it, and one whose set of findings is empty, is unlabelled.
        """
        records = list(cases)
        values = [_label_values(case, label) for case in records]
        names = tuple(sorted(set().union(*values)))
        column = {name: i for i, name in enumerate(names)}
        members = np.zeros((len(records), len(names)), dtype=bool)
        for row, found in enumerate(values):
            members[row, [column[value] for value in found]] = True
        identities = [case.identity for case in records]
        return cls(np.asarray(descriptors, np.float32), members, identities, names, label)

    def labelled(self) -> "Side":
        """The images that have at least one label value."""
        keep = np.flatnonzero(self.labels.any(axis=1))
        return replace(
            self,
            descriptors=self.descriptors[keep],
            labels=self.labels[keep],
            identities=[self.identities[i] for i in keep.tolist()],
        )


def evaluate(
    queries: Side,
    gallery: Side | None = None,
    *,
    ks: Sequence[int] = DEFAULT_KS,
    exclude_same_subject: bool = True,
    bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    block: int | None = None,
) -> Evaluation:
    """Rank the gallery for each query by cosine and judge the rankings.

    A gallery image is relevant when it shares at least one label value with the query.
    Unlabelled images are neither asked nor ranked. A query whose gallery holds no relevant
    image counts 0 in HR@K and AP@K, as in the authors' definition, and is left out of
    mAP@R. Equal cosines keep the order of the gallery. Time grows with Q N (D + log N);
    memory stays at about 150 MB beside the descriptors.

    Args:
        queries: the images that ask.
        gallery: the images that are ranked; None asks each query against all others.
        ks: ranks to look at.
        exclude_same_subject: leave a query's own subject out of its ranking. A query is
            never ranked against itself when gallery is None.
        bootstrap: resamples of the subjects for the intervals; 0 for none.
        confidence: of the intervals, between 0 and 1.
        seed: of the bootstrap.
        block: queries at a time; chosen by memory when None. It does not change results.

    Raises:
        FoveolaError: no query or no gallery image has a label.
        ValueError: the sides do not fit each other, or an argument is out of range.
    """
    settings = Settings(
        ks=tuple(sorted(set(ks))),
        exclude_same_subject=exclude_same_subject,
        leave_one_out=gallery is None,
        bootstrap=bootstrap,
        confidence=confidence,
        seed=seed,
    )
    asked, ranked = _labelled_sides(queries, gallery)
    table = _judge(asked, ranked, settings, block)
    return Evaluation(
        label=queries.label,
        queries=len(asked.identities),
        gallery=len(ranked.identities),
        unlabelled_queries=len(queries.identities) - len(asked.identities),
        unlabelled_gallery=len((gallery or queries).identities) - len(ranked.identities),
        excluded_pairs=int(table.excluded.sum()),
        queries_with_exclusions=int(np.count_nonzero(table.excluded)),
        queries_without_relevant=int(np.count_nonzero(table.relevant == 0)),
        settings=settings,
        metrics=_summarise(table, asked, settings),
    )


@dataclass(frozen=True, eq=False)
class _Table:
    """What was found for each query; (Q, M) for M metrics, (Q,) for counts."""

    values: Floats
    chance: Floats
    subjects: NDArray[np.int64]
    relevant: NDArray[np.int64]
    excluded: NDArray[np.int64]


def _judge(asked: Side, ranked: Side, settings: Settings, block: int | None) -> _Table:
    subjects, gallery_subjects = _shared_codes(asked.identities, ranked.identities)
    gallery_labels = ranked.labels.T.astype(np.float32)
    Q, N = len(subjects), len(gallery_subjects)
    values, relevant, counted, excluded = [], [], [], []
    for part in query_blocks(Q, N, block):
        own = np.zeros((part.stop - part.start, N), dtype=bool)
        if settings.leave_one_out:
            own[np.arange(len(own)), np.arange(part.start, part.stop)] = True
        out = own.copy()
        if settings.exclude_same_subject:
            out |= subjects[part, None] == gallery_subjects
        right = (asked.labels[part].astype(np.float32) @ gallery_labels > 0) & ~out
        similarity = cosines(asked.descriptors[part], ranked.descriptors)
        ranks = rank_relevance(similarity, right, out)
        relevant.append(right.sum(axis=1))
        counted.append(N - out.sum(axis=1))
        excluded.append((out & ~own).sum(axis=1))
        values.append(_measure(ranks, relevant[-1], settings.ks))
    R, left = np.concatenate(relevant), np.concatenate(counted)
    chance = _expect(R, left, settings.ks)
    return _Table(np.concatenate(values), chance, subjects, R, np.concatenate(excluded))


def _measure(ranks: Bools, relevant: NDArray[np.int64], ks: tuple[int, ...]) -> Floats:
    columns = [metrics.hit_ratio(ranks, k) for k in ks]
    columns += [metrics.average_precision_author(ranks, k) for k in ks]
    return np.column_stack([*columns, metrics.average_precision_at_r(ranks, relevant)])


def _expect(relevant: NDArray[np.int64], ranked: NDArray[np.int64], ks: tuple[int, ...]) -> Floats:
    columns = [metrics.expected_hit_ratio(relevant, ranked, k) for k in ks]
    columns += [metrics.expected_average_precision_author(relevant, ranked, k) for k in ks]
    last = metrics.expected_average_precision_at_r(relevant, ranked)
    return np.column_stack([*columns, last])


def _metric_names(ks: tuple[int, ...]) -> list[str]:
    """In the order of the columns of `_measure` and `_expect`."""
    return [*(f"mHR@{k}" for k in ks), *(f"mAP@{k}" for k in ks), "mAP@R"]


def _summarise(table: _Table, asked: Side, settings: Settings) -> dict[str, Metric]:
    members = np.asarray(asked.labels, dtype=bool)
    value, chance = means(table.values, members), means(table.chance, members)
    interval = subject_bootstrap(
        table.values,
        members,
        table.subjects,
        resamples=settings.bootstrap,
        confidence=settings.confidence,
        seed=settings.seed,
    )
    result = {}
    for m, name in enumerate(_metric_names(settings.ks)):
        known = ~np.isnan(table.values[:, m])
        result[name] = Metric.from_means(
            m, asked.label_names, value, chance, interval, members[known].sum(axis=0)
        )
    return result


def _labelled_sides(queries: Side, gallery: Side | None) -> tuple[Side, Side]:
    """Both sides without unlabelled images, their label columns in one order."""
    other = queries if gallery is None else gallery
    if queries.descriptors.shape[1] != other.descriptors.shape[1]:
        raise ValueError(
            f"queries have descriptors of {queries.descriptors.shape[1]} numbers, the gallery "
            f"of {other.descriptors.shape[1]}; both must come from one encoder"
        )
    if queries.label != other.label:
        raise ValueError(f"queries are labelled by {queries.label!r}, not by {other.label!r}")
    names = (*queries.label_names, *(n for n in other.label_names if n not in queries.label_names))
    asked, ranked = _with_names(queries.labelled(), names), _with_names(other.labelled(), names)
    for side, all_of, word in ((asked, queries, "query"), (ranked, other, "gallery image")):
        if not side.identities:
            count = len(all_of.identities)
            raise FoveolaError(
                f"none of the {count} images has a {queries.label} as {word}; evaluation needs "
                f"labelled images on both sides"
            )
    return asked, ranked


def _with_names(side: Side, names: tuple[str, ...]) -> Side:
    members = np.zeros((len(side.identities), len(names)), dtype=bool)
    members[:, [names.index(name) for name in side.label_names]] = side.labels
    return replace(side, labels=members, label_names=names)


def _shared_codes(
    queries: Sequence[Hashable], gallery: Sequence[Hashable]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Integers that are equal where identities are."""
    codes: dict[Hashable, int] = {}
    sides = [[codes.setdefault(i, len(codes)) for i in side] for side in (queries, gallery)]
    return np.array(sides[0], dtype=np.int64), np.array(sides[1], dtype=np.int64)


def _indicator(labels: NDArray[np.generic], width: int) -> Bools:
    """Codes (N,) or indicators (N, L) -> bool (N, L)."""
    if labels.ndim == 2 and labels.dtype == bool:
        return labels.astype(bool)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"expected labels int (N,) or bool (N, L), got {labels.dtype} {labels.shape}"
        )
    codes = labels.astype(np.int64)
    width = width or int(codes.max(initial=-1)) + 1
    if codes.min(initial=0) < -1 or codes.max(initial=-1) >= width:
        raise ValueError(f"expected label codes from -1 to {width - 1}, found others")
    return np.asarray(codes[:, None] == np.arange(width))


def _check_directions(descriptors: NDArray[np.float32]) -> None:
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

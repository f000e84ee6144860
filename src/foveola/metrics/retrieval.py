"""How a descriptor is judged: rank a gallery for each query, and judge every ranking.

    result = evaluate(vectors, grades, groups=subjects)            # arrays of any labels
    result["mAP@10"].macro, result.to_frame(), result.plot()

    data = RetrievalData.from_cases(descriptors, cases, label="grade")
    print(evaluate_retrieval(data).to_text())

Letters: Q queries, B of them in a block, N gallery images, L label values, M metrics.
"""

import os
from collections.abc import Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from foveola.errors import FoveolaError
from foveola.metrics import chance, metrics
from foveola.metrics.estimates import Metric, QueryMetrics, summarise
from foveola.metrics.inputs import Exclude, RetrievalData, Settings
from foveola.metrics.metrics import Bools, Floats
from foveola.metrics.ranking import BlockGains, Gains, Gallery, Scores, checked, query_blocks, rank
from foveola.metrics.results import Evaluation
from foveola.relevance.labels import LabelTable, people_of_groups

DEFAULT_KS = (1, 5, 10, 20, 50)


def evaluate(
    vectors: ArrayLike,
    labels: Any,
    groups: Iterable[Any] | None = None,
    gallery: ArrayLike | None = None,
    gallery_labels: Any = None,
    gallery_groups: Iterable[Any] | None = None,
    *,
    label: str | None = None,
    ks: Sequence[int] = DEFAULT_KS,
    bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Evaluation:
    """Evaluate vectors: rank a gallery for each query by cosine and judge the rankings.

    Without a gallery each vector is asked against all others (leave one out). A gallery image is
    relevant when it shares a label with the query. What is not labelled is neither asked nor
    ranked, and the result says how many these were. The metrics are told in docs/reference/evaluation.md;
    intervals are over groups, and over single vectors where no groups are given, which is too
    narrow where several photographs are of one person.

    Args:
        vectors: float (N, D), the queries; finite, no row of zeros, of any length.
        labels: N labels of any type: text, numbers, sets of findings; None, NaN and "" are
            unlabelled. Or bool (N, L). 2, 2.0 and "2" are the same.
        groups: N names or numbers of people: what is of the query's own group is left out of its
            ranking. None, NaN and texts such as "NA" are a person of their own each.
        gallery: float (M, D), ranked instead of the other queries.
        gallery_labels: of the M gallery images, as `labels`.
        gallery_groups: likewise, as `groups`.
        label: what the labels are called in tables; None is "findings" for sets, else "label". Of
            "grade" (0 to 4) a neighbouring one counts 3/4 in nDCG.
        ks: ranks to look at.
        bootstrap: resamples of the groups for the intervals; 0 for none.
        confidence: of the intervals, between 0 and 1.
        seed: of the bootstrap.

    Raises:
        FoveolaError: nothing is labelled.
        ValueError: shapes do not fit, an argument is out of range, or only one side has groups.

    >>> vectors = [[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]]
    >>> result = evaluate(vectors, ["healthy", "healthy", "sick", "sick"], ks=(1,), bootstrap=0)
    >>> result["mAP@1"].macro
    1.0
    """
    if (gallery is None) != (gallery_labels is None):
        raise ValueError("give a gallery and gallery_labels together, or neither")
    if gallery is None and gallery_groups is not None:
        raise ValueError("gallery_groups need a gallery; give the groups of the queries as groups")
    if gallery is not None and (groups is None) != (gallery_groups is None):
        raise ValueError(
            "only one side has groups, so it can't be told who is on both; give groups and gallery_groups, or neither"
        )
    queries = _side(vectors, labels, groups, label, "query")
    ranked = None if gallery is None else _side(gallery, gallery_labels, gallery_groups, queries.label, "gallery")
    return evaluate_retrieval(queries, ranked, ks=ks, bootstrap=bootstrap, confidence=confidence, seed=seed)


def _side(vectors: ArrayLike, labels: Any, groups: Iterable[Any] | None, label: str | None, role: str) -> RetrievalData:
    rows: NDArray[np.float32] = np.asarray(vectors, dtype=np.float32)
    table = LabelTable.of_any(labels, label)
    if rows.ndim != 2 or len(rows) != len(table.known):
        raise ValueError(f"expected vectors (N, D) and N labels, got {rows.shape} and {len(table.known)}")
    people = people_of_groups(groups, len(rows), role)
    return RetrievalData(rows, table.members, people, table.values, table.label)


def evaluate_retrieval(
    queries: RetrievalData,
    gallery: RetrievalData | None = None,
    *,
    ks: Sequence[int] = DEFAULT_KS,
    exclude: Exclude = "subject",
    bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    block: int | None = None,
    scores: Scores | None = None,
) -> Evaluation:
    """Rank the gallery for each query, by cosine unless told, and judge the rankings.

    A gallery image is relevant when it shares at least one label value with the query; nDCG
    takes graded relevance, see `gains`. Unlabelled images are neither asked nor ranked. A query
    whose gallery holds no relevant image counts 0 in the metrics at K, as in the authors'
    definition, and is left out of the others. Equal cosines, or scores, keep the order of the
    gallery. Time grows with Q N (D + log N) and is shared by all cores; memory stays at about
    150 MB a core beside the descriptors and what the scores take.

    Args:
        queries: the images that ask; their columns make the subgroups.
        gallery: the images that are ranked; None asks each query against all others.
        ks: ranks to look at.
        exclude: what of the query's own subject is left out of its ranking: all of it, only the
            same eye or only the same visit (where either is unknown, it counts as the same), or
            nothing. A query is never ranked against itself when gallery is None.
        bootstrap: resamples of the subjects for the intervals; 0 for none.
        confidence: of the intervals, between 0 and 1.
        seed: of the bootstrap.
        block: queries at a time; chosen by memory when None. It does not change results.
        scores: what to rank by instead of the cosine, its rows those of queries and gallery as
            given here, unlabelled images and all. Two evaluations that differ in it alone can be
            compared by `compare`.

    Raises:
        FoveolaError: no query or no gallery image has a label.
        ValueError: the sides do not fit each other, an argument is out of range, or scores are.
    """
    settings = Settings(tuple(sorted(set(ks))), exclude, gallery is None, bootstrap, confidence, seed)
    asked, ranked = _labelled_sides(queries, gallery)
    if scores is not None:
        scores = scores.restricted(queries.labelled_rows(), (gallery or queries).labelled_rows())
    judged = judge(asked, ranked, settings, block, scores)
    table = judged.table
    return Evaluation(
        label=queries.label,
        queries=len(asked.identities),
        gallery=len(ranked.identities),
        unlabelled_queries=len(queries.identities) - len(asked.identities),
        unlabelled_gallery=len((gallery or queries).identities) - len(ranked.identities),
        excluded_pairs=int(judged.excluded.sum()),
        queries_with_exclusions=int(np.count_nonzero(judged.excluded)),
        queries_without_relevant=int(np.count_nonzero(judged.relevant == 0)),
        settings=settings,
        metrics=summarise(table, settings),
        subgroups={name: _split(table, asked, name, settings) for name in asked.columns},
        retrieved=_shares(judged.retrieved, table),
        retrieved_at=retrieved_at(settings.ks),
        per_query=table,
    )


def _split(table: QueryMetrics, asked: RetrievalData, column: str, settings: Settings) -> dict[str, dict[str, Metric]]:
    values = ["unknown" if value is None else str(value) for value in asked.columns[column]]
    return {value: summarise(table.of(np.array(values) == value), settings) for value in sorted(set(values))}


def _shares(retrieved: Floats, table: QueryMetrics) -> dict[str, dict[str, float]]:
    """Mean share of the first ranks by label value, for the queries of each."""
    return {
        name: dict(zip(table.names, retrieved[of].mean(axis=0).tolist(), strict=True))
        for name, of in zip(table.names, table.members.T, strict=True)
        if of.any()
    }


def _labelled_sides(queries: RetrievalData, gallery: RetrievalData | None) -> tuple[RetrievalData, RetrievalData]:
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


def _with_names(side: RetrievalData, names: tuple[str, ...]) -> RetrievalData:
    members = np.zeros((len(side.identities), len(names)), dtype=bool)
    members[:, [names.index(name) for name in side.label_names]] = side.labels
    return replace(side, labels=members, label_names=names)


@dataclass(frozen=True, eq=False)
class RankedQueries:
    """What was found for Q queries.

    Attributes:
        table: values and chance of each metric.
        relevant: int64 (Q,), R of each query.
        excluded: int64 (Q,), images of its own subject that were left out.
        retrieved: float64 (Q, L), share of the first ranks that carries each label value.
    """

    table: QueryMetrics
    relevant: NDArray[np.int64]
    excluded: NDArray[np.int64]
    retrieved: Floats


def judge(
    asked: RetrievalData, ranked: RetrievalData, settings: Settings, block: int | None, scores: Scores | None = None
) -> RankedQueries:
    """Judge every query, on all cores; ranked by cosine, or by scores of these very sides."""
    of_block = _Judge(asked, ranked, settings, scores)
    parts = query_blocks(len(asked.identities), len(ranked.identities), block)
    # threads of the matrix product beside these would only wait for each other
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        columns = zip(*pool.map(of_block, parts), strict=True)
        values, ndcg, R, N, excluded, retrieved = (np.concatenate(each) for each in columns)
    people, _ = shared_codes(asked.identities, ranked.identities)
    expected = _expect(R, N, ndcg, settings.ks)
    table = QueryMetrics(values, expected, people, np.asarray(asked.labels, dtype=bool), asked.label_names)
    return RankedQueries(table, R, excluded, retrieved)


class _Judge:
    """Judges blocks of queries; safe to use from several threads."""

    def __init__(self, asked: RetrievalData, ranked: RetrievalData, settings: Settings, scores: Scores | None) -> None:
        self.asked, self.ranked, self.settings, self.scores = asked, ranked, settings, scores
        self.same = _Same(asked, ranked, settings.exclude)
        self.gallery = Gallery(ranked.descriptors)
        self.labels = ranked.labels.T.astype(np.float32)
        a, b = (np.asarray(side.labels, dtype=bool) for side in (asked, ranked))
        self.gains = Gains(a, b, asked.label_names, asked.label)

    def __call__(self, part: slice) -> tuple[NDArray[np.float64], ...]:
        """Values, expected nDCG, R, N, excluded and retrieved of a block, each (B, ...)."""
        ks = self.settings.ks
        out, own = self._left_out(part)
        right = (self.asked.labels[part].astype(np.float32) @ self.labels > 0) & ~out
        similarity = self.gallery.cosines(self.asked.descriptors[part])
        if self.scores is not None:
            similarity = checked(self.scores, part, similarity, out)
        ranking = rank(similarity, right, out, first=max(ks))
        gains = self.gains.of_block(part, ranking.first, out)
        relevant, ranked = right.sum(axis=1), out.shape[1] - out.sum(axis=1)
        expected = [chance.expected_ndcg(gains.mean, ranked, gains.ideal, k) for k in ks]
        return (
            _measure(ranking.relevance, relevant, gains, ks),
            np.column_stack(expected),
            relevant,
            ranked,
            (out & ~own).sum(axis=1),
            self._retrieved(ranking.first[:, : retrieved_at(ks)]),
        )

    def _left_out(self, part: slice) -> tuple[Bools, Bools]:
        """(B, N) twice: what is not ranked, and of that the query itself."""
        own = np.zeros((part.stop - part.start, len(self.ranked.identities)), dtype=bool)
        if self.settings.leave_one_out:
            own[np.arange(len(own)), np.arange(part.start, part.stop)] = True
        return own | self.same.of_block(part), own

    def _retrieved(self, first: NDArray[np.int64]) -> Floats:
        carried = self.ranked.labels[first] & (first >= 0)[:, :, None]
        shares = carried.sum(axis=1) / np.maximum((first >= 0).sum(axis=1), 1)[:, None]
        return np.asarray(shares, dtype=np.float64)


class _Same:
    """Which pairs of query and gallery image are too close to be a find."""

    def __init__(self, asked: RetrievalData, ranked: RetrievalData, exclude: Exclude) -> None:
        self._people = shared_codes(asked.identities, ranked.identities)
        self._exclude: Exclude = exclude
        self._detail: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None
        if exclude in ("eye", "visit"):
            sides = [getattr(side, f"{exclude}s") for side in (asked, ranked)]
            if None in sides:
                raise ValueError(f"exclude is {exclude!r}, but a side has no {exclude}s")
            self._detail = shared_codes(*sides)

    def of_block(self, part: slice) -> Bools:
        """(B, N)."""
        queries, gallery = self._people
        if self._exclude == "none":
            return np.zeros((part.stop - part.start, len(gallery)), dtype=bool)
        same = np.asarray(queries[part, None] == gallery)
        if self._detail is not None:
            rows, columns = np.nonzero(same)
            q, g = self._detail[0][part][rows], self._detail[1][columns]
            same[rows, columns] = (q == g) | (q < 0) | (g < 0)
        return same


def _measure(ranks: Bools, relevant: NDArray[np.int64], gains: BlockGains, ks: tuple[int, ...]) -> Floats:
    found = metrics.find_hits(ranks)
    columns = [metrics.hit_ratio(ranks, k) for k in ks]
    columns += [metrics.any_hit(ranks, k) for k in ks]
    columns += [metrics.average_precision_author(ranks, k) for k in ks]
    columns += [metrics.average_precision_per_hit(ranks, k) for k in ks]
    columns += [metrics.ndcg(gains.first, gains.ideal, k) for k in ks]
    columns += [
        metrics.average_precision(found, relevant),
        metrics.average_precision_at_r(found, relevant),
        metrics.r_precision(found, relevant),
        metrics.reciprocal_rank(found, relevant),
    ]
    return np.column_stack(columns)


def _expect(R: NDArray[np.int64], N: NDArray[np.int64], ndcg: Floats, ks: tuple[int, ...]) -> Floats:
    columns = [chance.expected_hit_ratio(R, N, k) for k in ks]
    columns += [chance.expected_any_hit(R, N, k) for k in ks]
    columns += [chance.expected_average_precision_author(R, N, k) for k in ks]
    columns += [chance.expected_average_precision_per_hit(R, N, k) for k in ks]
    columns += [
        ndcg,
        chance.expected_average_precision(R, N),
        chance.expected_average_precision_at_r(R, N),
        chance.expected_r_precision(R, N),
        chance.expected_reciprocal_rank(R, N),
    ]
    return np.column_stack(columns)


def retrieved_at(ks: tuple[int, ...]) -> int:
    """Return the K at which it is told what was found: 10, or else the deepest."""
    return 10 if 10 in ks else max(ks)


def shared_codes(
    queries: Sequence[Hashable], gallery: Sequence[Hashable]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return integers that are equal where identities are; -1 for None."""
    codes: dict[Hashable, int] = {None: -1}
    sides = [[codes.setdefault(i, len(codes) - 1) for i in side] for side in (queries, gallery)]
    return np.array(sides[0], dtype=np.int64), np.array(sides[1], dtype=np.int64)

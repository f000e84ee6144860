"""Rankings of all queries, judged block by block.

Letters: Q queries, B of them in a block, N gallery images, L label values, M metrics.
"""

import os
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from foveola.metrics import chance, metrics
from foveola.metrics.estimates import QueryMetrics
from foveola.metrics.gains import BlockGains, Gains
from foveola.metrics.metrics import Bools, Floats
from foveola.metrics.ranking import Gallery, query_blocks, rank
from foveola.metrics.scores import Scores, checked
from foveola.metrics.settings import Exclude, Settings
from foveola.metrics.sides import RetrievalData


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
    """The K at which it is told what was found: 10, or else the deepest."""
    return 10 if 10 in ks else max(ks)


def shared_codes(
    queries: Sequence[Hashable], gallery: Sequence[Hashable]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Integers that are equal where identities are; -1 for None."""
    codes: dict[Hashable, int] = {None: -1}
    sides = [[codes.setdefault(i, len(codes) - 1) for i in side] for side in (queries, gallery)]
    return np.array(sides[0], dtype=np.int64), np.array(sides[1], dtype=np.int64)

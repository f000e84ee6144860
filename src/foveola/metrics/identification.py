"""Finding an identity again: each query is ranked against a gallery, right is the same identity.

    found = identify(IdentityData(later, eyes), IdentityData(first, eyes))
    print(found.metrics["rank-1"].value.micro)

An identity is whatever the caller says: a subject, or one eye of a subject.

Open-set identification says "no match" for whoever the gallery does not hold: the first of a
ranking is accepted when its similarity reaches a threshold. FPIR, the false positive identification
rate, is the share of searches without a mate that are accepted all the same; TPIR, the true
positive identification rate, the share of searches with a mate that bring it up first and accept it
(ISO/IEC 19795-1). A threshold is judged on other subjects than those it was set on.

Letters: Q queries, N gallery images, B queries of a block, M metrics, L groups of queries, T steps
of similarity.
"""

import math
import os
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from foveola.errors import FoveolaError
from foveola.metrics import metrics
from foveola.metrics.estimates import Metric, QueryMetrics, means, subject_bootstrap, summarise_named
from foveola.metrics.inputs import check_directions
from foveola.metrics.metrics import Bools, Floats
from foveola.metrics.ranking import Gallery, query_blocks, rank
from foveola.metrics.retrieval import shared_codes
from foveola.metrics.verification import STEPS, Pairs, Rate, Verification, verify

METRICS = ("mAP", "mAP@R", "rank-1", "rank-5", "rank-10", "CMC@1", "CMC@5", "CMC@10")
_GRID = 1200  # steps of similarity that pairs are counted at, by subject
Similarity = Callable[[slice], Floats]  # (B, N) of the queries of a slice, from -1 to 1
FALSE_POSITIVES = (0.01, 0.05, 0.1)
_LEAST = 3  # false positives that a rate must amount to before a threshold is set for it


@dataclass(frozen=True, eq=False)
class IdentityData:
    """Images and whose they are.

    Attributes:
        descriptors: float32 (N, D), finite, no row of zeros; length is divided out.
        identities: N hashables, equal for images of one identity; None is an identity of its
            own.
        subjects: N hashables, equal for images of one person; the identities by default.
        visits: N hashables; where given on both sides, a gallery image of the query's identity
            and visit is left out of its ranking (as the authors select models).
    """

    descriptors: NDArray[np.float32]
    identities: Sequence[Hashable]
    subjects: Sequence[Hashable] | None = None
    visits: Sequence[Hashable] | None = None

    def __post_init__(self) -> None:
        rows = np.asarray(self.descriptors, dtype=np.float32)
        if rows.ndim != 2 or len(rows) != len(self.identities):
            raise ValueError(
                f"expected descriptors (N, D) and N identities, got {rows.shape} and {len(self.identities)}"
            )
        for name in ("subjects", "visits"):
            values = getattr(self, name)
            if values is not None and len(values) != len(rows):
                raise ValueError(f"expected {len(rows)} {name}, got {len(values)}")
        check_directions(rows)
        object.__setattr__(self, "descriptors", rows)


@dataclass(frozen=True)
class Identification:
    """How well identities are found again.

    Attributes:
        queries: all that asked.
        gallery: images that were ranked.
        without_mate: queries whose identity the gallery does not hold; the metrics leave them
            out, they matter for rejection alone.
        metrics: by name, see METRICS; by label value is by group of the queries.
        verification: of all pairs of a query and a gallery image; None where there are none of
            a kind.
        best: what stands first for each query, for `reject`.
        per_query: what the means are of, queries with a mate.
    """

    queries: int
    gallery: int
    without_mate: int
    metrics: dict[str, Metric]
    verification: Verification | None
    best: "Best" = field(compare=False, repr=False)
    per_query: QueryMetrics = field(compare=False, repr=False)


class Best(NamedTuple):
    """What stands first for each of Q queries.

    Attributes:
        similarity: (Q,), of the first, NaN for an empty ranking.
        right: bool (Q,), whether it is of the query's identity.
        impostor: (Q,), of the first that is of another identity: what would stand first if the
            gallery did not hold the query's; NaN where there is none.
        mated: bool (Q,), whether the gallery holds that identity.
        subjects: int64 (Q,), who asked.
    """

    similarity: Floats
    right: Bools
    impostor: Floats
    mated: Bools
    subjects: NDArray[np.int64]


def identify(
    queries: IdentityData,
    gallery: IdentityData | None = None,
    *,
    groups: Sequence[str | None] | None = None,
    similarity: Similarity | None = None,
    bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    block: int | None = None,
) -> Identification:
    """Rank the gallery for each query by cosine, and judge where its identity stands.

    Args:
        queries: the images that ask.
        gallery: the images that are ranked; None asks each query against all others.
        groups: Q words by which the metrics are split, such as the time that has passed; None
            where it is unknown.
        similarity: instead of the cosine of the descriptors.
        bootstrap: resamples of the subjects for the intervals; 0 for none.
        confidence: of the intervals, between 0 and 1.
        seed: of the bootstrap.
        block: queries at a time; chosen by memory when None.

    Raises:
        FoveolaError: no query has an image of its identity in the gallery.
        ValueError: the sides do not fit each other.
    """
    ranked = queries if gallery is None else gallery
    if queries.descriptors.shape[1] != ranked.descriptors.shape[1]:
        raise ValueError(
            f"queries have descriptors of {queries.descriptors.shape[1]} numbers, the gallery "
            f"of {ranked.descriptors.shape[1]}; both must come from one encoder"
        )
    judge = _Judge(queries, gallery, similarity)
    parts = list(query_blocks(len(queries.identities), len(ranked.identities), block))
    values, mates, top, right, impostor = _columns(judge.rankings, parts)
    mated = mates > 0
    if not mated.any():
        raise FoveolaError(
            f"none of the {len(mates)} queries has another image of its identity in the gallery "
            f"of {len(ranked.identities)}; expected at least one to find again"
        )
    table = _per_query(values, mated, judge.subjects, groups)
    pairs = _pairs(judge, parts)
    both = pairs.genuine.any() and pairs.impostor.any()
    return Identification(
        queries=len(mates),
        gallery=len(ranked.identities),
        without_mate=int((~mated).sum()),
        metrics=summarise_named(METRICS, table, resamples=bootstrap, confidence=confidence, seed=seed),
        verification=verify(pairs, bootstrap=bootstrap, confidence=confidence, seed=seed) if both else None,
        best=Best(top, right.astype(bool), impostor, mated, judge.subjects),
        per_query=table,
    )


def _per_query(
    values: Floats, mated: Bools, subjects: NDArray[np.int64], groups: Sequence[str | None] | None
) -> QueryMetrics:
    of = list(groups) if groups is not None else [None] * len(mated)
    if len(of) != len(mated):
        raise ValueError(f"expected {len(mated)} groups, got {len(of)}")
    names = tuple(dict.fromkeys(name for name in of if name is not None))
    members = np.array([[name == each for each in names] for name in of], dtype=bool)
    members = members.reshape(len(of), len(names))
    chance = np.full(values.shape, np.nan)
    table = QueryMetrics(values, chance, subjects, members, names)
    return table.of(mated)


class _Judge:
    """Judges blocks of queries; safe to use from several threads."""

    def __init__(self, asked: IdentityData, gallery: IdentityData | None, similarity: Similarity | None) -> None:
        ranked = asked if gallery is None else gallery
        self.alone = gallery is None
        self.identities = shared_codes(_own(asked.identities), _own(ranked.identities))
        self.subjects, _ = shared_codes(_own(asked.subjects or asked.identities), ())
        self.visits = None
        if asked.visits is not None and ranked.visits is not None:
            self.visits = shared_codes(asked.visits, ranked.visits)
        self._asked = asked.descriptors
        self._gallery = None if similarity else Gallery(ranked.descriptors)
        self._similarity = similarity
        self.grid: Floats = np.linspace(-1, 1, STEPS + 1)[:-1]

    def similarity(self, part: slice) -> Floats:
        """(B, N)."""
        if self._gallery is not None:
            return self._gallery.cosines(self._asked[part])
        assert self._similarity is not None  # noqa: S101 - one of the two is always there
        return np.asarray(self._similarity(part), dtype=np.float64)

    def same(self, part: slice) -> tuple[Bools, Bools]:
        """(B, N) twice: pairs of one identity, and pairs that are left out."""
        asked, ranked = self.identities
        same = np.asarray(asked[part, None] == ranked)
        out = np.zeros_like(same)
        if self.alone:
            out[np.arange(len(out)), np.arange(part.start, part.stop)] = True
        if self.visits is not None:
            out |= same & (self.visits[0][part, None] == self.visits[1])
        return same & ~out, out

    def rankings(self, part: slice) -> tuple[NDArray[Any], ...]:
        """Metrics (B, M), mates, and of the first: similarity, if right, best impostor's."""
        same, out = self.same(part)
        similarity = self.similarity(part)
        ranking = rank(similarity, same, out, first=1)
        mates = same.sum(axis=1)
        head = ranking.first[:, 0] if ranking.first.shape[1] else np.full(len(mates), -1)
        top = np.where(head >= 0, similarity[np.arange(len(head)), np.maximum(head, 0)], np.nan)
        right: Bools = np.asarray(ranking.relevance[:, :1].any(axis=1))
        others = np.where(same | out, -np.inf, similarity).max(axis=1, initial=-np.inf)
        impostor = np.where(np.isfinite(others), others, np.nan)
        return _measure(ranking.relevance, mates), mates, top, right, impostor

    def histogram(self, part: slice) -> tuple[NDArray[Any], ...]:
        """(1, STEPS) twice: genuine and impostor pairs of the block at each fine step."""
        same, out = self.same(part)
        scaled = np.floor((self.similarity(part) + 1) * (STEPS / 2)).astype(np.int64)
        steps = np.clip(scaled, 0, STEPS - 1)
        counted = [np.bincount(steps[kind], minlength=STEPS) for kind in (same, ~same & ~out)]
        return counted[0][None], counted[1][None]

    def counted(self, part: slice) -> tuple[NDArray[Any], ...]:
        """(B, T) twice: genuine and impostor pairs of each query at each step of the grid."""
        similarity = self.similarity(part)
        same, out = self.same(part)
        T = len(self.grid)
        step = np.maximum(np.searchsorted(self.grid, similarity, side="right") - 1, 0)
        step += T * np.arange(len(step))[:, None]
        kinds = (same, ~same & ~out)
        tables = [np.bincount(step[kind], minlength=T * len(step)) for kind in kinds]
        return tables[0].reshape(-1, T), tables[1].reshape(-1, T)


def _own(identities: Sequence[Hashable]) -> list[Hashable]:
    """None is nobody else's."""
    return [object() if each is None else each for each in identities]


def _measure(ranks: Bools, mates: NDArray[np.int64]) -> Floats:
    """(B, M), in the order of METRICS."""
    found = metrics.find_hits(ranks)
    return np.column_stack(
        [
            metrics.average_precision(found, mates),
            metrics.average_precision_at_r(found, mates),
            *(metrics.found_within(found, mates, k) for k in (1, 5, 10)),
            *(metrics.cumulative_match(found, mates, k) for k in (1, 5, 10)),
        ]
    )


def _columns(work: Callable[[slice], tuple[NDArray[Any], ...]], parts: Sequence[slice]) -> list[NDArray[Any]]:
    """Results of all blocks, on all cores, one array for each column."""
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        columns = zip(*pool.map(work, parts), strict=True)
        return [np.concatenate(each) for each in columns]


def _pairs(judge: _Judge, parts: Sequence[slice]) -> Pairs:
    """All pairs by subject, at steps that are fine where pairs of either kind end.

    Two passes: one finds where the pairs lie, the other counts them by subject there.
    """
    totals = [table.sum(axis=0) for table in _columns(judge.histogram, parts)]
    judge.grid = _grid(totals[0], totals[1])
    S, T = int(judge.subjects.max()) + 1, len(judge.grid)
    tables = [np.zeros((S, T), dtype=np.int32) for _ in totals]
    for part in parts:
        for table, counted in zip(tables, judge.counted(part), strict=True):
            np.add.at(table, judge.subjects[part], counted)
    return Pairs(tables[0], tables[1], judge.grid)


def _grid(genuine: NDArray[np.int64], impostor: NDArray[np.int64]) -> Floats:
    """(T,): fine steps at which a kind's cumulative share changes most, the tails above all."""
    edges = np.linspace(-1, 1, STEPS + 1)[:-1]
    occupied = np.flatnonzero(genuine + impostor)
    if len(occupied) <= _GRID:
        return np.asarray(edges[occupied])
    # an impostor's upper tail decides FMR 1e-4, a genuine pair's lower tail the EER
    upper, lower = (_levels(counts) for counts in (impostor[::-1], genuine))
    chosen = np.concatenate([STEPS - 1 - upper, lower])
    # the next step too: a pair alone at the end of a long step would count as tied with all of it
    chosen = np.concatenate([[0], chosen, np.minimum(chosen + 1, STEPS - 1)])
    return np.asarray(edges[np.unique(chosen)])


def _levels(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Steps that part the counts evenly, and those that part the first of them more finely."""
    cumulative = np.cumsum(counts)
    most = max(int(cumulative[-1]), 2)
    levels = [np.linspace(1, most, _GRID // 8), np.geomspace(1, most, _GRID // 8)]
    return np.minimum(np.searchsorted(cumulative, np.concatenate(levels)), STEPS - 1)


@dataclass(frozen=True)
class Rejection:
    """What one threshold does to people it was not set on.

    Attributes:
        wanted: FPIR that the thresholds were set for.
        fpir: FPIR they had.
        tpir: TPIR they had.
        thresholds: of each fold of subjects.
    """

    wanted: float
    fpir: Rate
    tpir: Rate
    thresholds: tuple[float, ...]

    def to_dict(self) -> dict[str, object]:
        """Return plain types for json.dumps."""
        return {
            "wanted_fpir": self.wanted,
            "fpir": self.fpir.to_dict(),
            "tpir": self.tpir.to_dict(),
            "thresholds": list(self.thresholds),
        }


def reject(
    best: Best,
    *,
    false_positives: Sequence[float] = FALSE_POSITIVES,
    folds: int = 2,
    bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Rejection]:
    """Set thresholds on some subjects and judge them on the others, fold by fold.

    Every query is asked twice: with its identity in the gallery, where it is there, and as if it
    were not, when the best of another identity stands first.

    Args:
        best: of an identification.
        false_positives: FPIR to set thresholds for; those of which fewer than 3 false positives
            could be expected on the subjects of a fold are left out, and so are all of them
            where there are fewer subjects than folds.
        folds: of subjects, at least 2.
        bootstrap: resamples of the subjects; the thresholds stay.
        confidence: of the intervals.
        seed: of the folds and the bootstrap.

    Raises:
        ValueError: fewer than 2 folds, or a rate out of range.
    """
    if not all(0 < rate < 1 for rate in false_positives):
        raise ValueError(f"false positive rates must lie between 0 and 1, got {false_positives}")
    subjects, own = np.unique(best.subjects, return_inverse=True)
    if folds < 2:
        raise ValueError(f"expected at least 2 folds, got {folds}")
    if len(subjects) < folds:
        return []
    order = np.random.default_rng(seed).permutation(len(subjects))
    fold = (order % folds)[own]
    known = ~np.isnan(best.impostor)
    fewest = min(int((known & (fold != f)).sum()) for f in range(folds))
    found = []
    for rate in (rate for rate in false_positives if rate * fewest >= _LEAST):
        thresholds = [threshold_for(best.impostor[fold != f], rate) for f in range(folds)]
        values = _judged(best, np.array(thresholds)[fold])
        members = np.empty((len(values), 0), dtype=bool)
        ends = subject_bootstrap(values, members, best.subjects, resamples=bootstrap, confidence=confidence, seed=seed)
        point = means(values, members).micro.tolist()
        fpir, tpir = (Rate(p, *e) for p, e in zip(point, ends.micro.tolist(), strict=True))
        found.append(Rejection(rate, fpir, tpir, tuple(thresholds)))
    return found


def threshold_for(impostor: Floats, rate: float) -> float:
    """Return the least similarity that at most this share of searches without a mate reaches.

    Args:
        impostor: (Q,) best similarity to another identity, NaN where there is none.
        rate: FPIR, between 0 and 1.
    """
    known = np.sort(impostor[~np.isnan(impostor)])[::-1]
    if not len(known):
        return math.nan
    allowed = int(np.floor(rate * len(known) + 1e-9))
    return float(np.nextafter(known[min(allowed, len(known) - 1)], np.inf))


def _judged(best: Best, line: Floats) -> Floats:
    """(Q, 2): whether a search without a mate is accepted, and whether one with a mate is."""
    false = np.where(np.isnan(best.impostor), np.nan, best.impostor >= line)
    true = np.where(best.mated, best.right & (best.similarity >= line), np.nan)
    return np.column_stack([false, true])

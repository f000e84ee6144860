"""How a descriptor is judged: which images are asked, what is ranked, what counts as right.

    side = RetrievalData.from_cases(descriptors, cases, label="grade")
    print(evaluate_retrieval(side).to_text())

Letters: Q queries, N gallery images, L label values, M metrics.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from foveola.errors import FoveolaError
from foveola.metrics.estimates import Metric, QueryMetrics, summarise
from foveola.metrics.judge import judge, retrieved_at
from foveola.metrics.metrics import Floats
from foveola.metrics.result import Evaluation
from foveola.metrics.scores import Scores
from foveola.metrics.settings import Exclude, Settings
from foveola.metrics.sides import RetrievalData

DEFAULT_KS = (1, 5, 10, 20, 50)


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

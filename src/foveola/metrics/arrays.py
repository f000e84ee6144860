"""The evaluation of vectors and labels as a caller has them, without cases or an archive.

result = evaluate(vectors, grades, groups=subjects)
result["mAP@10"].macro, result.to_frame(), result.plot()
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveola.metrics.protocols import DEFAULT_KS, evaluate_retrieval
from foveola.metrics.result import Evaluation
from foveola.metrics.sides import RetrievalData
from foveola.relevance.labels import LabelTable, people_of_groups


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

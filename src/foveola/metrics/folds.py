"""Folds put together: each asks its own queries of its own gallery, with its own encoder."""

from collections.abc import Sequence

import numpy as np

from foveola.metrics.estimates import QueryMetrics


def pooled(tables: Sequence[QueryMetrics]) -> QueryMetrics:
    """The queries of all folds in one table; means and intervals are then over all of them.

    Args:
        tables: one a fold, of different people, judged by the same metrics.

    Raises:
        ValueError: there is none, or they do not have the same label values.
    """
    if not tables or any(t.names != tables[0].names for t in tables):
        raise ValueError("expected folds judged by the same label values, at least one of them")
    most = max(int(t.subjects.max(initial=-1)) for t in tables) + 1
    return QueryMetrics(
        np.concatenate([t.values for t in tables]),
        np.concatenate([t.chance for t in tables]),
        np.concatenate([t.subjects + fold * most for fold, t in enumerate(tables)]),
        np.concatenate([t.members for t in tables]),
        tables[0].names,
    )


def paired(first: QueryMetrics, second: QueryMetrics) -> QueryMetrics:
    """The second's values less the first's, query by query.

    Raises:
        ValueError: they asked other queries.
    """
    if first.names != second.names or not all(
        np.array_equal(x, y) for x, y in ((first.subjects, second.subjects), (first.members, second.members))
    ):
        raise ValueError(
            f"the evaluations asked other queries ({len(first.subjects)} and "
            f"{len(second.subjects)}); ask the same, in the same order"
        )
    return QueryMetrics(
        second.values - first.values, second.chance - first.chance, first.subjects, first.members, first.names
    )

"""Who asks and who is asked, where some subjects are held out."""

from collections.abc import Sequence

import numpy as np

from foveola.metrics import RetrievalData
from foveola.records import Case


def held_and_rest(
    rows: np.ndarray, cases: Sequence[Case], held: np.ndarray, label: str, by: tuple[str, ...] = ()
) -> tuple[RetrievalData, RetrievalData]:
    """The held-out photographs, then all others: descriptors (N, D), cases, (N,) bool."""
    first, second = (
        RetrievalData.from_cases(rows[m], [cases[i] for i in np.flatnonzero(m)], label, by) for m in (held, ~held)
    )
    return first, second

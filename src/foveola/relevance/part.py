"""What was learnt of one label, ready to be asked in one state of an archive or an index.

Shapes: N cases, D numbers of a descriptor, K label values.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveola.answers import Order, Suggestion
from foveola.relevance.labels import Ids, LabelTable
from foveola.relevance.linear import Vectors
from foveola.relevance.order import Asked, codes_in
from foveola.relevance.relevance import SHARES, Relevance, targets_of

_ROWS = 1 << 14  # cases whose logits are computed at once


@dataclass(frozen=True, eq=False)
class Part:
    """A label's part of every query.

    Attributes:
        relevance: what was learnt of the label.
        targets: float32 (N, K), what each case counts for, see `relevance.targets_of`.
        codes: int64 (N,), the recorded value of each case, -1 for none.
        fold: int8 (N,), to which fold each case belongs, -1 for one that nothing was learnt from.
    """

    relevance: Relevance
    targets: Vectors
    codes: Ids
    fold: NDArray[np.int8]

    @classmethod
    def of(cls, relevance: Relevance, recorded: LabelTable, matrix: Vectors, fold: NDArray[np.int8]) -> "Part":
        """Make the part of N cases.

        Args:
            relevance: of the label.
            recorded: labels of the cases.
            matrix: float32 (N, D), their descriptors.
            fold: int8 (N,), of the cases.
        """
        recorded = recorded.of_values(relevance.values)
        said = np.empty(recorded.members.shape)
        for start in range(0, len(said), _ROWS):
            rows = slice(start, start + _ROWS)
            said[rows] = relevance.shares(relevance.logits(matrix[rows], fold[rows]))
        return cls(relevance, targets_of(recorded, said), codes_in(recorded), fold)

    def asked(self, order: Order, descriptor: Vectors, own: Ids) -> Asked | None:
        """Return what cases are ordered by beside the cosine; None for the cosine alone.

        Args:
            order: "learned", "both" or "looks".
            descriptor: (D,) of the query.
            own: rows of the query's own person, whose fold is left out of the fit.
        """
        if order == "looks":
            return None
        wanted = self.relevance.wanted(self.relevance.logits(descriptor[None], self._fold(own)))[0]
        return Asked(wanted, self.targets, self.codes, SHARES[order])

    def suggestion(self, descriptor: Vectors, own: Ids) -> Suggestion | None:
        """Return what is suggested of a query; None where it can't be said how surely.

        Arguments as for `asked`.
        """
        relevance = self.relevance
        shares = relevance.told(relevance.logits(descriptor[None], self._fold(own))[0])
        if not shares:
            return None
        told, several = relevance.calibrated, relevance.link == "sigmoid"
        return Suggestion(relevance.label, shares, several, told.people, told.new, relevance.unlearnt)

    def _fold(self, own: Ids) -> NDArray[np.int8]:
        """(1,) the fold that the query's own person is in; -1 for a person new to the cases."""
        return np.array([self.fold[own].max(initial=-1)], np.int8)

"""Vectors in memory, searched and learnt from as an archive is on a disk.

    index = Index(vectors, labels=grades, groups=subjects, label="grade")
    index.learn()
    index.search(query, k=5)

The search is exact, and what is learnt and suggested is computed by the same code as in an
archive. Nothing is written, so an index is gone with its process.

Shapes: N vectors, D numbers each, k hits, Q queries.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveola.answers import Order, Suggestion
from foveola.archive.search import Ordered, top_asked, top_k, units
from foveola.encoders.encoder import Encoder
from foveola.notebook import HitList, Rows, to_frame
from foveola.relevance.labels import Bools, LabelTable, codes_of, people_of_groups
from foveola.relevance.learn import learn, load_priors
from foveola.relevance.order import ORDERS, Part
from foveola.trust.sentences import of_order, of_suggestion

if TYPE_CHECKING:
    from pandas import DataFrame

Vectors = NDArray[np.float32]

COLUMNS = ("rank", "row", "similarity", "score", "label")


@dataclass(frozen=True)
class IndexHit:
    """One similar vector.

    Attributes:
        rank: 1 is the first.
        row: of the index, from 0.
        similarity: cosine, in [-1, 1].
        score: by which hits are ordered, in [-1, 1]; the similarity in the order by looks.
        label: as it was given; None where there is none.
        group: likewise.
    """

    rank: int
    row: int
    similarity: float
    score: float
    label: Any = None
    group: Any = None

    def __repr__(self) -> str:
        return f"IndexHit(rank={self.rank}, row={self.row}, similarity={self.similarity:.4f}, label={self.label!r})"


@dataclass(frozen=True, kw_only=True, repr=False)
class IndexResult(HitList[IndexHit]):
    """What a search in an index found: a sequence of hits, best first.

    Printed, and as a DataFrame, it shows no group: that may be a person's name.

    Attributes:
        hits: best first.
        order: of the hits: "learned" from the labels, by "looks", or by "both".
        label: what the labels are.
        considered: vectors compared.
        excluded: vectors that were left out.
        suggestion: what the labels of the index suggest; None where nothing was learnt, or too
            little to say how surely.
    """

    hits: tuple[IndexHit, ...]
    order: Order
    label: str
    considered: int
    excluded: int
    suggestion: Suggestion | None

    @property
    def rows(self) -> NDArray[np.int64]:
        """Return the rows (k,) of the index, best first."""
        return np.array([hit.row for hit in self.hits], np.int64)

    @property
    def sentences(self) -> list[str]:
        """Say what is to be known of the answer."""
        compared = f"{self.considered:,} vectors compared, {self.excluded:,} left out"
        return [*of_suggestion(self.suggestion), f"{compared}; ordered {of_order(self.order, self.label)}."]

    def to_frame(self) -> "DataFrame":
        """Return a DataFrame with a row for each hit: rank, row, similarity, score and label.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        return to_frame(({c: getattr(hit, c) for c in COLUMNS} for hit in self.hits), COLUMNS)

    def _rows(self) -> Rows:
        rows = [
            [str(hit.rank), str(hit.row), f"{hit.similarity:+.4f}", f"{hit.score:+.4f}", str(hit.label)]
            for hit in self.hits
        ]
        return [[*COLUMNS[:-1], self.label], *rows]


class Index:
    """Vectors with labels and groups, in memory. Holds N * D * 4 bytes.

    Args:
        vectors: float (N, D), finite, no row of zeros; brought to length 1.
        labels: N labels of any type, or sets of findings, or bool (N, L); None and NaN are
            unknown. As for `foveola.evaluate`.
        groups: N names or numbers of people, None or NaN where unknown.
        label: what the labels are; None is "findings" for sets, else "label". Of "grade" (0 to 4)
            a neighbouring one counts a tenth.

    Raises:
        ValueError: shapes do not fit, a vector has no direction, or grades are no numbers.
    """

    def __init__(
        self, vectors: ArrayLike, labels: Any = None, groups: Iterable[Any] | None = None, *, label: str | None = None
    ) -> None:
        self.vectors = _directions(np.asarray(vectors))
        count = len(self.vectors)
        given = [None] * count if labels is None else labels
        self._table = LabelTable.of_any(given, label)
        if len(self._table.known) != count:
            raise ValueError(f"expected {count} labels, got {len(self._table.known)}")
        self._groups = None if groups is None else list(groups)
        people = people_of_groups(self._groups, count, "row")
        self._people = codes_of(people)
        self._person = dict(zip(people, self._people.tolist(), strict=True))
        self._labels = list(self._rows_of(given))
        self._part: Part | None = None

    def __len__(self) -> int:
        return len(self.vectors)

    def __repr__(self) -> str:
        known, people = int(self._table.known.sum()), len(self._person)
        learnt = "" if self._part is None else "; learnt"
        return (
            f"Index of {len(self):,} vectors of {self.vectors.shape[1]} numbers, {people:,} "
            f"groups, {known:,} with a {self._table.label}{learnt}"
        )

    def learn(self, encoder: Encoder | None = None, *, seen: ArrayLike | None = None) -> "Index":
        """Learn from the labels what is relevant, see docs/explanation/relevance.md; a search then uses it.

        Args:
            encoder: that made the vectors; learning starts from its own classifier where it has
                one of these labels, as in an archive. Without it, labels alone teach.
            seen: bool (N,), what the encoder was trained on; it is surer of these than of others.

        Returns:
            This index.

        Raises:
            TooFewError: a ValueError: fewer than two values (one finding) are those of six groups.
        """
        priors = {} if encoder is None else load_priors(encoder.release.folder)
        known: Bools | None = None if seen is None else np.asarray(seen, bool)
        relevance = learn(self.vectors, self._table, self._people, seen=known, prior=priors.get(self._table.label))
        self._part = Part.of(relevance, self._table, self.vectors, relevance.fold)
        return self

    def search(
        self,
        query: ArrayLike,
        k: int = 10,
        *,
        exclude_group: Any = None,
        exclude_rows: Iterable[int] = (),
        by: Order | None = None,
    ) -> "IndexResult | list[IndexResult]":
        """Find the k vectors most like a query. Exact, and the same on every run.

        Args:
            query: float (D,), or (Q, D) for several queries.
            k: how many, at least 1; fewer are found where fewer are there.
            exclude_group: whose vectors are left out, as `groups` has it; of several queries, one
                for each. What is learnt of the query's own group does not answer it either.
            exclude_rows: rows left out, such as the query's own.
            by: the order: "learned" from the labels, "looks" for the cosine alone, or "both"; None
                is "learned" where the index has learnt.

        Returns:
            What was found; of several queries a list.

        Raises:
            ValueError: the query has no direction or another shape, k is less than 1, or an order
                is asked for that the index has not learnt.

        >>> index = Index([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]], labels=["a", "b", "a"])
        >>> index.search([1.0, 0.1], k=2).rows
        array([0, 2])
        """
        rows = np.asarray(query)
        order = self._order(by)
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        if rows.shape[-1:] != self.vectors.shape[1:]:
            raise ValueError(f"expected a query ({self.vectors.shape[1]},), got {rows.shape}")
        queries = _directions(rows[None] if rows.ndim == 1 else rows)
        groups = [exclude_group] if rows.ndim == 1 else exclude_group
        asking = people_of_groups(groups, len(queries), "query")
        people = [self._person.get(each, -1) for each in asking]
        out = list(exclude_rows)
        found = [self._search(*each, k, out, order) for each in zip(queries, people, strict=True)]
        return found[0] if rows.ndim == 1 else found

    def _search(self, query: Vectors, person: int, k: int, out: list[int], order: Order) -> IndexResult:
        left_out = self._people == person
        left_out[out] = True
        rows, own = np.flatnonzero(~left_out), np.flatnonzero(left_out)
        part = self._part
        asked = None if part is None else part.asked(order, query, own)
        if asked is None:
            (best,), (cosines,) = top_k(query[None], self.vectors, k, rows=rows)
            found = Ordered(best, cosines, cosines, None)
        else:
            found = top_asked(query, self.vectors, k, asked, rows=rows)
        return IndexResult(
            hits=tuple(self._hits(found)),
            order=order,
            label=self._table.label,
            considered=len(rows),
            excluded=len(own),
            suggestion=None if part is None else part.suggestion(query, own),
        )

    def _hits(self, found: Ordered) -> Iterator[IndexHit]:
        columns = (found.rows.tolist(), found.cosines.tolist(), found.scores.tolist())
        for rank, (row, cosine, score) in enumerate(zip(*columns, strict=True), start=1):
            group = None if self._groups is None else self._groups[row]
            yield IndexHit(rank, row, cosine, score, self._labels[row], group)

    def _order(self, by: Order | None) -> Order:
        if by not in (None, *ORDERS):
            raise ValueError(f"by is {by!r}; expected one of {', '.join(ORDERS)}")
        if by in ("learned", "both") and self._part is None:
            raise ValueError(f"this index has learnt nothing to order {by!r} by; call learn() once")
        return by or ("looks" if self._part is None else "learned")

    def _rows_of(self, labels: Any) -> Iterator[Any]:
        """Labels as given; those of columns as sets."""
        if getattr(labels, "ndim", 1) == 1:
            return iter(labels)
        values = np.array(self._table.values)
        return (set(values[row].tolist()) for row in self._table.members)


def _directions(rows: NDArray[Any]) -> Vectors:
    if rows.ndim != 2 or not np.issubdtype(rows.dtype, np.number):
        raise ValueError(f"expected vectors (N, D) of numbers, got {rows.shape} {rows.dtype}")
    made, lengths = units(rows)
    bad = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
    if len(bad):
        raise ValueError(f"vector {bad[0]} is all zero or not finite, so it has no direction")
    return np.ascontiguousarray(made)

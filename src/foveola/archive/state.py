"""One state of an archive, for those who ask several things of it."""

import sqlite3
from collections.abc import Collection, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from foveola.archive import queries
from foveola.archive.queries import Vectors
from foveola.archive.records import Photographed
from foveola.archive.search import product
from foveola.records import Case
from foveola.relevance.labels import codes_of

Bools = NDArray[np.bool_]
Vector = NDArray[np.float32]


class State:
    """What an archive holds while nothing changes; from `Archive.state`.

    Attributes:
        ids: int64 (N,), ascending; the same array as long as the archive stays the same.
        matrix: float32 (N, D), a unit descriptor a row.
    """

    def __init__(self, db: sqlite3.Connection, vectors: Vectors, hidden: Collection[str] = ()) -> None:
        self._db, self._odd, self._hidden = db, vectors.odd, hidden
        self.ids, self.matrix = vectors.ids, vectors.matrix
        self._compared: tuple[Vector, Vector] | None = None

    def matching(self, where: str | None) -> Bools:
        """(N,) which photographs meet a condition, see docs/reference/archive.md; all meet None.

        Raises:
            FilterError: the condition can't be understood.
        """
        rows = queries.filtered(self._db, self.ids, where, self._hidden)
        return np.ones(len(self.ids), bool) if rows is None else self._in_rows(rows)

    def alike(self, descriptors: Sequence[Vector], least: float | None) -> Bools:
        """(N,) which photographs have this cosine or more with one of (D,) each; None has none."""
        chosen = np.zeros(len(self.ids), bool)
        if least is not None:
            for descriptor in descriptors:
                chosen |= self.cosines(descriptor) >= least
        return chosen

    def cosines(self, descriptor: Vector) -> Vector:
        """(D,) -> (N,) float32 cosines, good to about D units in the last place.

        Those of the last descriptor are kept: a search asks for them up to three times.
        """
        if self._compared is None or not np.array_equal(self._compared[0], descriptor):
            self._compared = descriptor, product(self.matrix, descriptor)
        return self._compared[1]

    def of_identity(self, identity: tuple[str, str] | None) -> Bools:
        """(N,) which photographs share a `Case.identity`; none shares None."""
        return self.of_ids(self.ids_of(identity))

    def ids_of(self, identity: tuple[str, str] | None) -> list[int]:
        """Return the ids of the photographs that share a `Case.identity`; none shares None."""
        return queries.of_identity(self._db, identity, self._odd)

    def rows(self, ids: Iterable[int]) -> NDArray[np.int64]:
        """Return the rows of those of these ids that are there, without a look at all N."""
        wanted = np.array(list(ids), np.int64)
        at = np.searchsorted(self.ids, wanted)
        there = at < len(self.ids)
        there[there] = self.ids[at[there]] == wanted[there]
        return at[there]

    def of_ids(self, ids: Iterable[int]) -> Bools:
        """(N,) which photographs have one of these ids."""
        return self._in_rows(self.rows(ids))

    def _in_rows(self, rows: NDArray[np.int64]) -> Bools:
        chosen = np.zeros(len(self.ids), bool)
        chosen[rows] = True
        return chosen

    def photographed(self) -> list[Photographed]:
        """Whose eye each of the N photographs shows; much faster than their whole records."""
        return queries.photographed(self._db)

    def people(self) -> NDArray[np.int64]:
        """Return (N,) whose photograph it is; one of nobody known is of a person of its own."""
        return codes_of(
            [
                (taken.collection, taken.subject) if taken.subject is not None else (i,)
                for i, taken in enumerate(self.photographed())
            ]
        )

    def labelled(self) -> list[tuple[int | None, frozenset[str] | None]]:
        """Grade and findings of each of the N photographs; None where unknown."""
        return queries.labelled(self._db)

    def column(self, name: str) -> list[str | None]:
        """Return the value of each of the N photographs in a further column, as text."""
        return queries.column(self._db, name)

    def stamps(self) -> NDArray[np.int64]:
        """(N, 2) size in bytes and time of change in ns of the N files, when they were added."""
        return queries.stamps(self._db)

    def digests(self) -> list[bytes]:
        """BLAKE2b with 16 bytes of each of the N files."""
        return list(queries.digests(self._db).values())

    def cases(self, rows: Iterable[int]) -> list[Case]:
        """The records in these rows."""
        return queries.cases_of(self._db, (int(self.ids[row]) for row in rows))

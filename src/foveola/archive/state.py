"""One state of an archive: its descriptors in memory, and what is asked of its tables.

Every function here runs within a transaction of the caller. `State` is what an archive hands to
those who ask several things of one state.
"""

import contextlib
import os
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveola.archive import database, schema
from foveola.archive.schema import Photographed
from foveola.archive.search import product
from foveola.errors import ArchiveError, NoCaseError
from foveola.records import Case, identifier
from foveola.relevance.labels import codes_of
from foveola.serial import Answer

# Subjects and collections that an older version stored as they were written: the normal form to
# what stands in the tables.
Odd = Mapping[str, Sequence[str]]
LITTLE = np.dtype("<f4")  # how a descriptor is stored
TOO_LARGE = 1 << 63  # an id that SQLite can't hold
FILTERS = 32  # conditions whose rows are kept: whoever filters a page asks for the same again
_BATCH = 1024  # rows read from SQLite at once
UNKNOWN = "unknown"
Bools = NDArray[np.bool_]
Vector = NDArray[np.float32]


@dataclass(frozen=True)
class Vectors:
    """Every descriptor of one state of the archive."""

    version: int  # SQLite's data_version, changed by other connections only
    ids: NDArray[np.int64]  # (N,) ascending
    matrix: NDArray[np.float32]  # (N, D)
    odd: Odd  # spellings of subjects and collections
    _filtered: dict[object, NDArray[np.int64]] = field(default_factory=dict)

    def filtered(self, db: sqlite3.Connection, where: str | None, hidden: frozenset[str]) -> NDArray[np.int64] | None:
        """Return the rows that meet a condition, as `filtered`; those of the last FILTERS are kept."""
        key = (where, hidden)
        if where is None or (rows := self._filtered.get(key)) is None:
            rows = filtered(db, self.ids, where, hidden)
            if where is not None and rows is not None:
                while len(self._filtered) >= FILTERS:
                    del self._filtered[next(iter(self._filtered))]
                self._filtered[key] = rows
        return rows


def load(db: sqlite3.Connection, version: int, dimension: int, folder: Path) -> Vectors:
    """Read every descriptor into one contiguous matrix."""
    count = db.execute("SELECT count(*) FROM descriptors").fetchone()[0]
    ids = np.empty(count, np.int64)
    matrix = np.empty((count, dimension), np.float32)
    known = database.of_vectors(db)
    found: list[tuple[int, int]] = []
    cursor = db.execute("SELECT case_id, vector FROM descriptors ORDER BY case_id")
    start = 0
    while rows := cursor.fetchmany(_BATCH):
        end = start + len(rows)
        data = b"".join([row[1] for row in rows])
        if len(data) != len(rows) * dimension * LITTLE.itemsize:
            raise ArchiveError(f"{folder} is damaged: a descriptor has not {dimension} values")
        ids[start:end] = [row[0] for row in rows]
        matrix[start:end] = np.frombuffer(data, LITTLE).reshape(-1, dimension)
        start = end
        if known is not None:
            found += [(row[0], database.of_vector(row[1])) for row in rows]
    if known is not None and found != known:
        raise database.damaged(folder)
    ids.flags.writeable = matrix.flags.writeable = False
    return Vectors(version, ids, matrix, odd(db))


def odd(db: sqlite3.Connection) -> Odd:
    """Return which identifiers are not stored in their normal form, by that form."""
    found: dict[str, list[str]] = {}
    stored = "SELECT subject FROM cases UNION SELECT collection FROM cases"
    for (text,) in db.execute(stored):
        if text is not None and (normal := identifier(text)) != text:
            found.setdefault(normal, []).append(text)
    return found


def spellings(normal: str, odd: Odd) -> list[str]:
    """Return all that may stand in the tables for an identifier."""
    return [normal, *odd.get(normal, ())]


def one_of(column: str, texts: Sequence[str]) -> str:
    """Return the SQL for a column to have one of these values, which are bound."""
    return f"{column} IN ({', '.join('?' * len(texts))})"


def id_of(db: sqlite3.Connection, path: str) -> int | None:
    """Return the id of the case with this path; None where there is none."""
    row = db.execute("SELECT id FROM cases WHERE path = ?", (path,)).fetchone()
    return None if row is None else int(row[0])


def cases_of(db: sqlite3.Connection, ids: Iterable[int]) -> list[Case]:
    """Return the cases with these ids, in their order.

    Raises:
        ArchiveError: there is none with one of them.
    """
    cases = []
    for id_ in ids:
        asked = (int(id_),) if 0 < id_ < TOO_LARGE else (None,)
        row = db.execute(f"{schema.SELECT_RECORD} WHERE c.id = ?", asked).fetchone()
        if row is None:
            raise NoCaseError(f"the archive has no case with the id {id_}")
        cases.append(schema.case_of(row))
    return cases


def digests(db: sqlite3.Connection) -> dict[int, bytes]:
    """Return the digests of the files by the ids of their cases, in the order of these."""
    return dict(db.execute("SELECT id, digest FROM cases ORDER BY id").fetchall())


def condition(db: sqlite3.Connection, where: str | None, hidden: Collection[str] = ()) -> tuple[str, list[Any]]:
    """Return a condition as SQL on `c`, and its values; None is true for all.

    Raises:
        FilterError: it can't be understood, or names a column that is hidden.
    """
    if where is None or not where.strip():
        return "1", []
    from foveola.archive.filters import parse  # lark is read only when there is a filter

    columns: dict[str, set[str]] = {}
    for name, kind in db.execute("SELECT name, kind FROM columns"):
        columns.setdefault(name, set()).add(kind)
    sql, values = parse(where).sql(columns, hidden, lambda: odd(db))
    return sql, list(values)


def page(
    db: sqlite3.Connection, where: str | None, after: int, limit: int, hidden: Collection[str]
) -> tuple[list[tuple[int, Case]], int]:
    """Return the first `limit` cases that meet a condition with ids above `after`, and how many do."""
    sql, values = condition(db, where, hidden)
    query = f"{schema.SELECT_RECORD} WHERE ({sql}) AND c.id > ? ORDER BY c.id LIMIT ?"
    rows = db.execute(query, [*values, after, limit]).fetchall()
    count = f"SELECT count(*) FROM cases AS c WHERE {sql}"  # noqa: S608 - values are bound
    total = int(db.execute(count, values).fetchone()[0])
    return [(row[-1], schema.case_of(row)) for row in rows], total


def filtered(
    db: sqlite3.Connection, ids: NDArray[np.int64], where: str | None, hidden: Collection[str] = ()
) -> NDArray[np.int64] | None:
    """Return the rows of the matrix whose cases meet the condition, ascending; None means all."""
    if not isinstance(where, str | None):
        raise TypeError(f"expected the condition as text, got {where!r}")
    if where is None or not where.strip():
        return None
    sql, values = condition(db, where, hidden)
    query = f"SELECT c.id FROM cases AS c WHERE {sql} ORDER BY c.id"  # noqa: S608 - values are bound
    chosen = np.array([row[0] for row in db.execute(query, values)], np.int64)
    return np.searchsorted(ids, chosen).astype(np.int64)


def of_identity(db: sqlite3.Connection, identity: tuple[str, str] | None, odd: Odd) -> list[int]:
    """Return the ids of the images that share a `Case.identity`."""
    if identity is None:
        return []
    kind, value = identity
    if kind == "image":
        rows = db.execute("SELECT id FROM cases WHERE subject IS NULL AND path = ?", (value,))
    else:
        collection, _, subject = value.partition("\0")
        subjects, collections = spellings(subject, odd), spellings(collection, odd)
        rows = db.execute(
            "SELECT id FROM cases WHERE "  # noqa: S608 - values are bound
            f"{one_of('subject', subjects)} AND {one_of('collection', collections)}",
            [*subjects, *collections],
        )
    return [row[0] for row in rows]


def one_image(db: sqlite3.Connection, image: str, collection: str | None) -> int:
    """Return the id of the image with this path or, failing that, this name.

    Raises:
        ArchiveError: there is none, or more than one.
    """
    rows = db.execute("SELECT id FROM cases WHERE path IN (?, ?)", (image, os.path.abspath(image)))  # noqa: PTH100
    ids = [row[0] for row in rows]
    if not ids:
        named = db.execute("SELECT id, collection FROM cases WHERE image = ?", (image,))
        ids = [id_ for id_, space in named if _is_in(space, collection)]
    if not ids:
        raise NoCaseError(f"the archive has no case {image!r}")
    if len(ids) > 1:
        raise ArchiveError(f"{len(ids)} images are called {image!r}; give the full path, or the collection")
    return int(ids[0])


def images_of(db: sqlite3.Connection, subject: str, collection: str | None) -> list[int]:
    """Return the ids of the images of a subject.

    Raises:
        ArchiveError: there is none, or several collections have a subject of this name.
    """
    subjects = spellings(identifier(subject), odd(db))
    stored = f"SELECT id, collection FROM cases WHERE {one_of('subject', subjects)}"  # noqa: S608
    rows = [row for row in db.execute(stored, subjects) if _is_in(row[1], collection)]
    if not rows:
        raise NoCaseError("the archive has no case of this subject")
    collections = sorted({identifier(row[1]) for row in rows})
    if len(collections) > 1:
        names = ", ".join(repr(name) for name in collections)
        raise ArchiveError(f"{len(collections)} collections have this subject: {names}; give one")
    return [row[0] for row in rows]


def chosen(
    db: sqlite3.Connection, image: str | None, subject: str | None, collection: str | None, ids: Collection[int] | None
) -> list[int]:
    """Return the ids of the cases that are meant; see `Archive.remove`."""
    if (image is None) + (subject is None) + (ids is None) != 2:
        raise ValueError("give either an image, or a subject, or ids")
    if ids is not None:
        cases_of(db, sorted(set(ids)))  # all of them are there
        return sorted(set(ids))
    if image is not None:
        return [one_image(db, image, collection)]
    return images_of(db, str(subject), collection)


def _is_in(stored: str, collection: str | None) -> bool:
    """Whether a stored collection is the one that is asked for; None asks for any."""
    return collection is None or identifier(stored) == identifier(collection)


@dataclass(frozen=True, kw_only=True)
class ArchiveInfo(Answer):
    """Say what an archive holds.

    Attributes:
        cases: photographs.
        subjects: different known subjects.
        without_subject: photographs whose subject is unknown; each counts as its own.
        eyes: photographs by "left", "right" and "unknown", the last where there are any.
        grades: photographs by "0" to "4" and "unknown" (unlabelled), those there are.
        with_findings: photographs where somebody looked for findings, found or not.
        findings: photographs by finding.
        collections: photographs by collection.
        columns: further columns that a filter may name.
        encoder: name of the encoder.
        fingerprint: of its weights and preprocessing.
        dimension: of its descriptors.
        format: of the archive's database, see docs/reference/archive.md.
        bytes: on the disk, the encoder included.
        learned: labels that an order is learnt of; who opened the archive to search it fills this.
    """

    cases: int
    subjects: int
    without_subject: int
    eyes: dict[str, int]
    grades: dict[str, int]
    with_findings: int
    findings: dict[str, int]
    collections: dict[str, int]
    columns: tuple[str, ...]
    encoder: str
    fingerprint: str
    dimension: int
    format: int
    bytes: int
    learned: tuple[str, ...] = ()


def describe(db: sqlite3.Connection, folder: Path, made_by: tuple[str, str, int]) -> ArchiveInfo:
    """Count what an archive holds; `made_by` is the encoder's name, fingerprint and dimension."""
    encoder, fingerprint, dimension = made_by
    cases, without, looked = db.execute(
        "SELECT count(*), count(*) - count(subject), coalesce(sum(looked), 0) FROM cases"
    ).fetchone()
    people = "SELECT DISTINCT collection, subject FROM cases WHERE subject IS NOT NULL"
    subjects = {tuple(map(identifier, row)) for row in db.execute(people)}
    size = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # SQLite's log comes and goes
            size += path.stat().st_size if path.is_file() else 0
    return ArchiveInfo(
        cases=cases,
        subjects=len(subjects),
        without_subject=without,
        eyes=_counts(db, "SELECT eye, count(*) FROM cases GROUP BY eye"),
        grades=_counts(db, "SELECT grade, count(*) FROM cases GROUP BY grade"),
        with_findings=looked,
        findings=_counts(db, "SELECT finding, count(*) FROM case_findings GROUP BY finding"),
        collections=_counts(db, "SELECT collection, count(*) FROM cases GROUP BY collection"),
        columns=tuple(r[0] for r in db.execute("SELECT DISTINCT name FROM columns ORDER BY name")),
        encoder=encoder,
        fingerprint=fingerprint,
        dimension=dimension,
        format=schema.format_of(db),
        bytes=size,
    )


def values(db: sqlite3.Connection, column: str, most: int) -> dict[str, int]:
    """Count photographs by the value that a further column has, the commonest first."""
    query = (
        "SELECT CAST(e.value AS TEXT), count(*) AS n FROM cases AS c, json_each(c.extra) AS e"
        " WHERE e.key = ? GROUP BY 1 ORDER BY n DESC, 1 LIMIT ?"
    )
    return dict(db.execute(query, (column, most)).fetchall())


def _counts(db: sqlite3.Connection, query: str) -> dict[str, int]:
    """Counts by name, in order, the unknown last."""
    rows = sorted(db.execute(query), key=lambda row: (row[0] is None, row[0]))
    return {UNKNOWN if key is None else str(key): count for key, count in rows}


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
        """Return (N,) which photographs meet a condition, see docs/reference/archive.md; all meet None.

        Raises:
            FilterError: the condition can't be understood.
        """
        rows = filtered(self._db, self.ids, where, self._hidden)
        return np.ones(len(self.ids), bool) if rows is None else self._in_rows(rows)

    def alike(self, descriptors: Sequence[Vector], least: float | None) -> Bools:
        """Return (N,) which photographs have this cosine or more with one of (D,) each; None has none."""
        chosen = np.zeros(len(self.ids), bool)
        if least is not None:
            for descriptor in descriptors:
                chosen |= self.cosines(descriptor) >= least
        return chosen

    def cosines(self, descriptor: Vector) -> Vector:
        """Compute cosines: (D,) -> (N,) float32, good to about D units in the last place.

        Those of the last descriptor are kept: a search asks for them up to three times.
        """
        if self._compared is None or not np.array_equal(self._compared[0], descriptor):
            self._compared = descriptor, product(self.matrix, descriptor)
        return self._compared[1]

    def of_identity(self, identity: tuple[str, str] | None) -> Bools:
        """Return (N,) which photographs share a `Case.identity`; none shares None."""
        return self.of_ids(self.ids_of(identity))

    def ids_of(self, identity: tuple[str, str] | None) -> list[int]:
        """Return the ids of the photographs that share a `Case.identity`; none shares None."""
        return of_identity(self._db, identity, self._odd)

    def rows(self, ids: Iterable[int]) -> NDArray[np.int64]:
        """Return the rows of those of these ids that are there, without a look at all N."""
        wanted = np.array(list(ids), np.int64)
        at = np.searchsorted(self.ids, wanted)
        there = at < len(self.ids)
        there[there] = self.ids[at[there]] == wanted[there]
        return at[there]

    def of_ids(self, ids: Iterable[int]) -> Bools:
        """Return (N,) which photographs have one of these ids."""
        return self._in_rows(self.rows(ids))

    def _in_rows(self, rows: NDArray[np.int64]) -> Bools:
        chosen = np.zeros(len(self.ids), bool)
        chosen[rows] = True
        return chosen

    def photographed(self) -> list[Photographed]:
        """Return whose eye each of the N photographs shows; much faster than their whole records."""
        rows = self._db.execute("SELECT subject, collection, visit, eye FROM cases ORDER BY id")
        return [
            Photographed(identifier(subject or "") or None, identifier(collection), *seen)
            for subject, collection, *seen in rows
        ]

    def people(self) -> NDArray[np.int64]:
        """Return (N,) whose photograph it is; one of nobody known is of a person of its own."""
        return codes_of(
            [
                (taken.collection, taken.subject) if taken.subject is not None else (i,)
                for i, taken in enumerate(self.photographed())
            ]
        )

    def labelled(self) -> list[tuple[int | None, frozenset[str] | None]]:
        """Return grade and findings of each of the N photographs; None where unknown."""
        found: dict[int, set[str]] = {}
        for id_, finding in self._db.execute("SELECT case_id, finding FROM case_findings"):
            found.setdefault(id_, set()).add(finding)
        rows = self._db.execute("SELECT id, grade, looked FROM cases ORDER BY id")
        return [(grade, frozenset(found.get(id_, ())) if looked else None) for id_, grade, looked in rows]

    def column(self, name: str) -> list[str | None]:
        """Return the value of each of the N photographs in a further column, as text."""
        query = "SELECT c.id, CAST(e.value AS TEXT) FROM cases AS c, json_each(c.extra) AS e WHERE e.key = ?"
        found = dict(self._db.execute(query, (name,)).fetchall())
        return [found.get(id_) for (id_,) in self._db.execute("SELECT id FROM cases ORDER BY id")]

    def stamps(self) -> NDArray[np.int64]:
        """Return (N, 2) size in bytes and time of change in ns of the N files, when they were added."""
        rows = self._db.execute("SELECT size, mtime_ns FROM cases ORDER BY id").fetchall()
        return np.array(rows, np.int64).reshape(-1, 2)

    def digests(self) -> list[bytes]:
        """Return the BLAKE2b digest with 16 bytes of each of the N files."""
        return list(digests(self._db).values())

    def cases(self, rows: Iterable[int]) -> list[Case]:
        """Return the records in these rows."""
        return cases_of(self._db, (int(self.ids[row]) for row in rows))

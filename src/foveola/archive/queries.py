"""Questions to the database of an archive, each within a transaction of the caller."""

import os
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveola.archive import checks, schema
from foveola.archive.records import Photographed
from foveola.errors import ArchiveError, NoCaseError
from foveola.records import Case, identifier

# Subjects and collections that an older version stored as they were written: the normal form to
# what stands in the tables.
Odd = Mapping[str, Sequence[str]]
LITTLE = np.dtype("<f4")  # how a descriptor is stored
TOO_LARGE = 1 << 63  # an id that SQLite can't hold
_BATCH = 1024  # rows read from SQLite at once


@dataclass(frozen=True)
class Vectors:
    """Every descriptor of one state of the archive."""

    version: int  # SQLite's data_version, changed by other connections only
    ids: NDArray[np.int64]  # (N,) ascending
    matrix: NDArray[np.float32]  # (N, D)
    odd: Odd  # spellings of subjects and collections
    # rows by condition and hidden columns
    filtered: dict[object, NDArray[np.int64]] = field(default_factory=dict)


def load(db: sqlite3.Connection, version: int, dimension: int, folder: Path) -> Vectors:
    """Read every descriptor into one contiguous matrix."""
    count = db.execute("SELECT count(*) FROM descriptors").fetchone()[0]
    ids = np.empty(count, np.int64)
    matrix = np.empty((count, dimension), np.float32)
    known = checks.of_vectors(db)
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
            found += [(row[0], checks.of_vector(row[1])) for row in rows]
    if known is not None and found != known:
        raise checks.damaged(folder)
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
    """The id of the case with this path; None where there is none."""
    row = db.execute("SELECT id FROM cases WHERE path = ?", (path,)).fetchone()
    return None if row is None else int(row[0])


def cases_of(db: sqlite3.Connection, ids: Iterable[int]) -> list[Case]:
    """The cases with these ids, in their order.

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


def photographed(db: sqlite3.Connection) -> list[Photographed]:
    """Whose eye each photograph shows, in the order of the matrix."""
    rows = db.execute("SELECT subject, collection, visit, eye FROM cases ORDER BY id")
    return [
        Photographed(identifier(subject or "") or None, identifier(collection), *seen)
        for subject, collection, *seen in rows
    ]


def labelled(db: sqlite3.Connection) -> list[tuple[int | None, frozenset[str] | None]]:
    """Grade and findings of each photograph, None where unknown, in the order of the matrix."""
    found: dict[int, set[str]] = {}
    for id_, finding in db.execute("SELECT case_id, finding FROM case_findings"):
        found.setdefault(id_, set()).add(finding)
    rows = db.execute("SELECT id, grade, looked FROM cases ORDER BY id")
    return [(grade, frozenset(found.get(id_, ())) if looked else None) for id_, grade, looked in rows]


def column(db: sqlite3.Connection, name: str) -> list[str | None]:
    """The value of each photograph in a further column as text, in the order of the matrix."""
    found = dict(
        db.execute(
            "SELECT c.id, CAST(e.value AS TEXT) FROM cases AS c, json_each(c.extra) AS e WHERE e.key = ?", (name,)
        ).fetchall()
    )
    return [found.get(id_) for (id_,) in db.execute("SELECT id FROM cases ORDER BY id")]


def digests(db: sqlite3.Connection) -> dict[int, bytes]:
    """Of the files, by their ids, in the order of these."""
    return dict(db.execute("SELECT id, digest FROM cases ORDER BY id").fetchall())


def stamps(db: sqlite3.Connection) -> NDArray[np.int64]:
    """(N, 2) size and time of change of each file, in the order of the matrix."""
    rows = db.execute("SELECT size, mtime_ns FROM cases ORDER BY id").fetchall()
    return np.array(rows, np.int64).reshape(-1, 2)


def condition(db: sqlite3.Connection, where: str | None, hidden: Collection[str] = ()) -> tuple[str, list[Any]]:
    """A condition as SQL on `c`, and its values; of None it is true for all.

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
    """The first `limit` cases that meet a condition with ids above `after`, and how many do."""
    sql, values = condition(db, where, hidden)
    query = f"{schema.SELECT_RECORD} WHERE ({sql}) AND c.id > ? ORDER BY c.id LIMIT ?"
    rows = db.execute(query, [*values, after, limit]).fetchall()
    count = f"SELECT count(*) FROM cases AS c WHERE {sql}"  # noqa: S608 - values are bound
    total = int(db.execute(count, values).fetchone()[0])
    return [(row[-1], schema.case_of(row)) for row in rows], total


def filtered(
    db: sqlite3.Connection, ids: NDArray[np.int64], where: str | None, hidden: Collection[str] = ()
) -> NDArray[np.int64] | None:
    """Rows of the matrix whose cases meet the condition, ascending; None means all."""
    if not isinstance(where, str | None):
        raise TypeError(f"expected the condition as text, got {where!r}")
    if where is None or not where.strip():
        return None
    sql, values = condition(db, where, hidden)
    query = f"SELECT c.id FROM cases AS c WHERE {sql} ORDER BY c.id"  # noqa: S608 - values are bound
    chosen = np.array([row[0] for row in db.execute(query, values)], np.int64)
    return np.searchsorted(ids, chosen).astype(np.int64)


def of_identity(db: sqlite3.Connection, identity: tuple[str, str] | None, odd: Odd) -> list[int]:
    """Ids of the images that share a `Case.identity`."""
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
    """The id of the image with this path or, failing that, this name.

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
    """Ids of the images of a subject.

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


def _is_in(stored: str, collection: str | None) -> bool:
    """Whether a stored collection is the one that is asked for; None asks for any."""
    return collection is None or identifier(stored) == identifier(collection)

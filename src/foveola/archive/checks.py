"""Checksums of an archive's rows: SQLite has none, and a flipped bit would be a changed answer.

    checks      of each case: CRC-32 of its record with its findings, and of its descriptor;
                in row META that of what the archive is and of its further columns

A connection that writes keeps in mind which cases its statements touch, whoever issues them, and
`seal` computes theirs anew before the transaction ends. An archive of an older Foveola has no such
table and is read as it is; the next change adds it. Whether every index agrees with its table is
asked of SQLite.
"""

import marshal
import sqlite3
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from foveola.archive import schema
from foveola.errors import ArchiveError

META = 0  # no case has this id
SPAN = 1 << 15  # ids looked at together, to bound the memory that it takes
_TABLE = """CREATE TABLE checks (
    case_id INTEGER PRIMARY KEY, record INTEGER NOT NULL, vector INTEGER)"""
_WATCHED = {"cases": "id", "case_findings": "case_id", "descriptors": "case_id"}
_EVENTS = {"INSERT": "new", "UPDATE": "new", "DELETE": "old"}
_RECORDS = (
    f"SELECT id, {', '.join(schema.RECORD)}, digest, size, mtime_ns FROM cases"  # noqa: S608
    " WHERE id BETWEEN ? AND ? ORDER BY id"
)
_FINDINGS = "SELECT case_id, finding FROM case_findings WHERE case_id BETWEEN ? AND ? ORDER BY case_id, finding"
_VECTORS = "SELECT case_id, vector FROM descriptors WHERE case_id BETWEEN ? AND ?"


def watch(db: sqlite3.Connection) -> None:
    """Keep in mind, in this connection, which cases are touched."""
    db.execute("PRAGMA temp_store = MEMORY")
    db.execute("PRAGMA recursive_triggers = ON")  # a row that is replaced is deleted first
    db.execute("CREATE TEMP TABLE touched (id INTEGER PRIMARY KEY)")
    for table, key in _WATCHED.items():
        for event, row in _EVENTS.items():
            keep = f"INSERT OR IGNORE INTO touched VALUES ({row}.{key})"  # noqa: S608 - constants
            name = f"watch_{table}_{event}"
            db.execute(f"CREATE TEMP TRIGGER {name} AFTER {event} ON main.{table} BEGIN {keep}; END")


def seal(db: sqlite3.Connection) -> None:
    """Compute anew what this transaction has touched; all, where there are no checksums yet."""
    if is_checked(db):
        spans = _ranges(row[0] for row in db.execute("SELECT id FROM touched ORDER BY id"))
    else:
        db.execute(_TABLE)
        spans = _spans(db)
    db.execute("DELETE FROM touched")
    for span in spans:
        db.execute("DELETE FROM checks WHERE case_id BETWEEN ? AND ?", span)
        vectors = {id_: of_vector(vector) for id_, vector in db.execute(_VECTORS, span)}
        rows = [(id_, crc, vectors.get(id_)) for id_, crc in _records(db, span).items()]
        db.executemany("INSERT INTO checks VALUES (?, ?, ?)", rows)
    db.execute("INSERT OR REPLACE INTO checks VALUES (?, ?, NULL)", (META, _meta(db)))


def is_checked(db: sqlite3.Connection) -> bool:
    """Return whether an archive has checksums."""
    query = "SELECT count(*) FROM main.sqlite_master WHERE name = 'checks'"
    return bool(db.execute(query).fetchone()[0])


def check_records(db: sqlite3.Connection, folder: Path, id_: int | None = None) -> None:
    """Compare the record of one case with its checksum, or all records.

    Raises:
        ArchiveError: one is not what was written.
    """
    if not is_checked(db):
        return
    row = db.execute("SELECT record FROM checks WHERE case_id = ?", (META,)).fetchone()
    if row is None or row[0] != _meta(db):
        raise damaged(folder)
    query = "SELECT case_id, record FROM checks WHERE case_id > 0 AND case_id BETWEEN ? AND ?"
    for span in _spans(db) if id_ is None else [(id_, id_)]:
        if dict(db.execute(query, span)) != _records(db, span):
            raise damaged(folder)


def check_indexes(db: sqlite3.Connection, folder: Path) -> None:
    """Check that every index of the records agrees with its table.

    Raises:
        ArchiveError: one does not.
    """
    for table in ("cases", "case_findings"):
        if db.execute(f"PRAGMA integrity_check('{table}')").fetchone()[0] != "ok":
            raise damaged(folder)


def of_vectors(db: sqlite3.Connection) -> list[tuple[int, int]] | None:
    """Return ids and checksums of the descriptors, in order of the ids; None of an older archive."""
    if not is_checked(db):
        return None
    query = "SELECT case_id, vector FROM checks WHERE vector IS NOT NULL ORDER BY case_id"
    return db.execute(query).fetchall()


def of_vector(vector: bytes) -> int:
    """Return the checksum of a descriptor."""
    return zlib.crc32(vector)


def damaged(folder: Path) -> ArchiveError:
    """Return the error for rows that are not what was written."""
    return ArchiveError(
        f"{folder} is damaged: a row is not what was written; restore the archive from a copy, or index it again"
    )


def _records(db: sqlite3.Connection, span: tuple[int, int]) -> dict[int, int]:
    rows = db.execute(_RECORDS, span).fetchall()
    found = {row[0]: zlib.crc32(_bytes(row)) for row in rows}
    for id_, finding in db.execute(_FINDINGS, span):
        found[id_] = zlib.crc32(_bytes(finding), found.get(id_, 0))
    return found


def _meta(db: sqlite3.Connection) -> int:
    made_by = "SELECT key, value FROM meta WHERE key IN ('encoder', 'fingerprint', 'dimension')"
    columns = "SELECT name, kind FROM columns ORDER BY name, kind"
    return zlib.crc32(_bytes([sorted(db.execute(made_by)), db.execute(columns).fetchall()]))


def _spans(db: sqlite3.Connection) -> list[tuple[int, int]]:
    """Ranges of ids, both ends in them, in which all cases lie."""
    names = ("SELECT max(id) FROM cases", "SELECT max(case_id) FROM case_findings")
    last = max(db.execute(name).fetchone()[0] or 0 for name in names)
    if is_checked(db):
        last = max(last, db.execute("SELECT max(case_id) FROM checks").fetchone()[0] or 0)
    return [(start, start + SPAN - 1) for start in range(1, last + 1, SPAN)]


def _ranges(ids: Iterable[int]) -> list[tuple[int, int]]:
    """Ascending ids as ranges, both ends in them."""
    found: list[tuple[int, int]] = []
    for id_ in ids:
        if found and found[-1][1] == id_ - 1 and id_ - found[-1][0] < SPAN:
            found[-1] = found[-1][0], id_
        else:
            found.append((id_, id_))
    return found


def _bytes(value: Any) -> bytes:
    """Return plain values as bytes; version 2 knows no references, so equal ones are equal."""
    return marshal.dumps(value, 2)

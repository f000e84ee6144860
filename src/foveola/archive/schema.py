"""The tables of an archive, the formats they had, and the way of a case into them and back.

    meta            what the archive is: encoder, fingerprint, dimension
    cases           one row a photograph; its id is given once and never again
    case_findings   its findings; `looked` in cases says whether anybody looked
    descriptors     its vector, little-endian float32, apart so that records are read fast
    columns         names and kinds of the further columns, for filters
    removals        what is on its way out (removals.py), since format 2

No row holds a time or a host, so two archives of the same files are equal.

Whoever opens an archive to write brings it up to the present format, one format at a time, each in
one transaction: killed in the middle it has the format before, and the next one goes on. Whoever
only reads takes every format as it is.
"""

import json
import math
import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foveola.records import PLAIN, Case, Eye
from foveola.resources import transaction

DIGEST_BYTES = 16  # blake2b with digest_size=16
APPLICATION_ID = 0x464F5645  # "FOVE", marks the file as ours
VERSION = 2  # of the format; 1 had no removals
_LARGE = 1 << 63  # what SQLite can't hold
PAGE_SIZE = 16384  # a 512-dimensional descriptor wastes half of SQLite's usual 4096
SCHEMA = f"""
PRAGMA page_size = {PAGE_SIZE};
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE cases (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    path TEXT NOT NULL UNIQUE,
    image TEXT NOT NULL,
    subject TEXT,
    eye TEXT CHECK (eye IN ('left', 'right')),
    visit,
    grade INTEGER CHECK (grade BETWEEN 0 AND 4),
    collection TEXT NOT NULL,
    looked INTEGER NOT NULL CHECK (looked IN (0, 1)),
    extra TEXT NOT NULL,
    digest BLOB NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL
);
CREATE INDEX cases_subject ON cases (subject, collection);
CREATE INDEX cases_image ON cases (image);
CREATE INDEX cases_digest ON cases (digest);
CREATE TABLE case_findings (
    case_id INTEGER NOT NULL REFERENCES cases ON DELETE CASCADE,
    finding TEXT NOT NULL,
    PRIMARY KEY (case_id, finding)
) WITHOUT ROWID;
CREATE TABLE descriptors (
    case_id INTEGER PRIMARY KEY REFERENCES cases ON DELETE CASCADE,
    vector BLOB NOT NULL
);
CREATE TABLE columns (
    name TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('number', 'text')),
    PRIMARY KEY (name, kind)
) WITHOUT ROWID;
CREATE TABLE removals (number TEXT PRIMARY KEY, told TEXT NOT NULL) WITHOUT ROWID;
"""
RECORD = ("path", "image", "subject", "eye", "visit", "grade", "collection", "looked", "extra")
SELECT_RECORD = f"""SELECT {", ".join("c." + name for name in RECORD)},
    (SELECT json_group_array(finding) FROM
        (SELECT finding FROM case_findings WHERE case_id = c.id ORDER BY finding)),
    c.id FROM cases AS c"""  # noqa: S608 - constants only
LIST_COLUMNS = """INSERT INTO columns
    SELECT DISTINCT e.key, CASE e.type WHEN 'text' THEN 'text' ELSE 'number' END
    FROM cases AS c, json_each(c.extra) AS e"""
STEPS: dict[int, Callable[[sqlite3.Connection], object]] = {
    2: lambda db: db.execute("CREATE TABLE removals (number TEXT PRIMARY KEY, told TEXT NOT NULL) WITHOUT ROWID")
}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A case to be stored.

    Attributes:
        case: the record; its `path` is the key of the archive.
        descriptor: (D,) float32, a unit vector.
        digest: blake2b of the file with 16 bytes.
        size: of the file in bytes.
        mtime_ns: of the file, nanoseconds since 1970.
    """

    case: Case
    descriptor: NDArray[np.float32]
    digest: bytes
    size: int
    mtime_ns: int


class Photographed(NamedTuple):
    """Whose eye a photograph shows, and when it was taken; None is unknown."""

    subject: str | None
    collection: str
    visit: float | str | None
    eye: Eye | None


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a search gives, best first.

    Attributes:
        ids: (n,) int64, n <= k.
        similarities: (n,) float32 cosine in [-1, 1]; equal ones are ordered by id.
        scores: (n,) float32, by which they are ordered; the similarities, unless another order was
            asked for.
        nearest: greatest cosine of any case considered; None where none was.
        cases: the n records, of the same state of the archive as the ids.
        excluded_same_subject: images of the query's subject that pass the filter and were left out.
        considered: cases compared, after filter and exclusions.
    """

    ids: NDArray[np.int64]
    similarities: NDArray[np.float32]
    scores: NDArray[np.float32]
    nearest: float | None
    cases: tuple[Case, ...]
    excluded_same_subject: int
    considered: int


def record_of(case: Case) -> tuple[Any, ...]:
    """Return the values of RECORD followed by the findings as a JSON list.

    Raises:
        ValueError: a value that is no text, number or None, is not finite, or can't be UTF-8.
    """
    grade = None if case.grade is None else int(case.grade)
    if grade not in (None, 0, 1, 2, 3, 4) or case.eye not in (None, "left", "right"):
        raise ValueError(f"expected a grade of 0 to 4 and an eye left or right, got {grade} and {case.eye!r}")
    extra = {_name(key): _scalar(value) for key, value in case.extra.items()}
    return (
        _text(case.path),
        _text(case.image),
        None if case.subject is None else _name(case.subject),
        case.eye,
        None if case.visit is None else _scalar(case.visit),
        grade,
        _name(case.collection),
        int(case.findings is not None),
        json.dumps(extra, ensure_ascii=False, sort_keys=True),
        json.dumps(sorted(map(_name, case.findings or ())), ensure_ascii=False),
    )


def fault_of(case: Case) -> str | None:
    """Say why an archive can't hold a case, as the end of a sentence; None where it can."""
    try:
        record_of(case)
    except (ValueError, OverflowError, TypeError) as error:
        return f"can't be kept: {error}"
    return None


def case_of(row: tuple[Any, ...]) -> Case:
    """Return the case in a row of SELECT_RECORD."""
    path, image, subject, eye, visit, grade, collection, looked, extra, findings = row[:10]
    return Case(
        path=path,
        image=image,
        subject=subject,
        eye=eye,
        visit=visit,
        grade=grade,
        collection=collection,
        findings=frozenset(json.loads(findings)) if looked else None,
        extra=json.loads(extra),
    )


def put_record(db: sqlite3.Connection, record: tuple[Any, ...], id_: int | None) -> int:
    """Write a record, over the one of id_ where it is given, and return its id.

    A plain INSERT or UPDATE: an upsert would use up an id even where it replaces.
    """
    *values, findings = record
    if id_ is None:
        marks = ", ".join("?" * len(RECORD))
        id_ = db.execute(
            f"INSERT INTO cases ({', '.join(RECORD)}, digest, size, mtime_ns)"  # noqa: S608
            f" VALUES ({marks}, x'', 0, 0)",
            values,
        ).lastrowid
        if id_ is None:  # for the type checker: an INSERT always has a row id
            raise sqlite3.InternalError("no row id")
    else:
        names = ", ".join(f"{name} = ?" for name in RECORD)
        db.execute(f"UPDATE cases SET {names} WHERE id = ?", (*values, id_))  # noqa: S608
        db.execute("DELETE FROM case_findings WHERE case_id = ?", (id_,))
    found = [(id_, finding) for finding in json.loads(findings)]
    db.executemany("INSERT INTO case_findings VALUES (?, ?)", found)
    kinds = [
        (name, "text" if isinstance(value, str) else "number")
        for name, value in json.loads(record[RECORD.index("extra")]).items()
    ]
    db.executemany("INSERT OR IGNORE INTO columns VALUES (?, ?)", kinds)
    return id_


def rebuild_columns(db: sqlite3.Connection) -> None:
    """List the further columns anew, after a record was replaced or removed."""
    db.execute("DELETE FROM columns")
    db.execute(LIST_COLUMNS)


def _name(value: str) -> str:
    """A text by which somebody looks for cases."""
    if not re.fullmatch(PLAIN, _text(value)) or value.endswith("\n"):
        raise ValueError(
            "a subject, collection, finding or name of a column holds a line end or another "
            "control character; mend it where it comes from"
        )
    return value


def _text(value: str) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(f"expected text without NUL, got {value!r}")
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate, as Python has it for other bytes in a name
        raise ValueError("its name, or a text of its record, is not UTF-8; rename the file, or mend the text") from None
    return value


def _scalar(value: str | int | float) -> str | int | float:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int) and -_LARGE <= value < _LARGE:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    raise ValueError(f"expected a text or a finite number of up to 64 bits, got {value!r}")


# What makes a format of the one before it. A step is never changed once it was released.


def format_of(db: sqlite3.Connection) -> int:
    """Return the format of an archive."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def bring_up_to_date(db: sqlite3.Connection) -> None:
    """Take an archive through all formats up to the present one; mostly there is nothing to do."""
    while format_of(db) < VERSION:
        with transaction(db):
            wanted = format_of(db) + 1  # looked at again: another process may have been first
            if wanted <= VERSION:
                STEPS[wanted](db)
                db.execute(f"PRAGMA user_version = {wanted}")

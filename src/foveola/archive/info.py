"""What an archive holds, in numbers."""

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from foveola.archive.formats import format_of
from foveola.records import identifier

UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class ArchiveInfo:
    """Contents of an archive.

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


def describe(db: sqlite3.Connection, folder: Path, made_by: tuple[str, str, int]) -> ArchiveInfo:
    """Count; `made_by` is the encoder's name, fingerprint and dimension."""
    encoder, fingerprint, dimension = made_by
    cases, without, looked = db.execute(
        "SELECT count(*), count(*) - count(subject), coalesce(sum(looked), 0) FROM cases"
    ).fetchone()
    people = "SELECT DISTINCT collection, subject FROM cases WHERE subject IS NOT NULL"
    subjects = {tuple(map(identifier, row)) for row in db.execute(people)}
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
        format=format_of(db),
        bytes=_bytes(folder),
    )


def values(db: sqlite3.Connection, column: str, most: int) -> dict[str, int]:
    """Photographs by the value that a further column has, the commonest first."""
    query = (
        "SELECT CAST(e.value AS TEXT), count(*) AS n FROM cases AS c, json_each(c.extra) AS e"
        " WHERE e.key = ? GROUP BY 1 ORDER BY n DESC, 1 LIMIT ?"
    )
    return dict(db.execute(query, (column, most)).fetchall())


def _counts(db: sqlite3.Connection, query: str) -> dict[str, int]:
    """Counts by name, in order, the unknown last."""
    rows = sorted(db.execute(query), key=lambda row: (row[0] is None, row[0]))
    return {UNKNOWN if key is None else str(key): count for key, count in rows}


def _bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # SQLite's log comes and goes
            total += path.stat().st_size if path.is_file() else 0
    return total

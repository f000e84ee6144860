"""Cases that are on their way out: nothing finds them any more, but traces are left elsewhere.

What is to go is written into the archive in the transaction that takes the cases from it, and
stays there until it has gone from everywhere. So whatever comes in between, a kill or another
process that is writing, the work can be finished by whoever opens the archive next
(`foveola.server.maintenance.remove`).
"""

import contextlib
import json
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from foveola.archive import schema, state
from foveola.records import Case

FIRST = 2  # the first format that has removals


@dataclass(frozen=True, kw_only=True)
class Removal:
    """What is to go.

    Attributes:
        number: drawn at random.
        ids: of the cases.
        rows: their records and, in hexadecimal, digests; empty once nothing else has a trace.
        subject: whose traces go wherever they are, also without a case; None of a mere removal.
        person: what tells the subject again when that is emptied: salt and hash.
        files: whether photographs outside of the archive go, too.
        learns: whether the archive learns anew what it is without them.
        counts: what there was of them, by part, before any of it went; None until that is counted.
        over: nothing is left of them, in this file either.
    """

    number: str = field(default_factory=lambda: secrets.token_hex(8))
    ids: tuple[int, ...] = ()
    rows: Sequence[tuple[Sequence[Any], str]] = ()
    subject: str | None = None
    person: tuple[str, str] | None = None
    files: bool = False
    learns: bool = True
    counts: Mapping[str, int] | None = None
    over: bool = False

    @property
    def cases(self) -> list[Case]:
        """Return the records."""
        return [schema.case_of(tuple(row)) for row, _ in self.rows]

    @property
    def digests(self) -> set[bytes]:
        """Return the digests of the files."""
        return {bytes.fromhex(digest) for _, digest in self.rows}


def take(db: sqlite3.Connection, ids: Sequence[int]) -> list[tuple[Sequence[Any], str]]:
    """Take cases from their tables and return their records and digests."""
    digests = state.digests(db)
    rows = [
        (db.execute(f"{schema.SELECT_RECORD} WHERE c.id = ?", (id_,)).fetchone(), digests[id_].hex()) for id_ in ids
    ]
    db.executemany("DELETE FROM cases WHERE id = ?", [(id_,) for id_ in ids])
    schema.rebuild_columns(db)
    return rows


def put(db: sqlite3.Connection, removal: Removal) -> None:
    """Write a removal, over the one of the same number."""
    values = (removal.number, json.dumps(asdict(removal)))
    db.execute("INSERT OR REPLACE INTO removals VALUES (?, ?)", values)


def drop(db: sqlite3.Connection, number: str) -> None:
    """Forget about a removal."""
    db.execute("DELETE FROM removals WHERE number = ?", (number,))


def pending(db: sqlite3.Connection) -> list[Removal]:
    """Return all removals of an archive, in the order of their ids."""
    if schema.format_of(db) < FIRST:
        return []
    told = [json.loads(row[0]) for row in db.execute("SELECT told FROM removals")]
    found = [
        Removal(**(each | {"ids": tuple(each["ids"]), "person": each["person"] and tuple(each["person"])}))
        for each in told
    ]
    return sorted(found, key=lambda removal: (removal.ids, removal.number))


def are_pending(folder: Path) -> bool:
    """Return whether an archive has a removal to finish; quick, and False where that is not known."""
    from foveola.archive.database import FILE

    file = (folder / FILE).absolute()
    with contextlib.suppress(sqlite3.Error, ValueError):
        db = sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=1)
        with contextlib.closing(db):
            return any(not removal.over for removal in pending(db))
    return False

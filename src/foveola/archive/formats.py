"""Bringing an archive of an older format up to the present one, `schema.VERSION`.

    1    cases, descriptors, columns
    2    removals: cases that are on their way out (removals.py)

Whoever opens an archive to write brings it up to date, one format at a time, each in one
transaction: killed in the middle it has the format before, and the next one goes on. Whoever only
reads takes every format as it is.
"""

import sqlite3
from collections.abc import Callable

from foveola.archive import schema
from foveola.resources import transaction

# What makes a format of the one before it. A step is never changed once it was released.
STEPS: dict[int, Callable[[sqlite3.Connection], object]] = {
    2: lambda db: db.execute("CREATE TABLE removals (number TEXT PRIMARY KEY, told TEXT NOT NULL) WITHOUT ROWID")
}


def format_of(db: sqlite3.Connection) -> int:
    """Return the format of an archive."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def bring_up_to_date(db: sqlite3.Connection) -> None:
    """Take an archive through all formats up to the present one; mostly there is nothing to do."""
    while format_of(db) < schema.VERSION:
        with transaction(db):
            wanted = format_of(db) + 1  # looked at again: another process may have been first
            if wanted <= schema.VERSION:
                STEPS[wanted](db)
                db.execute(f"PRAGMA user_version = {wanted}")

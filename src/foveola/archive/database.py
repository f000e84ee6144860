"""The SQLite file of an archive: opening it, what its faults mean to a user, and checksums of its rows."""

import contextlib
import marshal
import os
import sqlite3
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

from foveola.archive import schema
from foveola.errors import ArchiveError, BusyError
from foveola.resources import sync_folder

FILE = "archive.sqlite"
ENCODER = "encoder"
ENCODER_PARTIAL = "encoder.partial"  # a copy that a kill may have cut short
BUSY_SECONDS = 5.0  # how long to wait for another process before giving up
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_UNSHARED = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)  # no shared-memory file
_LOST = ("no such table", "no such column", "malformed")  # of a description that was damaged
_NEW = ".archive.sqlite."  # a file being created; a killed process may leave one behind
NEW = "new"  # what stands in the name of a whole archive being made within its folder


def create(folder: Path, meta: dict[str, str | int]) -> None:
    """Make the database file of a new archive in one step: it is there wholly, or not at all.

    Raises:
        ArchiveError: the folder holds an archive or foreign files, or can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in folder.iterdir()}
    except FileExistsError:
        raise ArchiveError(f"{folder} is a file; give a new folder for the archive") from None
    except OSError as error:
        raise ArchiveError(f"{folder} can't be created: {error.strerror}") from None
    if FILE in names:
        raise ArchiveError(f"{folder} already holds an archive; open it, or give a new folder")
    if any(is_foreign(name) for name in names):
        raise ArchiveError(f"{folder} holds other files; give a new or an empty folder")
    try:
        _publish(folder, _empty_database(meta))
    except FileExistsError:
        raise ArchiveError(f"{folder} already holds an archive; open it") from None
    except OSError as error:
        raise ArchiveError(f"{folder} can't be written: {error.strerror}") from None


def is_foreign(name: str) -> bool:
    """Return whether a file of this name keeps a folder from becoming an archive.

    What a killed attempt left behind does not: it can be made again.
    """
    return name not in (ENCODER, ENCODER_PARTIAL) and not name.startswith((_NEW, f".{NEW}."))


def _empty_database(meta: dict[str, str | int]) -> bytes:
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        db.executescript(schema.SCHEMA)
        with db:
            db.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
            watch(db)
            seal(db)
        return db.serialize()


def _publish(folder: Path, data: bytes) -> None:
    """Write beside the place and link into it: unlike a rename, a link never replaces."""
    handle, name = tempfile.mkstemp(prefix=_NEW, dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o666 & ~_umask())  # mkstemp's 0600 would lock other readers out
        os.link(name, folder / FILE)
        for path in folder.glob(_NEW + "*"):  # ours, and what was left: the place is taken now
            path.unlink(missing_ok=True)
    except FileNotFoundError:  # another process, whose archive it is, cleaned up
        raise FileExistsError from None
    finally:
        Path(name).unlink(missing_ok=True)
    for place in (folder, folder.parent):
        sync_folder(place)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def connect(folder: Path, *, read_only: bool) -> sqlite3.Connection:
    """Open the database of an archive, in autocommit mode.

    Raises:
        ArchiveError: no such folder, no archive, damaged, or of a newer Foveola.
    """
    file = folder / FILE
    if not folder.is_dir():
        raise ArchiveError(f"{folder}: no such archive; make one with 'foveola index'")
    if not file.is_file():
        raise ArchiveError(f"{folder} is not an archive: it holds no {FILE}")
    with faults(folder, writing=not read_only):
        db = _connect_read_only(folder) if read_only else _connect(file, "rw")
        try:
            _prepare(db, read_only)
            _check(db, folder)
            if not read_only:
                schema.bring_up_to_date(db)
        except BaseException:
            db.close()
            raise
    return db


class _Still(sqlite3.Connection):
    """To a file that is taken to stay as it was when it was opened, as its `stamp` tells."""

    stamp: tuple[int, ...] = ()


def has_changed(folder: Path, db: sqlite3.Connection) -> bool:
    """Return whether a connection that SQLite keeps no watch of has to be made anew."""
    return isinstance(db, _Still) and db.stamp != _stamp(folder)


def _stamp(folder: Path) -> tuple[int, ...]:
    file, log = folder / FILE, folder / f"{FILE}-wal"
    if not file.exists():
        return ()
    found = file.stat()
    written = log.stat().st_size if log.exists() else 0
    return found.st_ino, found.st_size, found.st_mtime_ns, written


def _connect(file: Path, mode: str, kind: type[sqlite3.Connection] = sqlite3.Connection) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{file.absolute().as_uri()}?mode={mode}",
        factory=kind,
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,  # transactions are begun by hand
        check_same_thread=False,  # the archive has a lock
    )


def _connect_read_only(folder: Path) -> sqlite3.Connection:
    """Open for reading, also where nothing can be written.

    A WAL database needs a shared-memory file beside it. Where none is there and none can be made,
    on a disc that is read-only or full, or in another user's folder, SQLite is told that the file
    stays as it is, as long as no log has to be applied. Who may write can still begin to:
    `has_changed` tells, before and after each reading. Then there is such a file, and SQLite reads
    beside the writer.
    """
    db = _connect(folder / FILE, "ro")
    try:
        db.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        db.close()
        log = folder / f"{FILE}-wal"
        code = error.sqlite_errorcode
        if code & 0xFF not in _UNSHARED and code != sqlite3.SQLITE_IOERR_SHMSIZE:
            raise
        if log.exists() and log.stat().st_size:
            raise ArchiveError(
                f"{folder} was not closed properly, or another user is writing to it, and its log "
                "can't be applied where it can't be written; open it once where it can"
            ) from None
        stamp = _stamp(folder)
        db = _connect(folder / FILE, "ro&immutable=1", _Still)
        cast(_Still, db).stamp = stamp
    return db


def _prepare(db: sqlite3.Connection, read_only: bool) -> None:
    db.execute("PRAGMA foreign_keys = ON")
    if read_only:
        return
    if db.execute("PRAGMA application_id").fetchone()[0] == schema.APPLICATION_ID:
        db.execute("PRAGMA journal_mode = WAL")
        watch(db)
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA secure_delete = ON")


def _check(db: sqlite3.Connection, folder: Path) -> None:
    if db.execute("PRAGMA application_id").fetchone()[0] != schema.APPLICATION_ID:
        raise ArchiveError(f"{folder} is not an archive: {FILE} is another kind of file, or empty")
    version = schema.format_of(db)
    if version > schema.VERSION:
        raise ArchiveError(
            f"{folder} was made by a newer Foveola (format {version}, this one reads {schema.VERSION}); update Foveola"
        )
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    size = (folder / FILE).stat().st_size  # after the count: a writer only makes the file grow
    log = folder / f"{FILE}-wal"
    if size < pages * schema.PAGE_SIZE and not (log.exists() and log.stat().st_size):
        raise ArchiveError(_unreadable(folder))


def _unreadable(folder: Path) -> str:
    return f"{folder} is damaged: {FILE} can't be read; restore it from a copy or index it again"


@contextlib.contextmanager
def faults(folder: Path, *, writing: bool = False) -> Iterator[None]:
    """Turn what SQLite says into what a user can do; programming errors pass unchanged.

    Args:
        folder: the archive.
        writing: whether something was to be written.

    Raises:
        ArchiveError: the archive is damaged, busy, or on a disk that is full or read-only.
        ValueError: it was closed.
    """
    try:
        yield
    except sqlite3.ProgrammingError as error:
        if "closed" in str(error):
            raise ValueError(f"{folder} was closed; open it again") from None
        raise
    except sqlite3.DatabaseError as error:
        # Text that is no UTF-8 comes without a code, and only a damaged file holds any.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
        if code == sqlite3.SQLITE_ERROR and str(error).startswith(_LOST):
            code = sqlite3.SQLITE_CORRUPT
        message = _explain(folder, code, writing=writing)
        if message is None:
            raise
        busy = getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY
        raise (BusyError if busy else ArchiveError)(message) from error


def _explain(folder: Path, code: int, *, writing: bool) -> str | None:
    if code == sqlite3.SQLITE_IOERR_SHMSIZE:  # no room for the shared-memory file
        code = sqlite3.SQLITE_FULL
    match code & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return f"{folder} is busy: another process is writing; try again when it has finished"
        case sqlite3.SQLITE_FULL:
            return (
                f"the disk of {folder} is full; the last change was not stored, everything "
                "before it was. Make room and run the same command again"
            )
        case sqlite3.SQLITE_READONLY:
            return f"{folder} can't be written; check the rights on the folder and its files"
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return _unreadable(folder)
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_IOERR:
            done = "written" if writing else "read"
            return f"{folder} can't be {done}; check the rights on it, and the disk"
        case sqlite3.SQLITE_AUTH:
            return f"{folder} can't be opened; check the rights on it"
    return None


# --- checksums: SQLite has none, and a flipped bit would be a changed answer ---
#
#     checks      of each case: CRC-32 of its record with its findings, and of its descriptor;
#                 in row META that of what the archive is and of its further columns
#
# A connection that writes keeps in mind which cases its statements touch, whoever issues them, and
# `seal` computes theirs anew before the transaction ends. An archive of an older Foveola has no such
# table and is read as it is; the next change adds it. Whether every index agrees with its table is
# asked of SQLite.


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

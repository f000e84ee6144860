"""The one file that knows who is who: patients and UIDs to pseudonyms, and back.

    patients    issuer and patient ID -> pseudonym, days by which dates are moved
    others      further persons that came under one issuer and patient ID
    seen        marks of the names and birth dates that came with a patient (patients.py)
    uids        study and series, original -> new
    instances   one row a stored frame: new SOP Instance UID <- original, frame, study, series
    sums        of each table the sum of its rows' digests: a flipped bit could merge two patients,
                or send a report to another; looked at when the file is opened

Pseudonyms and UIDs are random, so nothing outside this file leads back. It lies outside the
archive and the store, which may be copied, published or lost without it; only its owner may
read it. Two processes may use it at the same time; what was returned survives a power cut.
"""

import contextlib
import marshal
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from foveola.errors import PacsError
from foveola.resources import Closing, transaction
from foveola.server.dicom.patients import Identity, is_pseudonym, new_uid, patient_of

APPLICATION_ID = 0x464F5650  # "FOVP"
VERSION = 2  # 1 had no sums
BUSY_SECONDS = 10.0

_SCHEMA = f"""
PRAGMA application_id = {APPLICATION_ID};
CREATE TABLE patients (
    id INTEGER PRIMARY KEY,
    issuer TEXT NOT NULL,
    patient TEXT NOT NULL,
    pseudonym TEXT NOT NULL UNIQUE,
    shift_days INTEGER NOT NULL,
    UNIQUE (issuer, patient)
);
CREATE TABLE uids (
    kind TEXT NOT NULL CHECK (kind IN ('study', 'series')),
    original TEXT NOT NULL,
    patient INTEGER NOT NULL REFERENCES patients ON DELETE CASCADE,
    new TEXT NOT NULL UNIQUE,
    PRIMARY KEY (kind, original, patient)
);
CREATE TABLE instances (
    new TEXT PRIMARY KEY,
    original TEXT NOT NULL,
    frame INTEGER NOT NULL,
    study TEXT NOT NULL,
    series TEXT NOT NULL,
    sop_class TEXT NOT NULL,
    patient INTEGER NOT NULL REFERENCES patients ON DELETE CASCADE,
    indexed INTEGER NOT NULL DEFAULT 0,
    UNIQUE (original, frame)
);
CREATE INDEX instances_patient ON instances (patient);
"""
# Files of earlier versions have no such tables, and get them when they are opened.
_ADDED = """
CREATE TABLE IF NOT EXISTS others (
    person INTEGER PRIMARY KEY REFERENCES patients ON DELETE CASCADE,
    issuer TEXT NOT NULL,
    patient TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS others_patient ON others (issuer, patient);
CREATE TABLE IF NOT EXISTS seen (
    patient INTEGER NOT NULL REFERENCES patients ON DELETE CASCADE,
    name TEXT NOT NULL,
    birth TEXT NOT NULL,
    PRIMARY KEY (patient, name, birth)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sums (name TEXT PRIMARY KEY, sum INTEGER NOT NULL);
"""
_SUMMED = {
    "patients": ("id", "issuer", "patient", "pseudonym", "shift_days"),
    "others": ("person", "issuer", "patient"),
    "seen": ("patient", "name", "birth"),
    "uids": ("kind", "original", "patient", "new"),
    "instances": ("new", "original", "frame", "study", "series", "sop_class", "patient", "indexed"),
}
_TURN = 1 << 56  # at which sums begin anew: a digest and a sum are below it


@dataclass(frozen=True, kw_only=True)
class Names:
    """What takes the place of an identity.

    Attributes:
        pseudonym: of the patient.
        shift_days: below 0; added to every date of the patient.
        study, series: new UIDs.
        instances: a new SOP Instance UID for each frame.
        doubt: what has to be told of whose it is, a sentence without patients' data, or "".
    """

    pseudonym: str
    shift_days: int
    study: str
    series: str
    instances: tuple[str, ...]
    doubt: str = ""


@dataclass(frozen=True, kw_only=True)
class Original:
    """What a de-identified instance was made from.

    Attributes:
        patient_id, issuer: of the patient; patient_id is "" where the object had none.
        study, series, instance, sop_class: UIDs of the object in the PACS.
        frame: of that object, from 1.
        pseudonym, shift_days: as in `Names`.
    """

    patient_id: str
    issuer: str
    study: str
    series: str
    instance: str
    sop_class: str
    frame: int
    pseudonym: str
    shift_days: int


class Pseudonyms(Closing):
    """The file of pseudonyms, made if it is not there; a context manager, safe in threads.

    Args:
        path: the file, readable and writable by its owner only (it is made so).
        outside: folders that it must not lie in: the archive, the store.

    Raises:
        PacsError: it lies in one of them, can't be opened, or is another kind of file.
    """

    def __init__(self, path: Path, *, outside: Sequence[Path] = ()) -> None:
        self.path = path.absolute()
        for folder in outside:
            if self.path.resolve().is_relative_to(folder.resolve()):
                raise PacsError(
                    f"the pseudonyms would lie in {folder}, which may be copied and given away; "
                    "name a file outside the archive and its store"
                )
        self._lock = threading.RLock()
        with self._faults():
            self._db = _open(self.path)

    def close(self) -> None:
        """Give the file back; a second call does nothing."""
        with self._lock:
            self._db.close()

    def reserve(self, identity: Identity) -> Names:
        """Return the names of an object, made at its first call; on return they are on the disk.

        Raises:
            ImageError: the instance came before, with another patient.
            PacsError: another process keeps the file busy, or the disk is full.
        """
        with self._writing() as db:
            patient, doubt = patient_of(db, identity)
            for frame in range(1, identity.frames + 1):
                db.execute(
                    "INSERT OR IGNORE INTO instances "
                    "(new, original, frame, study, series, sop_class, patient) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (new_uid(), identity.instance, frame, identity.study, identity.series, identity.sop_class, patient),
                )
            study = _replaced(db, "study", identity.study, patient)
            series = _replaced(db, "series", identity.series, patient)
            pseudonym, shift = db.execute(
                "SELECT pseudonym, shift_days FROM patients WHERE id = ?", (patient,)
            ).fetchone()
            new = db.execute(
                "SELECT new FROM instances WHERE original = ? ORDER BY frame", (identity.instance,)
            ).fetchall()
        return Names(
            pseudonym=pseudonym,
            shift_days=shift,
            study=study,
            series=series,
            instances=tuple(uid for (uid,) in new[: identity.frames]),
            doubt=doubt,
        )

    def indexed(self, instances: Sequence[str]) -> None:
        """Note that these new SOP Instance UIDs are in the archive."""
        with self._writing() as db:
            db.executemany("UPDATE instances SET indexed = 1 WHERE new = ?", [(uid,) for uid in instances])

    def unfinished(self) -> list[tuple[str, str]]:
        """Return (pseudonym, new SOP Instance UID) of what was begun and not noted as indexed."""
        with self._reading() as db:
            return db.execute(
                "SELECT p.pseudonym, i.new FROM instances AS i JOIN patients AS p "
                "ON p.id = i.patient WHERE NOT i.indexed ORDER BY i.rowid"
            ).fetchall()

    def drop(self, instances: Sequence[str]) -> None:
        """Forget instances that turned out to be no usable images."""
        with self._writing() as db:
            db.executemany("DELETE FROM instances WHERE new = ?", [(uid,) for uid in instances])

    def originals(self, instances: Sequence[str]) -> dict[str, Original]:
        """Return what new SOP Instance UIDs were made from; unknown ones are left out."""
        found: dict[str, Original] = {}
        with self._reading() as db:
            for uid in instances:
                row = db.execute(
                    "SELECT coalesce(o.patient, p.patient), coalesce(o.issuer, p.issuer), i.study, "
                    "i.series, i.original, i.sop_class, i.frame, p.pseudonym, p.shift_days "
                    "FROM instances AS i "
                    "JOIN patients AS p ON p.id = i.patient "
                    "LEFT JOIN others AS o ON o.person = p.id WHERE i.new = ?",
                    (uid,),
                ).fetchone()
                if row is not None:
                    found[uid] = _original(row)
        return found

    def renamed(self, instance: str) -> list[str]:
        """Return what took the place of an instance of the PACS: a new UID a frame, none if unknown."""
        with self._reading() as db:
            rows = db.execute("SELECT new FROM instances WHERE original = ? ORDER BY frame", (instance,))
            return [str(new) for (new,) in rows]

    def forget(self, pseudonym: str) -> int:
        """Remove a patient and all that belongs to them; nothing leads back afterwards.

        Returns:
            How many instances were known of the patient.
        """
        count = self.count(pseudonym)
        with self._writing() as db:
            db.execute("DELETE FROM patients WHERE pseudonym = ?", (pseudonym,))
        with self._lock, self._faults():
            self._db.execute("VACUUM")  # copies of rows in freed pages
        return count

    def count(self, pseudonym: str) -> int:
        """Count the instances that are known of a patient."""
        with self._reading() as db:
            (count,) = db.execute(
                "SELECT count(*) FROM instances AS i JOIN patients AS p ON p.id = i.patient WHERE p.pseudonym = ?",
                (pseudonym,),
            ).fetchone()
        return int(count)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._faults():
            yield self._db

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._faults(), transaction(self._db):
            yield self._db

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.ProgrammingError:
            raise
        except (sqlite3.DatabaseError, UnicodeError, OSError) as error:  # what SQLite says can be spoilt, too
            why = getattr(error, "strerror", None) or _WHY.get(
                getattr(error, "sqlite_errorcode", 0) & 0xFF, "it is damaged or of another kind"
            )
            raise PacsError(f"the pseudonyms in {self.path} can't be used: {why}") from None


_WHY = {
    sqlite3.SQLITE_BUSY: "another process keeps it busy; try again when it has finished",
    sqlite3.SQLITE_FULL: "the disk is full; make room and try again",
    sqlite3.SQLITE_READONLY: "it can't be written; check the rights on it",
    sqlite3.SQLITE_CANTOPEN: "it can't be opened; check that its folder exists and its rights",
    sqlite3.SQLITE_IOERR: "the disk does not answer",
}


def _open(path: Path) -> sqlite3.Connection:
    # Made with its rights before anything is in it; SQLite gives its journal the same.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    path.chmod(0o600)
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        _prepare(db)
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA secure_delete = ON")
    with transaction(db):
        if not db.execute("SELECT 1 FROM sqlite_master").fetchone():
            for statement in _SCHEMA.split(";"):
                db.execute(statement)
        mark = db.execute("PRAGMA application_id").fetchone()[0]
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if mark != APPLICATION_ID or version > VERSION:
            raise sqlite3.DatabaseError
        for statement in _ADDED.split(";"):
            db.execute(statement)
        if version < VERSION:
            db.executemany("INSERT OR REPLACE INTO sums VALUES (?, ?)", _sums(db).items())
            db.execute(f"PRAGMA user_version = {VERSION}")
        _check(db)
    _watch(db)


def _check(db: sqlite3.Connection) -> None:
    """Refuse rows, or a description of them, that are not what was written."""
    sound = db.execute("PRAGMA integrity_check(1)").fetchall() == [("ok",)]  # indexes agree with tables
    if not sound or dict(db.execute("SELECT name, sum FROM sums")) != _sums(db):
        raise sqlite3.DatabaseError


def _sums(db: sqlite3.Connection) -> dict[str, int]:
    """The sum of the digests of all rows of each table, and of what describes the tables."""
    wanted = {name: f"SELECT {', '.join(columns)} FROM {name} NOT INDEXED" for name, columns in _SUMMED.items()}  # noqa: S608
    wanted["sqlite_master"] = "SELECT type, name, tbl_name, sql FROM sqlite_master"
    return {name: sum(_digest(*row) for row in db.execute(query)) % _TURN for name, query in wanted.items()}


def _watch(db: sqlite3.Connection) -> None:
    """Let every change in this connection change the sums."""
    db.create_function("digest", -1, _digest, deterministic=True)
    for name, columns in _SUMMED.items():
        gone, come = (f"digest({', '.join(f'{row}.{column}' for column in columns)})" for row in ("old", "new"))
        for event, change in {"INSERT": f"+ {come}", "DELETE": f"- {gone}", "UPDATE": f"- {gone} + {come}"}.items():
            db.execute(
                f"CREATE TEMP TRIGGER sum_{name}_{event} AFTER {event} ON main.{name} BEGIN "  # noqa: S608 - constants
                f"UPDATE sums SET sum = (sum {change}) & {_TURN - 1} WHERE name = '{name}'; END"
            )


def _digest(*values: Any) -> int:
    return int.from_bytes(blake2b(marshal.dumps(values, 2), digest_size=7).digest())


def _replaced(db: sqlite3.Connection, kind: str, original: str, patient: int) -> str:
    db.execute("INSERT OR IGNORE INTO uids VALUES (?, ?, ?, ?)", (kind, original, patient, new_uid()))
    row = db.execute(
        "SELECT new FROM uids WHERE kind = ? AND original = ? AND patient = ?", (kind, original, patient)
    ).fetchone()
    return str(row[0])


def _original(row: tuple[str, str, str, str, str, str, int, str, int]) -> Original:
    patient, issuer, study, series, instance, sop_class, frame, pseudonym, shift = row
    unknown = issuer.startswith("\0")
    return Original(
        patient_id="" if unknown else patient,
        issuer="" if unknown else issuer,
        study=study,
        series=series,
        instance=instance,
        sop_class=sop_class,
        frame=frame,
        pseudonym=pseudonym,
        shift_days=shift,
    )


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """What was removed.

    Attributes:
        files: of the store.
        instances: rows of the file of pseudonyms.
    """

    files: int
    instances: int


def held_of(store: Path, names: Pseudonyms, pseudonym: str) -> Forgotten:
    """Count what there is of a patient, as `forget_patient` would remove it."""
    folder = store / pseudonym
    files = len(list(folder.iterdir())) if folder.is_dir() else 0
    return Forgotten(files=files, instances=names.count(pseudonym))


def forget_patient(store: Path, names: Pseudonyms, pseudonym: str) -> Forgotten:
    """Remove a patient from the store and from the file of pseudonyms.

    The archive is another matter: remove the subject there first. Killed in between, it can be
    called again. If the PACS sends an image of the patient later, they come as somebody new.

    Args:
        store: of the de-identified files.
        names: opened for writing.
        pseudonym: the subject of their cases.

    Raises:
        PacsError: this is no pseudonym of ours, or the file of pseudonyms can't be written.
        OSError: a file can't be removed.
    """
    if not is_pseudonym(pseudonym):  # it becomes part of a path
        raise PacsError("this subject did not come from a PACS: its name is no pseudonym of ours")
    folder = store / pseudonym
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    for file in files:
        file.unlink()
    if folder.is_dir():
        folder.rmdir()
    return Forgotten(files=len(files), instances=names.forget(pseudonym))

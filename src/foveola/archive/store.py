"""The archive: a folder with cases, their descriptors and the encoder that made them.

    A/archive.sqlite    records and descriptors (schema.py)
    A/encoder/          a copy of the released encoder, put there by the caller

One process writes, any number read at the same time, and each sees whole batches only. What
`add` has returned from survives a kill and a power cut (WAL, synchronous=FULL).
"""

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from foveola.archive import database, removals, schema
from foveola.archive.removals import Removal
from foveola.archive.schema import DIGEST_BYTES, Entry, Found
from foveola.archive.search import Ordered, check_count, top_asked, top_k, unit
from foveola.archive.state import (
    LITTLE,
    TOO_LARGE,
    ArchiveInfo,
    State,
    Vectors,
    cases_of,
    chosen,
    describe,
    digests,
    id_of,
    load,
    page,
    values,
)
from foveola.errors import ArchiveError, BusyError
from foveola.records import Case
from foveola.relevance.order import Asked
from foveola.resources import AnyPath, Closing, transaction

T = TypeVar("T")


class Archive(Closing):
    """A durable collection of cases and descriptors made by one encoder.

    Made by `create` and `open`; a context manager. May be used from several threads, which
    take turns. Holds N * D * 4 bytes once searched.

    Attributes:
        hidden: gives the columns that no condition may name at the moment; a service sets it.
    """

    def __init__(self, folder: Path, db: sqlite3.Connection, *, read_only: bool) -> None:
        self.folder = folder
        self.read_only = read_only
        self._db = db
        self._lock = threading.RLock()
        self._cache: Vectors | None = None
        self._counts: dict[Any, Any] = {}
        self._sound: int | None = None  # the version whose records were checked
        self._indexed = False  # whether its indexes were
        self.hidden: Callable[[], frozenset[str]] = frozenset
        with database.faults(folder):
            meta = dict(db.execute("SELECT key, value FROM meta").fetchall())
        try:
            self.name = str(meta["encoder"])
            self.fingerprint = str(meta["fingerprint"])
            self.dimension = int(meta["dimension"])
        except (KeyError, ValueError):
            raise ArchiveError(f"{folder} is damaged: it does not say which encoder made it") from None

    @classmethod
    def create(cls, folder: AnyPath, *, encoder: str, fingerprint: str, dimension: int) -> Self:
        """Make an empty archive in a new folder and open it.

        Killed at any moment it leaves either no archive, and can be called again, or a whole one.

        Args:
            folder: must not exist, be empty, or hold nothing but `encoder/`.
            encoder: name of the encoder, for people.
            fingerprint: of its weights and preprocessing; descriptors of another do not fit.
            dimension: D of its descriptors, at least 1.

        Raises:
            ArchiveError: the folder holds an archive or other files, or can't be written.
        """
        if dimension < 1:
            raise ValueError(f"expected a dimension of at least 1, got {dimension}")
        meta: dict[str, str | int] = {"encoder": encoder, "fingerprint": fingerprint, "dimension": int(dimension)}
        database.create(Path(folder), meta)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: AnyPath, *, fingerprint: str | None = None, read_only: bool = False) -> Self:
        """Open an archive.

        Args:
            folder: the archive.
            fingerprint: of the encoder about to be used; None takes any.
            read_only: never write; works beside a writer and on a read-only disc.

        Raises:
            ArchiveError: no such folder, no archive, damaged, of a newer Foveola, or made by an
                encoder of another fingerprint.
        """
        folder = Path(folder)
        db = database.connect(folder, read_only=read_only)
        try:
            archive = cls(folder, db, read_only=read_only)
            if fingerprint not in (None, archive.fingerprint):
                raise ArchiveError(
                    f"{folder} was made by the encoder {archive.name!r} ({archive.fingerprint}), "
                    f"not by the one given ({fingerprint}), and their descriptors can't be "
                    "compared; search with the archive's own encoder, or index into a new folder"
                )
        except BaseException:
            db.close()
            raise
        return archive

    @property
    def encoder_folder(self) -> Path:
        """Return where the copy of the encoder belongs; the archive itself does not read it."""
        return self.folder / database.ENCODER

    @property
    def is_checked(self) -> bool:
        """Return whether its rows have checksums, which an archive of an older Foveola lacks."""
        with self._reading() as db:
            return database.is_checked(db)

    def close(self) -> None:
        """Give the file back; a second call does nothing."""
        with self._lock:
            self._cache = None
            self._db.close()

    def __len__(self) -> int:
        with self._reading() as db:
            return int(db.execute("SELECT count(*) FROM cases").fetchone()[0])

    # Writing

    def add(self, entries: Sequence[Entry]) -> int:
        """Store all entries or none, in one transaction; on return they are on the disk.

        A case whose path is known replaces the stored one and keeps its id.

        Returns:
            How many were stored.

        Raises:
            ValueError: a descriptor of another length or dimension or not finite, a digest that
                is not 16 bytes, a record with values that no case has.
            ArchiveError: another process is writing, the disk is full, opened for reading only.
        """
        rows = [(schema.record_of(e.case), self._blob(e), e) for e in entries]
        with self._writing() as db:
            replaced = False
            for record, blob, entry in rows:
                known = id_of(db, entry.case.path)
                replaced |= known is not None
                id_ = schema.put_record(db, record, known)
                db.execute(
                    "UPDATE cases SET digest = ?, size = ?, mtime_ns = ? WHERE id = ?",
                    (entry.digest, entry.size, entry.mtime_ns, id_),
                )
                db.execute("INSERT OR REPLACE INTO descriptors VALUES (?, ?)", (id_, blob))
            if replaced:
                schema.rebuild_columns(db)
        return len(rows)

    def update_records(self, cases: Iterable[Case]) -> int:
        """Rewrite the records of known paths that differ; descriptors stay.

        For labels that were corrected in the manifest. Unknown paths are passed over.

        Returns:
            How many records changed.

        Raises:
            ValueError, ArchiveError: as for `add`.
        """
        records = [schema.record_of(case) for case in cases]
        changed = 0
        with self._writing() as db:
            stored = {row[0]: row for row in db.execute(schema.SELECT_RECORD)}
            for record in records:
                row = stored.get(record[0])
                if row is None or schema.record_of(schema.case_of(row)) == record:
                    continue
                schema.put_record(db, record, row[-1])
                changed += 1
            if changed:
                schema.rebuild_columns(db)
        return changed

    def move(self, paths: Mapping[str, str]) -> int:
        """Say where files lie now that were moved; their cases keep id, record and descriptor.

        Args:
            paths: from where they lay to where they lie; unknown ones are passed over.

        Returns:
            How many cases were changed.

        Raises:
            ValueError: there is a case with a new path already; nothing is changed then.
            ArchiveError: as for `add`.
        """
        rows = [(new, old) for old, new in paths.items()]
        with self._writing() as db:
            changed = db.executemany("UPDATE cases SET path = ? WHERE path = ?", rows).rowcount
        return max(changed, 0)

    def remove(
        self,
        *,
        image: str | None = None,
        subject: str | None = None,
        collection: str | None = None,
        ids: Collection[int] | None = None,
    ) -> int:
        """Remove one image, or every image of a subject, beyond recovery from this file.

        Rewrites the whole database (`compact`).

        Args:
            image: name or path of an image.
            subject: pseudonym of a subject. Give this, or image, or ids.
            collection: in which to look; needed where the name occurs in several.
            ids: of cases.

        Returns:
            How many images were removed, at least 1.

        Raises:
            NoCaseError: nothing fits.
            ArchiveError: the name is ambiguous; nothing is removed then. Or the images are
                removed, but `compact` failed.
        """
        with self._writing() as db:
            gone = chosen(db, image, subject, collection, ids)
            removals.take(db, gone)
        try:
            self.compact()
        except ArchiveError as error:
            raise ArchiveError(f"removed, but traces stay in the file for now: {error}") from error
        return len(gone)

    def take(
        self,
        removal: Removal,
        *,
        image: str | None = None,
        subject: str | None = None,
        collection: str | None = None,
        ids: Collection[int] | None = None,
    ) -> Removal:
        """Take cases from the archive, and write down in the same transaction that they must go.

        On return nothing finds them, and that is on the disk. `foveola.server.maintenance.remove`
        does the rest. Errors as from `remove`.

        Args:
            removal: how they are to go; its ids and rows are filled in.
            image: as for `remove`.
            subject: likewise.
            collection: likewise.
            ids: likewise, or none.
        """
        with self._writing() as db:
            gone = chosen(db, image, subject, collection, ids)
            removal = replace(removal, ids=tuple(gone), rows=removals.take(db, gone))
            removals.put(db, removal)
        return removal

    def note(self, removal: Removal) -> None:
        """Write down how far a removal is."""
        with self._writing() as db:
            removals.put(db, removal)

    def drop(self, removal: Removal) -> None:
        """Forget about a removal that is over."""
        with self._writing() as db:
            removals.drop(db, removal.number)

    def removals(self) -> list[Removal]:
        """Return the removals that are not over, and those whose receipt nobody has had."""
        with self._reading() as db:
            return removals.pending(db)

    def paths(self) -> dict[int, str]:
        """Return the path of every case by its id, in order of addition."""
        with self._reading() as db:
            return dict(db.execute("SELECT id, path FROM cases ORDER BY id").fetchall())

    def compact(self) -> None:
        """Rewrite the database so that no byte of removed or replaced rows is left in it.

        secure_delete overwrites freed cells, but not every copy that a split B-tree page leaves
        behind (one of 806 names in a trial), hence VACUUM; emptying the log takes away the last
        copy. Needs free disk space of the archive's size.

        Raises:
            ArchiveError: another process is writing or reading all the time, or the disk is full.
        """
        if self.read_only:
            raise ArchiveError(f"{self.folder} was opened for reading only")
        with self._lock, database.faults(self.folder):
            self._db.execute("VACUUM")
            busy, *_ = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise ArchiveError(
                f"the log of {self.folder} can't be emptied while another process reads; it is "
                "emptied when the last process closes the archive"
            )

    # Reading

    def known(self) -> dict[str, tuple[int, int]]:
        """Return (size, mtime_ns) of every stored file by its path, so that indexing can be resumed."""
        with self._reading() as db:
            self._check(db)
            rows = db.execute("SELECT path, size, mtime_ns FROM cases ORDER BY id")
            return {path: (size, mtime) for path, size, mtime in rows}

    def case(self, id_: int) -> Case:
        """Return the case with this id.

        Raises:
            ArchiveError: there is none.
        """
        with self._reading() as db:
            self._check(db, id_)
            return cases_of(db, [id_])[0]

    def find(self, *, path: str | None = None, digest: bytes | None = None) -> tuple[int, Case] | None:
        """Find the case with this path, or the first with this digest; None where there is none."""
        if (path is None) == (digest is None):
            raise ValueError("give either a path or a digest")
        column, value = ("path", path) if path is not None else ("digest", digest)
        query = f"{schema.SELECT_RECORD} WHERE c.{column} = ? ORDER BY c.id LIMIT 1"
        with self._reading() as db:
            row = db.execute(query, (value,)).fetchone()
            if row is not None:
                self._check(db, row[-1])
        return None if row is None else (row[-1], schema.case_of(row))

    def digests(self) -> dict[int, bytes]:
        """Return the digest of every stored file, by the id of its case."""
        with self._reading() as db:
            self._check(db)
            return digests(db)

    def cases(self) -> Iterator[tuple[int, Case]]:
        """Return every id and case of one state of the archive, in order of addition."""
        with self._reading() as db:
            self._check(db)
            rows = db.execute(f"{schema.SELECT_RECORD} ORDER BY c.id").fetchall()
        return ((row[-1], schema.case_of(row)) for row in rows)

    def page(self, where: str | None = None, *, after: int = 0, limit: int = 100) -> tuple[list[tuple[int, Case]], int]:
        """Return some of the cases that meet a condition, in order of their ids, and how many do.

        Args:
            where: a condition, see docs/reference/archive.md; None lists all.
            after: id behind which to begin, the last of the page before.
            limit: cases wanted, at least 1.

        Raises:
            FilterError: the condition can't be understood.
        """
        with self._reading() as db:
            self._check(db)
            return page(db, where, after, limit, self.hidden())

    def vectors(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return ids (N,) ascending and descriptors (N, D); shared with the cache, so not writable."""
        with self._reading() as db:
            vectors = self._vectors(db)
            return vectors.ids, vectors.matrix

    def info(self) -> ArchiveInfo:
        """Count what the archive holds."""
        made_by = (self.name, self.fingerprint, self.dimension)
        return self._counted("info", lambda db: describe(db, self.folder, made_by))

    def values(self, column: str, most: int = 100) -> dict[str, int]:
        """Count photographs by their value in a further column, the commonest `most`; {} if none has."""
        return dict(self._counted((column, most), lambda db: values(db, column, most)))

    def _counted(self, key: object, count: Callable[[sqlite3.Connection], T]) -> T:
        """What was counted under a key, counted again only when the archive has changed."""
        with self._reading() as db:
            version = _version(db)
            if self._counts.get("version") != version:
                self._counts = {"version": version}
            if key not in self._counts:
                self._check(db)
                self._counts[key] = count(db)
            counted: T = self._counts[key]
            return counted

    def search(
        self,
        query: NDArray[np.float32],
        k: int,
        *,
        where: str | None = None,
        exclude_identity: tuple[str, str] | None = None,
        exclude_ids: Collection[int] = (),
        exclude_alike: tuple[NDArray[np.float32], float] | None = None,
        asked: Callable[[State], Asked | None] | None = None,
    ) -> Found:
        """Find the k cases most like a descriptor. Exact, and the same on every run.

        Args:
            query: (D,) a unit vector of the archive's encoder.
            k: how many, at least 1; fewer are found where fewer are considered.
            where: a condition the cases must meet, see docs/reference/archive.md.
            exclude_identity: a `Case.identity` whose images are left out and counted.
            exclude_ids: cases left out first, without being counted (the query itself, say).
            exclude_alike: a (D,) descriptor and the cosine to it from which on images are left out
                and counted as those of one identity.
            asked: gives what cases are ordered by beside the cosine, for the state of the archive
                that is searched; None, or where it gives None, orders by the cosine.

        Raises:
            FilterError: the condition can't be understood.
            ValueError: the query is no unit vector of D values, or k is less than 1.
        """
        query = unit(query, self.dimension)
        check_count(k)
        with self._reading() as db:
            vectors = self._vectors(db)
            hidden = self.hidden()
            rows = vectors.filtered(db, where, hidden)
            state = State(db, vectors, hidden)
            same, cosines = state.of_identity(exclude_identity), None
            if exclude_alike is not None:
                near, least = exclude_alike
                same |= state.alike([near], least)
                cosines = state.cosines(query)
            rows, left_out = _without(rows, state.of_ids(exclude_ids), same)
            by = None if asked is None else asked(state)
            if by is None:
                best, (similarities,) = top_k(query[None], vectors.matrix, k, rows=rows, cosines=cosines)
                nearest = float(similarities[0]) if len(similarities) else None
                found = Ordered(best[0], similarities, similarities, nearest)
            else:
                found = top_asked(query, vectors.matrix, k, by, rows=rows, cosines=cosines)
            ids = vectors.ids[found.rows]
            return Found(
                ids=ids,
                similarities=found.cosines,
                scores=found.scores,
                nearest=found.nearest,
                cases=tuple(cases_of(db, ids.tolist())),
                excluded_same_subject=left_out,
                considered=len(vectors.ids) if rows is None else len(rows),
            )

    @contextlib.contextmanager
    def state(self) -> Iterator[State]:
        """Hold one state of the archive for several questions; other threads wait for its end."""
        with self._reading() as db:
            yield State(db, self._vectors(db), self.hidden())

    # Inside

    def _blob(self, entry: Entry) -> bytes:
        if len(entry.digest) != DIGEST_BYTES:
            raise ValueError(f"expected a digest of {DIGEST_BYTES} bytes, got {len(entry.digest)}")
        return unit(entry.descriptor, self.dimension).astype(LITTLE).tobytes()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """One state of the archive, however many queries are asked."""
        with self._lock, database.faults(self.folder):
            if database.has_changed(self.folder, self._db):
                self._db.close()
                self._db = database.connect(self.folder, read_only=True)
                self._cache, self._counts, self._sound = None, {}, None
            self._db.execute("BEGIN")
            try:
                yield self._db
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                if database.has_changed(self.folder, self._db):
                    raise BusyError(f"{self.folder} was changed meanwhile; ask again")

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        if self.read_only:
            raise ArchiveError(f"{self.folder} was opened for reading only")
        with self._lock, database.faults(self.folder, writing=True):
            try:
                with transaction(self._db):
                    yield self._db
                    database.seal(self._db)
            except sqlite3.IntegrityError as error:
                raise ValueError(f"no case has such a value: {error}") from error
            finally:
                self._cache, self._counts = None, {}  # data_version does not show our own changes

    def _vectors(self, db: sqlite3.Connection) -> Vectors:
        version = _version(db)
        if self._cache is None or self._cache.version != version:
            self._cache = None  # let go of the old matrix before the new one is made
            self._cache = load(db, version, self.dimension, self.folder)
            self._check(db)
        return self._cache

    def _check(self, db: sqlite3.Connection, id_: int | None = None) -> None:
        """Compare the record of a case, or all, with what was written; once as long as it stays.

        Raises:
            ArchiveError: one is another.
        """
        version = _version(db)
        if self._sound == version or not (id_ is None or 0 < id_ < TOO_LARGE):
            return
        database.check_records(db, self.folder, id_)
        if id_ is not None:
            return
        if not self._indexed:
            database.check_indexes(db, self.folder)
        self._sound, self._indexed = version, True


def _version(db: sqlite3.Connection) -> int:
    """Changes when another connection has changed the archive."""
    return int(db.execute("PRAGMA data_version").fetchone()[0])


def _without(
    rows: NDArray[np.int64] | None, own: NDArray[np.bool_], same: NDArray[np.bool_]
) -> tuple[NDArray[np.int64] | None, int]:
    """Rows that are neither the query's own nor its person's, and how many were its person's."""
    away = own | same
    if not away.any():
        return rows, 0
    if rows is None:
        return np.flatnonzero(~away), int(np.count_nonzero(same & ~own))
    return rows[~away[rows]], int(np.count_nonzero((same & ~own)[rows]))

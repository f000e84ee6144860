"""The accounts of an archive, in A/accounts.sqlite, which its owner alone can read.

    accounts    a name, a role, an argon2 hash
    sessions    SHA-256 of a cookie's 256 random bits, when it began and was last used
    tokens      SHA-256 of a program's 256 random bits, a label, when it expires

What was drawn at random needs no slow hash. What is removed is overwritten (secure_delete).
"""

import contextlib
import hashlib
import os
import re
import secrets
import sqlite3
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

from foveola.errors import AccessError, MissingExtraError
from foveola.resources import AnyPath, Closing, beside, transaction

Role = Literal["viewer", "curator", "matcher", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)


def allowed(role: Role, needed: Role) -> bool:
    """Return whether an account of one role may do what needs another.

    Every role may do what a viewer may, and an admin what anybody may. A curator may not match
    people, and a matcher may not change records: who tells people apart does not file them.

    >>> allowed("admin", "matcher"), allowed("curator", "matcher")
    (True, False)
    """
    return needed in ("viewer", role) or role == "admin"


try:
    from argon2 import PasswordHasher
    from argon2.exceptions import Argon2Error, InvalidHashError
except ImportError:
    raise MissingExtraError(
        "accounts need argon2-cffi, which is not installed. Run: pip install 'foveola[serve]'"
    ) from None

SHORTEST, LONGEST = 12, 1024  # characters; NIST SP 800-63B: length, and no rules of composition
_HASHER = PasswordHasher()  # argon2id as in RFC 9106 (low memory): 64 MiB, 3 passes, 4 lanes
# Of 32 random bytes that nobody kept: an unknown name takes as long to refuse as a known one.
NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$tCZB7/v7b9q+FmF3azSSSQ$NFUdz5g5TTF2fmxmRxWzX7vSzMN69AGEWR5s/wAl+9I"


def hashed(password: str, name: str) -> str:
    """Hash a password to be kept; `name` is of its account.

    Raises:
        AccessError: it is too short or too long, or tells the name.
    """
    password = normal(password)
    if not SHORTEST <= len(password) <= LONGEST:
        raise AccessError(
            f"the password has {len(password)} characters; expected {SHORTEST} to {LONGEST}, a few unrelated words, say"
        )
    beside_name = password.lower().replace(name, "")
    if len(set(password)) < 5 or (len(beside_name) < 6 and beside_name != password.lower()):
        raise AccessError("the password is easily guessed; take a few unrelated words")
    return _HASHER.hash(password)


def fits(password: str, kept: str | None) -> bool:
    """Return whether a password is the one that was kept; as slow where none was.

    About 0.1 s and 64 MiB each: let few run at a time.
    """
    try:
        return _HASHER.verify(kept or NOBODY, normal(password[: LONGEST + 1])) and kept is not None
    except (Argon2Error, InvalidHashError):
        return False


def again(password: str) -> str:
    """Hash a password that fitted as it is kept today, whatever is asked of new ones."""
    return _HASHER.hash(normal(password))


def is_old(kept: str) -> bool:
    """Return whether it was kept with other parameters than today's."""
    return _HASHER.check_needs_rehash(kept)


def normal(password: str) -> str:
    """Bring what can be typed in several forms into one."""
    return unicodedata.normalize("NFKC", password)


FILE = "accounts.sqlite"
IDLE, ABSOLUTE = 3600.0, 12 * 3600.0  # seconds that a session lasts unused, and at all
TOUCH = 60.0  # seconds between two notes that a session is used
DAY = 86_400.0
LONGEST_DAYS = 366  # of a token
PREFIX = "fvl_"  # by which a token that leaked into a text is found

_TABLES = ("accounts", "sessions", "tokens")
_VERSION = 1
_SCHEMA = """
CREATE TABLE accounts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    password TEXT NOT NULL
);
CREATE TABLE sessions (
    digest BLOB PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    began REAL NOT NULL,
    used REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    digest BLOB NOT NULL UNIQUE,
    label TEXT NOT NULL,
    expires REAL NOT NULL
);
"""

_OF = "WHERE account = (SELECT id FROM accounts WHERE name = ?)"
_ENDINGS = (f"DELETE FROM sessions {_OF}", f"DELETE FROM tokens {_OF}")  # noqa: S608 - both fixed


@dataclass(frozen=True)
class Account:
    """Who may use an archive: a name and a role."""

    name: str
    role: Role


@dataclass(frozen=True)
class Session:
    """An account that logged in.

    Attributes:
        account: whose.
        secret: as in the cookie; never stored.
    """

    account: Account
    secret: str


@dataclass(frozen=True)
class Token:
    """A token of a program, without its secret.

    Attributes:
        number: by which it is revoked.
        account: name.
        label: what it is for.
        expires: seconds since 1970.
    """

    number: int
    account: str
    label: str
    expires: float


class Accounts(Closing):
    """The accounts of one archive. Safe to use from several threads and processes.

    Args:
        folder: the archive.
        clock: seconds since 1970.

    Raises:
        AccessError: the file is missing or damaged.
    """

    def __init__(self, folder: AnyPath, clock: Callable[[], float] = time.time) -> None:
        folder = Path(folder)
        self._file, self._clock = folder / FILE, clock
        self._lock = threading.Lock()
        if not self._file.is_file():
            raise AccessError(
                f"{folder} has no accounts; make one with: foveola accounts add {folder} NAME --role admin"
            )
        with self._faults():
            self._db = sqlite3.connect(self._file, timeout=5, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA foreign_keys = ON")
            self._db.execute("PRAGMA secure_delete = ON")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            sound = version == _VERSION and _is_sound(self._db)
        if not sound:
            self._db.close()
            raise AccessError(f"{self._file} is damaged, or of another Foveola; restore it from a copy")

    @classmethod
    def create(cls, folder: AnyPath) -> Self:
        """Open the accounts of an archive, made if there are none; the file is its owner's alone.

        Raises:
            AccessError, OSError: it can't be made.
        """
        folder = Path(folder)
        file = folder / FILE
        if not file.exists():
            with contextlib.closing(sqlite3.connect(":memory:")) as db:
                db.executescript(_SCHEMA + f"PRAGMA user_version = {_VERSION};")
                data = db.serialize()
            with beside(file) as partial:
                handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(handle, "wb") as out:
                    out.write(data)
                    out.flush()
                    os.fsync(out.fileno())
                with contextlib.suppress(FileExistsError):  # another process was first
                    os.link(partial, file)
        return cls(folder)

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            self._db.close()

    # Accounts

    def add(self, name: str, role: Role, password: str) -> Account:
        """Make an account.

        Raises:
            AccessError: the name is taken or no name, or the password is too weak.
        """
        if not re.fullmatch(r"[a-z0-9][a-z0-9._@-]{0,63}", name):
            raise AccessError(
                "the name of an account has 1 to 64 small letters, digits, . _ - and @, and begins "
                "with a letter or a digit"
            )
        kept = hashed(password, name)
        with self._writing() as db:
            try:
                db.execute("INSERT INTO accounts (name, role, password) VALUES (?, ?, ?)", (name, _role(role), kept))
            except sqlite3.IntegrityError:
                raise AccessError(f"there is an account {name!r} already") from None
        return Account(name, role)

    def everyone(self) -> list[Account]:
        """Return all accounts, by name."""
        return [Account(*row) for row in self._ask("SELECT name, role FROM accounts ORDER BY name")]

    def remove(self, name: str) -> None:
        """Remove an account with its sessions and tokens.

        Raises:
            AccessError: there is none of this name.
        """
        self._change(name, "DELETE FROM accounts WHERE name = ?", (name,))

    def set_password(self, name: str, password: str) -> None:
        """Give an account another password; its sessions and tokens end.

        Raises:
            AccessError: there is none of this name, or the password is too weak.
        """
        kept = hashed(password, name)
        self._change(name, "UPDATE accounts SET password = ? WHERE name = ?", (kept, name))

    def set_role(self, name: str, role: Role) -> None:
        """Give an account another role; its sessions and tokens end.

        Raises:
            AccessError: there is none of this name.
        """
        self._change(name, "UPDATE accounts SET role = ? WHERE name = ?", (_role(role), name))

    def _change(self, name: str, statement: str, values: tuple[str, ...]) -> None:
        with self._writing() as db:
            for ending in _ENDINGS:
                db.execute(ending, (name,))
            if not db.execute(statement, values).rowcount:
                raise AccessError(f"there is no account {name!r}")

    # Sessions

    def log_in(self, name: str, password: str) -> Session | None:
        """Begin a session; None where name or password are wrong, after the same time."""
        rows = self._ask("SELECT id, role, password FROM accounts WHERE name = ?", (name,))
        id_, role, kept = rows[0] if rows else (0, "viewer", None)
        if not fits(password, kept) or kept is None:
            return None
        secret, now = secrets.token_urlsafe(32), self._clock()
        with self._writing() as db:
            ended = (now - IDLE, now - ABSOLUTE)
            db.execute("DELETE FROM sessions WHERE used < ? OR began < ?", ended)
            made = db.execute(  # none where the password was changed meanwhile
                "INSERT INTO sessions SELECT ?, id, ?, ? FROM accounts WHERE id = ? AND password = ?",
                (_digest(secret), now, now, id_, kept),
            ).rowcount
            if is_old(kept):
                better = (again(password), id_, kept)
                db.execute("UPDATE accounts SET password = ? WHERE id = ? AND password = ?", better)
        return Session(Account(name, role), secret) if made else None

    def session(self, secret: str) -> Session | None:
        """Return the session of a cookie; None where there is none, or it has ended."""
        now, digest = self._clock(), _digest(secret)
        rows = self._ask(
            "SELECT a.name, a.role, s.used FROM sessions AS s JOIN accounts AS a ON a.id ="
            " s.account WHERE s.digest = ? AND s.used >= ? AND s.began >= ?",
            (digest, now - IDLE, now - ABSOLUTE),
        )
        if not rows:
            return None
        name, role, used = rows[0]
        if now - used > TOUCH:
            with self._writing() as db:
                db.execute("UPDATE sessions SET used = ? WHERE digest = ?", (now, digest))
        return Session(Account(name, role), secret)

    def log_out(self, secret: str) -> None:
        """End a session."""
        with self._writing() as db:
            db.execute("DELETE FROM sessions WHERE digest = ?", (_digest(secret),))

    # Tokens

    def make_token(self, name: str, label: str, days: float) -> str:
        """Make a token for a program; it can't be shown again.

        Args:
            name: of the account it acts for.
            label: what it is for.
            days: for which it holds, up to LONGEST_DAYS.

        Raises:
            AccessError: there is no account of this name, or it would hold too long.
        """
        if not 0 < days <= LONGEST_DAYS:
            raise AccessError(f"a token holds for up to {LONGEST_DAYS} days, got {days:g}")
        secret = PREFIX + secrets.token_urlsafe(32)
        values = (_digest(secret), label[:100], self._clock() + days * DAY, name)
        with self._writing() as db:
            made = db.execute(
                "INSERT INTO tokens (account, digest, label, expires) SELECT id, ?, ?, ? FROM accounts WHERE name = ?",
                values,
            ).rowcount
        if not made:
            raise AccessError(f"there is no account {name!r}")
        return secret

    def token(self, secret: str) -> Account | None:
        """Return the account that a token acts for; None where there is none, or it has expired."""
        rows = self._ask(
            "SELECT a.name, a.role FROM tokens AS t JOIN accounts AS a ON a.id = t.account"
            " WHERE t.digest = ? AND t.expires > ?",
            (_digest(secret), self._clock()),
        )
        return Account(*rows[0]) if rows else None

    def tokens(self) -> list[Token]:
        """Return all tokens, without their secrets; the expired ones among them."""
        rows = self._ask(
            "SELECT t.id, a.name, t.label, t.expires FROM tokens AS t"
            " JOIN accounts AS a ON a.id = t.account ORDER BY t.id"
        )
        return [Token(*row) for row in rows]

    def revoke(self, number: int) -> None:
        """Take a token back.

        Raises:
            AccessError: there is none of this number.
        """
        with self._writing() as db:
            if not db.execute("DELETE FROM tokens WHERE id = ?", (number,)).rowcount:
                raise AccessError(f"there is no token {number}")

    def _ask(self, query: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        with self._lock, self._faults():
            return self._db.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._faults(), transaction(self._db):
            yield self._db
            self._db.execute("CREATE TABLE IF NOT EXISTS checks (id INTEGER PRIMARY KEY, hash TEXT)")
            self._db.execute("INSERT OR REPLACE INTO checks VALUES (1, ?)", (_rows(self._db),))

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.ProgrammingError:
            raise
        except sqlite3.DatabaseError as error:
            raise AccessError(f"{self._file} can't be used: {error}") from error


def _rows(db: sqlite3.Connection) -> str:
    """A hash of every row: a flipped bit may be another role, or a longer time."""
    rows = [db.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in _TABLES]  # noqa: S608
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def _is_sound(db: sqlite3.Connection) -> bool:
    """Whether the rows are those that were written; an older Foveola wrote no hash."""
    if db.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
        return False
    if not db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'checks'").fetchone()[0]:
        return True
    db.execute("BEGIN")  # both of one state
    kept = db.execute("SELECT hash FROM checks").fetchall()
    found = _rows(db)
    db.execute("ROLLBACK")
    return kept == [(found,)]


def _role(role: Role) -> Role:
    if role not in ROLES:
        raise ValueError(f"expected one of {', '.join(ROLES)}, got {role!r}")
    return role


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()

"""The audit log of an archive, A/audit-log.jsonl: who saw which case, each line chained to the one before.

    {"time": "2026-03-01T09:30:00.125Z", "account": "anna", "action": "search", "cases": [4, 7],
     "previous": "<SHA-256 of the line before, without its line feed>"}

A line names an account, an action and cases by their ids, which are given once and never again:
no subject, file or text that was typed. Several processes may append; on return a line is on the
disk (fdatasync). What a kill or a power cut leaves of a line stays, and the next line says so.

The chain shows that no line was changed, taken out, put in or moved between two lines that are
there, and a note of its length that its end was not cut off by a fault. Whoever can write both can
still cut its end off, or make the whole chain anew: against that, keep a head somewhere else and
check with it.
"""

import getpass
import json
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from foveola.errors import AccessError
from foveola.resources import AnyPath

__all__ = ["FILE", "Log", "Seen", "Verified", "head", "read", "time_of", "verify"]

FILE = "audit-log.jsonl"
FIRST = "0" * 64  # stands for the line before the first
CUT = "line cut short"  # action of the line that follows what a crash left of one
CLOCK = "by a clock that was set back"  # what the computer says, where a line before is later
_TAIL = 1 << 16  # bytes read at once from the end


@dataclass(frozen=True)
class Seen:
    """One line.

    Attributes:
        time: ISO 8601 in UTC, to the millisecond; never before that of the line before.
        account: who.
        action: what was done.
        cases: ids of the cases that it showed or changed.
        previous: SHA-256 of the line before.
        about: further words, such as the name of an account that was made.
    """

    time: str
    account: str
    action: str
    cases: tuple[int, ...] = ()
    previous: str = FIRST
    about: str = ""

    def line(self) -> bytes:
        """Encode it as it is written, with its line feed."""
        values = {
            "time": self.time,
            "account": self.account,
            "action": self.action,
            "cases": self.cases,
            "about": self.about,
            "previous": self.previous,
        }
        if not self.about:
            del values["about"]
        return json.dumps(values, separators=(",", ":")).encode() + b"\n"


class Log:
    """The log of an archive, to append to. Safe to use from several threads and processes.

    Args:
        folder: the archive.
    """

    def __init__(self, folder: AnyPath) -> None:
        folder = Path(folder)
        self.file = folder / FILE
        self._lock = threading.Lock()
        # inode, size, and of the last line its hash and time
        self._end: tuple[int, int, str, str] | None = None

    def append(self, account: str, action: str, cases: Sequence[int] = (), about: str = "") -> None:
        """Add a line; on return it is on the disk.

        Raises:
            AccessError: it can't be written; nothing may be shown then.
        """
        try:
            with self._lock, _locked(self.file) as handle:
                self._append(handle, Seen(now(), account, action, tuple(cases), about=about))
        except OSError as error:
            raise AccessError(
                f"the audit log {self.file} can't be written ({error.strerror}), and nothing is "
                "shown without it; make room, or the archive's folder writable"
            ) from None

    def _append(self, handle: int, seen: Seen) -> None:
        status = os.fstat(handle)
        size, inode = status.st_size, status.st_ino
        if self._end is not None and self._end[:2] == (inode, size):
            data, previous, last = b"", *self._end[2:]
        else:
            data, previous, last = _mended(handle, size, seen.time)
        seen = _not_before(last, replace(seen, previous=previous))
        line = seen.line()
        _write(handle, data + line, size)
        self._end = (inode, size + len(data) + len(line), digest(line), seen.time)
        _note(self.file, *self._end[1:3])


def _note(file: Path, size: int, last: str) -> None:
    """Say how long the log is, in place and without waiting for the disk: it may say too little.

    Of the last line, to which no other is chained yet, it holds the hash.
    """
    handle = os.open(_end_of(file), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(handle, f"{size:020} {last}\n".encode(), 0)
    finally:
        os.close(handle)


def noted(file: Path) -> tuple[int, str]:
    """Return a length that a log had, and the hash of its last line then; 0 if nothing is said."""
    try:
        size, last = _end_of(file).read_text(encoding="ascii").split()
        return int(size), last
    except (OSError, ValueError):
        return 0, ""


def _end_of(file: Path) -> Path:
    return file.with_name(f".{file.name}.end")  # comes before the log in a copy


def _not_before(last: str, seen: Seen) -> Seen:
    """The line at a time that is not before the last one's; a clock that was set back is told."""
    if seen.time >= last:
        return seen
    back = seen.time[:19] < last[:19]  # not the milliseconds between two processes
    about = " ".join(filter(None, (seen.about, f"{CLOCK} {seen.time}"))) if back else seen.about
    return replace(seen, time=last, about=about)


def _mended(handle: int, size: int, time: str) -> tuple[bytes, str, str]:
    """What has to stand before the next line, the hash that this continues, and the last time.

    Mostly nothing has to stand there. After a crash in the middle of a line, a line that holds the
    hash of the last whole one and of what the crash left.
    """
    end, last = size, b""
    while end and parsed(last := last_line(handle, end)) is None:
        end -= len(last)
    before = parsed(last) if end else None
    previous, when = (FIRST, "") if before is None else (digest(last), before.time)
    torn = os.pread(handle, size - end, end)
    whole = torn.endswith(b"\n") if torn else not end or last.endswith(b"\n")
    data = b"" if whole else b"\n"
    if torn:
        when = max(when, time)
        cut = Seen(when, "", CUT, previous=digest(torn), about=previous).line()
        data, previous = data + cut, digest(cut)
    return data, previous, when


def parsed(line: bytes) -> Seen | None:
    """Parse a line as it was written, byte for byte; None where it is no entry."""
    try:
        values = json.loads(line)
        values["cases"] = tuple(values["cases"])
        seen = Seen(**values)
        return seen if seen.line() == line.removesuffix(b"\n") + b"\n" else None
    except (ValueError, TypeError, KeyError):
        return None


def digest(line: bytes) -> str:
    """Compute SHA-256 of a line without its line feed."""
    return sha256(line.removesuffix(b"\n")).hexdigest()


def last_line(handle: int, size: int) -> bytes:
    """Read the last line of a file, with its line feed where it has one; empty of an empty file."""
    read, tail = 0, b""
    while read < size:
        step = min(_TAIL, size - read)
        tail = os.pread(handle, step, size - read - step) + tail
        read += step
        start = tail.rfind(b"\n", 0, len(tail) - 1)
        if start >= 0:
            return tail[start + 1 :]
    return tail


def _write(handle: int, data: bytes, size: int) -> None:
    """Write at the end and wait for the disk; what can't be written wholly is taken back."""
    try:
        done = 0
        while done < len(data):
            done += os.write(handle, data[done:])
        os.fdatasync(handle)
    except OSError:
        os.ftruncate(handle, size)
        raise


@contextmanager
def _locked(file: Path) -> Iterator[int]:
    """The file opened for appending, by one process at a time; made where it is not there."""
    import fcntl  # POSIX only, as the service's log is

    handle = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)  # lets go of the lock, too


def now() -> str:
    """Return the time now, ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def operator() -> str:
    """Return who runs a command: "os:" and the account of the operating system."""
    try:
        return f"os:{getpass.getuser()}"
    except (KeyError, OSError):  # a container without an entry for this user
        return f"os:{os.getuid()}"


_BEGUN = re.compile(r"\d{4}(-\d\d(-\d\d(T\d\d(:\d\d(:\d\d(\.\d{1,6})?)?)?)?)?)?", re.ASCII)
_FIRST = "0001-01-01T00:00:00"  # completes what is begun


@dataclass(frozen=True)
class Verified:
    """A log whose chain holds.

    Attributes:
        lines: in it.
        head: SHA-256 of the last whole line.
        cut: numbers of lines that a crash cut short, from 1; nothing was shown on them.
        since: lines after the head that was given; None where none was.
    """

    lines: int
    head: str
    cut: tuple[int, ...]
    since: int | None = None


def verify(folder: AnyPath, anchor: str | None = None) -> Verified:
    """Check every link of the log.

    Args:
        folder: the archive.
        anchor: a head that was printed before; it must be among the lines.

    Raises:
        AccessError: there is no log, a line does not fit, lines are missing at its end, or the
            anchor is not there.
    """
    folder = Path(folder)
    anchor = anchor.strip().lower() if anchor else None
    chain = _Chain(folder)
    at, end = 0 if anchor == FIRST else None, 0
    least, last = noted(folder / FILE)
    for line in _lines(folder):
        chain.follow(line)
        end += len(line)
        whole = line.endswith(b"\n")
        if end <= least <= end + (not whole) and chain.head != last:
            raise AccessError(f"{folder / FILE}: line {chain.number} was changed")
        at = chain.number if chain.head == anchor else at
    if end + 1 < least:  # a line feed less is no line less
        raise AccessError(f"{folder / FILE} was longer: lines were cut off its end")
    if anchor is not None and at is None:
        raise AccessError(
            f"{folder / FILE} does not hold the head {anchor[:12]}...: lines were cut off its end, or it was made anew"
        )
    since = None if at is None else chain.number - at
    return Verified(chain.number, chain.head, tuple(chain.cut), since)


class _Chain:
    """The links so far."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.number, self.head = folder, 0, FIRST
        self.cut: list[int] = []
        self._torn = b""

    def follow(self, line: bytes) -> None:
        """Check the next line.

        Raises:
            AccessError: it does not fit.
        """
        self.number += 1
        seen = parsed(line)
        if seen is None:  # only a crash leaves such a line, and the next entry vouches for it
            self._torn += line
            self.cut.append(self.number)
            return
        if seen.action == CUT:
            fits = self._torn and (seen.previous, seen.about) == (digest(self._torn), self.head)
        else:
            fits = not self._torn and seen.previous == self.head
        if not fits:
            raise self._broken()
        self.head, self._torn = digest(line), b""

    def _broken(self) -> AccessError:
        file = self.folder / FILE
        if self._torn:
            return AccessError(f"{file}: line {self.number - 1} is no entry; it was changed")
        return AccessError(
            f"{file}: line {self.number} does not continue line {self.number - 1}; one of the two "
            "was changed, or lines were moved, put in or taken out between them"
        )


def head(folder: AnyPath) -> str:
    """Compute SHA-256 of the last line, to be kept somewhere else; of a log that was checked.

    Raises:
        AccessError: as for `verify`.
    """
    folder = Path(folder)
    return verify(folder).head


def read(
    folder: AnyPath,
    *,
    case: int | None = None,
    account: str | None = None,
    since: str | None = None,
    until: str | None = None,
) -> Iterator[Seen]:
    """Read the entries, oldest first; what a crash cut short is passed over.

    Args:
        folder: the archive.
        case: only what showed this case.
        account: only of this account.
        since: earliest time, as ISO 8601 begins.
        until: latest, as ISO 8601 begins: 2026-03 takes all of March.

    Raises:
        AccessError: there is no log.
        ValueError: a time is none.
    """
    folder = Path(folder)
    first = "" if since is None else time_of(since)
    last = "~" if until is None else time_of(until)
    for line in _lines(folder):
        seen = parsed(line)
        if (
            seen is not None
            and (case is None or case in seen.cases)
            and account in (None, seen.account)
            and first <= seen.time
            and seen.time[: len(last)] <= last
        ):
            yield seen


def time_of(text: str) -> str:
    """Check a time in UTC as the log writes it, or how one begins.

    >>> time_of("2026-03")
    '2026-03'

    Raises:
        ValueError: it is something else, or no day or time of day.
    """
    begun = text.removesuffix("Z")
    try:
        if _BEGUN.fullmatch(begun):
            datetime.fromisoformat(begun + _FIRST[len(begun) :])
            return begun
    except ValueError:
        pass
    raise ValueError(f"{text!r} is no time; expected one in UTC as 2026-03-01T09:30, or how it begins: 2026-03")


def _lines(folder: Path) -> Iterator[bytes]:
    try:
        with (folder / FILE).open("rb") as file:
            yield from file
    except FileNotFoundError:
        raise AccessError(f"{folder} has no audit log yet") from None

"""Checking the audit log, and reading it.

The chain shows that no line was changed, taken out, put in or moved between two lines that are
there, and a note of its length that its end was not cut off by a fault. Whoever can write both can
still cut its end off, or make the whole chain anew: against that, keep a head somewhere else and
check with it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from foveola.errors import AccessError
from foveola.resources import AnyPath
from foveola.server.audit.chain import CUT, FILE, FIRST, Seen, digest, noted, parsed

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
    """SHA-256 of the last line, to be kept somewhere else; of a log that was checked.

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
    """The entries, oldest first; what a crash cut short is passed over.

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
    """A time in UTC as the log writes it, or how one begins: 2026, 2026-03, 2026-03-01T09.

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

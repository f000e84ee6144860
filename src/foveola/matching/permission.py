"""Identity is sensitive: matching is off until someone says what for, and every use is logged.

    A/matching.toml        written by `switch_on`: purpose, by whom, when, which encoder
    A/matching-log.jsonl   one line for each use, on the disk before its result is shown

The log names no subject and no file: a digest of the query tells the same query again.
"""

import getpass
import json
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import tomli_w

from foveola import files
from foveola.config import load_config, to_mapping
from foveola.errors import ConfigError, MatchingError

SETTINGS = "matching.toml"
LOG = "matching-log.jsonl"
UNREADABLE = "a line that can't be read: cut short by a crash, or changed"
MISSING = "lines are missing from here on: the end of the log was cut off"
LONGEST = 500  # characters of a purpose
FORGOTTEN = "forgotten"  # in the place of the digest of a photograph that was removed
Line = dict[str, object]


@dataclass(frozen=True, kw_only=True)
class Permission:
    """That matching is allowed in an archive, as written in its matching.toml.

    Attributes:
        purpose: what for, in a sentence.
        by: account that switched it on.
        since: when, ISO 8601 in UTC.
        encoder: name or folder of the matching encoder; empty takes the shipped one.
    """

    purpose: str
    by: str = ""
    since: str = ""
    encoder: str = ""

    def __post_init__(self) -> None:
        if not self.purpose.strip() or len(self.purpose) > LONGEST:
            raise ValueError(
                f"the purpose has {len(self.purpose)} characters; expected a sentence of 1 to "
                f"{LONGEST} that says what subjects are matched for"
            )


def switch_on(folder: Path, purpose: str, encoder: str = "") -> Permission:
    """Allow matching in an archive, and log that.

    Raises:
        MatchingError: the purpose says nothing.
        OSError: the folder can't be written.
    """
    try:
        made = Permission(purpose=purpose, by=account(), since=now(), encoder=encoder)
    except ValueError as error:
        raise MatchingError(str(error)) from None
    log_use(folder, "switched on", purpose=purpose)  # first: nothing is allowed without a line
    files.write_toml(folder / SETTINGS, tomli_w.dumps(to_mapping(made)))
    return made


def switch_off(folder: Path) -> None:
    """Forbid matching in an archive, and log that; a second call does nothing."""
    if (folder / SETTINGS).exists():
        log_use(folder, "switched off")
        (folder / SETTINGS).unlink()


def permission(folder: Path) -> Permission:
    """Return what matching is allowed for.

    Raises:
        MatchingError: it is switched off, or the settings can't be read.
    """
    path = folder / SETTINGS
    if not path.exists():
        raise MatchingError(
            f"matching subjects is switched off for {folder}; whoever answers for the archive "
            f"can allow it with: foveola matching on {folder} --purpose '...'"
        )
    try:
        files.check_toml(path)
        return load_config(path, Permission)
    except files.DamagedError:
        raise MatchingError(
            f"{path} was changed or damaged; whoever answers for the archive can allow matching "
            f"anew with: foveola matching on {folder} --purpose '...'"
        ) from None
    except ConfigError as error:
        raise MatchingError(str(error)) from None


def log_use(folder: Path, action: str, **facts: str | int | float | None) -> None:
    """Append a line to the log; on return it is on the disk.

    Args:
        folder: the archive.
        action: what was done.
        facts: numbers and digests that say more; no names of people or files.

    Raises:
        MatchingError: it can't be written: what can't be logged is not done.
    """
    try:
        files.append_line(folder / LOG, {"time": now(), "account": account(), "action": action, **facts})
    except OSError as error:
        raise MatchingError(
            f"the log {folder / LOG} can't be written ({error.strerror}), and matching without a "
            "log is not allowed; make the archive's folder writable"
        ) from None


def read_log(folder: Path) -> list[dict[str, object]]:
    """Return all uses, oldest first.

    In the place of a line that a crash cut short, or that was changed since, stands one whose
    action is UNREADABLE, and at the end one with MISSING where lines are gone from there.

    Raises:
        MatchingError: the log can't be read.
    """
    try:
        kept = files.read_lines(folder / LOG)
    except OSError as error:
        raise MatchingError(f"the log {folder / LOG} can't be read: {error.strerror}") from None
    unread = [(number, _told(UNREADABLE, line=number)) for number in kept.damaged]
    uses = [use for _, use in sorted([*kept.values, *unread], key=lambda line: line[0])]
    return [*uses, _told(MISSING)] if kept.cut else uses


def _told(action: str, **facts: int) -> dict[str, object]:
    return {"time": None, "account": None, "action": action, **facts}


def forget_uses(folder: Path, digests: Collection[bytes], *, count_only: bool = False) -> int:
    """Take the digests of photographs out of the log of matching, and count the lines with one."""
    short = {digest.hex()[:16] for digest in digests}

    def without(values: Line) -> Line:
        return values | {"query": FORGOTTEN} if values.get("query") in short else values

    return rewrite_values(folder / LOG, without, count_only)


def rewrite_values(path: Path, change: Callable[[Line], Line | None], count_only: bool) -> int:
    """Change a file of JSON lines, wholly or not at all, and return how many lines changed.

    Args:
        path: the file; 0 lines change where there is none.
        change: gives what takes the place of a line's values; None drops the line.
        count_only: change nothing.
    """
    if not path.exists():
        return 0
    changed = 0

    def rewritten(lines: list[bytes]) -> list[bytes]:
        nonlocal changed
        kept = []
        for line in lines:
            try:
                before = json.loads(line)
                after = change(dict(before))
            except (ValueError, TypeError):  # a line that a crash cut short
                kept.append(line)
                continue
            changed += after != before
            if after is not None:
                kept.append(line if after == before else files.line_of(after))
        return kept

    if count_only:
        rewritten(path.read_bytes().splitlines(keepends=True))
    else:
        files.rewrite_lines(path, rewritten)
    return changed


def now() -> str:
    """Return the time as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def account() -> str:
    """Return the account of the operating system."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without an entry for this user
        return f"uid {os.getuid()}"

"""What was decided about the findings of an audit, so that none is raised twice.

    A/audit-decisions.jsonl    one line for each decision; the last one on a finding counts

The file names findings by their key, which tells no subject.
"""

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from foveola import files
from foveola.errors import MatchingError
from foveola.matching.permission import account, now

FILE = "audit-decisions.jsonl"
Verdict = Literal["wrong", "right", "unsure", "open"]
LONGEST = 500  # characters of a note
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One decision.

    Attributes:
        key: of the finding.
        verdict: "wrong" if it is filed wrong indeed, "right" if it is not, "unsure" where nobody
            can say; "open" raises it again.
        note: what the reader wants to say; no names.
        by: account.
        time: ISO 8601 in UTC.
    """

    key: str
    verdict: Verdict
    note: str = ""
    by: str = ""
    time: str = ""


def decide(folder: Path, key: str, verdict: Verdict, note: str = "", by: str | None = None) -> Decision:
    """Record a decision; on return it is on the disk.

    Args:
        folder: the archive.
        key: of the finding.
        verdict: see `Decision`.
        note: what the reader wants to say; no names.
        by: account; None takes the operating system's.

    Raises:
        MatchingError: no key of a finding, an unknown verdict, or a note that is too long.
        OSError: the file can't be written.
    """
    if not re.fullmatch("[0-9a-f]{12}", key):
        raise MatchingError(f"{key[:20]!r} is no finding; expected 12 letters as the audit prints")
    if verdict not in get_args(Verdict):
        raise MatchingError(f"{verdict!r} is no decision; expected {', '.join(get_args(Verdict))}")
    if len(note) > LONGEST:
        raise MatchingError(f"the note has {len(note)} characters; expected at most {LONGEST}")
    made = Decision(key=key, verdict=verdict, note=note, by=by or account(), time=now())
    files.append_line(folder / FILE, made.__dict__)
    return made


def decisions(folder: Path, *, withdrawn: bool = False) -> dict[str, Decision]:
    """The last decision on each finding, by key; "open" ones are left out unless `withdrawn`.

    A warning is logged where lines were damaged: a finding may be raised again then.
    """
    kept = files.read_lines(folder / FILE)
    sound = kept.sound
    made: dict[str, Decision] = {}
    for _, values in kept.values:
        try:
            one = Decision(**values)
            made[one.key] = one
        except TypeError:
            sound = False
    if not sound:
        _log.warning("%s: decisions are missing or can't be read; look at them again", FILE)
    return {key: one for key, one in made.items() if withdrawn or one.verdict != "open"}

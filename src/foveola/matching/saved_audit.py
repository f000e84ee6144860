"""What an audit finds, and what is kept of that beside the archive.

    A/audit-worklist.json      the findings of the last audit, written whole at its end
    A/audit-decisions.jsonl    one line for each decision; the last one on a finding counts

No name of a subject or a file stands in either. The worklist names photographs by their number in
the archive, and what was removed since is left out when it is read. Decisions name findings by
their key, which tells no subject, so that none is raised twice.
"""

import hashlib
import logging
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, combinations
from pathlib import Path
from typing import Literal, get_args

from foveola import files
from foveola.encoders.encoder import Failed
from foveola.errors import MatchingError
from foveola.matching.permission import account, now, rewrite_values
from foveola.records import Case

Kind = Literal["one eye, two subjects", "two eyes, one id", "wrong side", "copy", "two splits", "label"]
KINDS: tuple[Kind, ...] = ("one eye, two subjects", "two eyes, one id", "wrong side", "copy", "two splits", "label")
DECISIONS = "audit-decisions.jsonl"
Verdict = Literal["wrong", "right", "unsure", "open"]
LONGEST = 500  # characters of a note
_log = logging.getLogger(__name__)
WORKLIST = "audit-worklist.json"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that is probably filed wrong.

    Attributes:
        kind: see KINDS.
        cases: places among the cases; what is wrong, and what speaks against it.
        score: from 0 to 1, for the order within a kind: the probability that it is wrong where
            that is known.
        said: one sentence.
        evidence: numbers and words by name.
    """

    kind: Kind
    cases: tuple[int, ...]
    score: float
    said: str
    evidence: Mapping[str, str | int | float] = field(default_factory=dict)


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        findings: by kind, then the surest first.
        checked: photographs, pairs and records that were looked at, by what was looked for.
        failed: photographs that can't be read.
    """

    findings: tuple[Finding, ...]
    checked: Mapping[str, int]
    failed: tuple[Failed, ...]


def key(finding: Finding, cases: Sequence[Case]) -> str:
    """Name a finding by 12 letters, for as long as its photographs and records stay as they are.

    They are made of the kind, the photographs' paths and what is doubted, and tell neither.
    """
    value = str(finding.evidence.get("value", ""))
    return key_of(finding.kind, value, [cases[i] for i in involved(finding)])


def key_of(kind: Kind, value: str, photographs: Sequence[Case]) -> str:
    """Name a finding likewise by the photographs themselves; `value` is what is doubted of a label."""
    parts = [kind, value]
    for case in sorted(photographs, key=lambda case: case.path):
        parts += [case.path, str(case.subject), str(case.eye)]
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=6).hexdigest()


def involved(finding: Finding) -> tuple[int, ...]:
    """Return the cases filed wrong; of a label, without the neighbours that speak against it."""
    return finding.cases[:1] if finding.kind == "label" else finding.cases


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
    files.append_line(folder / DECISIONS, made.__dict__)
    return made


def decisions(folder: Path, *, withdrawn: bool = False) -> dict[str, Decision]:
    """Read the last decision on each finding, by key; "open" ones are left out unless `withdrawn`.

    A warning is logged where lines were damaged: a finding may be raised again then.
    """
    lines = files.read_lines(folder / DECISIONS)
    sound = lines.sound
    made: dict[str, Decision] = {}
    for _, values in lines.values:
        try:
            one = Decision(**values)
            made[one.key] = one
        except TypeError:
            sound = False
    if not sound:
        _log.warning("%s: decisions are missing or can't be read; look at them again", DECISIONS)
    return {key: one for key, one in made.items() if withdrawn or one.verdict != "open"}


@dataclass(frozen=True)
class SavedFinding:
    """A finding of the last audit, see `Finding`; `ids` are of the archive's cases."""

    key: str
    kind: Kind
    ids: tuple[int, ...]
    score: float
    said: str
    evidence: Mapping[str, str | int | float]


@dataclass(frozen=True)
class SavedAudit:
    """The last audit.

    Attributes:
        time: ISO 8601 in UTC.
        checked: what was looked at.
        findings: all of them, decided or not, in the order to work in.
    """

    time: str
    checked: Mapping[str, int]
    findings: tuple[SavedFinding, ...]


def save_audit(
    folder: Path, named: Sequence[tuple[str, Finding]], ids: Sequence[int], checked: Mapping[str, int]
) -> None:
    """Write the findings of an audit; a kill in the middle leaves the last ones.

    Args:
        folder: the archive.
        named: keys and findings.
        ids: of the archive's cases, by their places.
        checked: what was looked at.

    Raises:
        OSError: the folder can't be written.
    """
    first: dict[str, Finding] = {}
    for key, finding in named:  # one decision answers all that have a key: raise the surest
        first.setdefault(key, finding)
    findings = tuple(
        SavedFinding(key, f.kind, tuple(ids[i] for i in f.cases), f.score, f.said, dict(f.evidence))
        for key, f in first.items()
    )
    files.write_json(folder / WORKLIST, asdict(SavedAudit(now(), dict(checked), findings)))


def load_audit(folder: Path, there: Collection[int]) -> SavedAudit | None:
    """Read the last audit, without findings on cases that are there no more; None if there is none.

    Args:
        folder: the archive.
        there: ids of its cases.

    Raises:
        MatchingError: the file can't be read.
    """
    path = folder / WORKLIST
    if not path.exists():
        return None
    try:
        values = files.read_json(path)
        findings = tuple(
            replace(
                SavedFinding(**each),
                ids=tuple(each["ids"]),
                score=float(each["score"]),
                evidence=dict(each["evidence"]),
            )
            for each in values["findings"]
        )
        if unknown := {each.kind for each in findings}.difference(KINDS):
            raise ValueError(unknown)
        audit = SavedAudit(str(values["time"]), dict(values["checked"]), findings)
    except (OSError, ValueError, KeyError, TypeError):
        raise MatchingError(f"{WORKLIST} can't be read; audit the archive again") from None
    known = set(there)
    left = tuple(each for each in audit.findings if known.issuperset(each.ids))
    return SavedAudit(audit.time, audit.checked, left)


def forget_decisions(folder: Path, gone: Sequence[Case], cases: Sequence[Case], *, count_only: bool = False) -> int:
    """Remove the decisions on findings in which a photograph is involved.

    A decision names its finding by a hash, so the findings there could have been are gone through:
    every photograph alone, with every other one, and three of one person. A decision made before
    the record of one of its photographs was changed can't be told, and stays.

    Args:
        folder: the archive.
        gone: the photographs.
        cases: all of the archive, these among them.
        count_only: change nothing.

    Returns:
        How many decisions went; a finding that was decided on twice counts twice.
    """
    made = set(decisions(folder, withdrawn=True))
    found = made.intersection(_possible_keys(gone, cases)) if made else set()
    return rewrite_values(folder / DECISIONS, lambda values: None if values.get("key") in found else values, count_only)


def _possible_keys(gone: Sequence[Case], cases: Sequence[Case]) -> Iterator[str]:
    names = sorted(set().union(*(case.findings or () for case in cases)))
    values = [f"grade {grade}" for grade in range(5)] + names
    for one in gone:
        yield from (key_of("label", no + value, [one]) for value in values for no in ("", "no "))
        for kind in KINDS:
            yield key_of(kind, "", [one])
            yield from (key_of(kind, "", [one, other]) for other in cases if other is not one)
    for several in chain.from_iterable(combinations(gone, count) for count in (3, 4)):
        yield key_of("two splits", "", several)

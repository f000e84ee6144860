"""The findings of the last audit, kept beside the archive for whoever works through them.

    A/audit-worklist.json    written whole at the end of an audit

It names photographs by their number in the archive: what was removed since is left out when it is
read, and no name of a subject or a file stands in it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from foveola import files
from foveola.errors import MatchingError
from foveola.matching.findings import KINDS, Finding, Kind
from foveola.matching.permission import now

FILE = "audit-worklist.json"


@dataclass(frozen=True)
class KeptFinding:
    """A finding, see `foveola.matching.findings.Finding`; `ids` are of the archive's cases."""

    key: str
    kind: Kind
    ids: tuple[int, ...]
    score: float
    said: str
    evidence: Mapping[str, str | int | float]


@dataclass(frozen=True)
class KeptAudit:
    """The last audit.

    Attributes:
        time: ISO 8601 in UTC.
        checked: what was looked at.
        findings: all of them, decided or not, in the order to work in.
    """

    time: str
    checked: Mapping[str, int]
    findings: tuple[KeptFinding, ...]


def keep(folder: Path, named: Sequence[tuple[str, Finding]], ids: Sequence[int], checked: Mapping[str, int]) -> None:
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
        KeptFinding(key, f.kind, tuple(ids[i] for i in f.cases), f.score, f.said, dict(f.evidence))
        for key, f in first.items()
    )
    files.write_json(folder / FILE, asdict(KeptAudit(now(), dict(checked), findings)))


def kept(folder: Path, there: Collection[int]) -> KeptAudit | None:
    """The last audit, without findings on cases that are there no more; None where there is none.

    Args:
        folder: the archive.
        there: ids of its cases.

    Raises:
        MatchingError: the file can't be read.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        told = files.read_json(path)
        findings = tuple(_finding(each) for each in told["findings"])
        audit = KeptAudit(str(told["time"]), dict(told["checked"]), findings)
    except (OSError, ValueError, KeyError, TypeError):
        raise MatchingError(f"{FILE} can't be read; audit the archive again") from None
    known = set(there)
    left = tuple(each for each in audit.findings if known.issuperset(each.ids))
    return KeptAudit(audit.time, audit.checked, left)


def _finding(told: Mapping[str, object]) -> KeptFinding:
    made = KeptFinding(**told)  # type: ignore[arg-type]
    if made.kind not in KINDS:
        raise ValueError(made.kind)
    return KeptFinding(made.key, made.kind, tuple(made.ids), float(made.score), made.said, dict(made.evidence))

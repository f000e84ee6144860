"""What an audit finds, and the name by which a decision about it is remembered."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from foveola.encoders.encoder import Failed
from foveola.records import Case

Kind = Literal["one eye, two subjects", "two eyes, one id", "wrong side", "copy", "two splits", "label"]
KINDS: tuple[Kind, ...] = ("one eye, two subjects", "two eyes, one id", "wrong side", "copy", "two splits", "label")


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
    """12 letters that name a finding for as long as its photographs and records stay as they are.

    They are made of the kind, the photographs' paths and what is doubted, and tell neither.
    """
    value = str(finding.evidence.get("value", ""))
    return key_of(finding.kind, value, [cases[i] for i in involved(finding)])


def key_of(kind: Kind, value: str, photographs: Sequence[Case]) -> str:
    """The same of the photographs themselves; `value` is what is doubted of a label."""
    parts = [kind, value]
    for case in sorted(photographs, key=lambda case: case.path):
        parts += [case.path, str(case.subject), str(case.eye)]
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=6).hexdigest()


def involved(finding: Finding) -> tuple[int, ...]:
    """What is filed wrong; of a label, the case without the neighbours that speak against it."""
    return finding.cases[:1] if finding.kind == "label" else finding.cases

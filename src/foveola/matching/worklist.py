"""The audit of an archive as a person works through it: what is open, in words and pictures."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveola.archive import Archive
from foveola.duplicates.registration import agree
from foveola.encoders.encoder import Encoder, Failed
from foveola.images.pictures import jpeg, thumbnail
from foveola.labels import is_phantom
from foveola.laterality import LATERALITY, Laterality
from foveola.matching import gallery, permission
from foveola.matching.audit import audit
from foveola.matching.pair import CALIBRATION, Calibration, chessboard, local_features, read_square
from foveola.matching.saved_audit import KINDS, Decision, Finding, Kind, decisions, involved, key, save_audit
from foveola.plain import plain
from foveola.records import Case
from foveola.report import Pair, Photograph, pairs_page

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Worklist:
    """An audit and what was decided about it.

    Attributes:
        cases: of the archive.
        open: keys and findings that nobody has decided on, in the order to work in.
        decided: decisions on findings that came up again.
        checked: what was looked at.
        failed: photographs that can't be read.
        purpose: what matching was allowed for.
        encoder: name of the matching encoder.
    """

    cases: tuple[Case, ...]
    open: tuple[tuple[str, Finding], ...]
    decided: tuple[Decision, ...]
    checked: dict[str, int]
    failed: tuple[Failed, ...]
    purpose: str
    encoder: str


def audit_archive(folder: Path, *, labels: bool = True, progress: Callable[[int], None] | None = None) -> Worklist:
    """Audit an archive in which matching is allowed; the use is logged, the findings are kept.

    Args:
        folder: the archive.
        labels: whether grades and findings are judged too.
        progress: called with the number of photographs just dealt with, twice for each.

    Raises:
        MatchingError: matching is switched off, or its encoder was not calibrated.
        ArchiveError: the archive can't be opened.
    """
    allowed = permission.permission(folder)
    permission.log_use(folder, "audit")
    with Archive.open(folder, read_only=True) as outer:
        _, matrix = outer.vectors()
        known = list(outer.cases())
    cases = [case for _, case in known]
    similarity = matrix if labels and cases else None
    matching, encoder = _matching(folder, cases)
    own = encoder.release.folder
    done = audit(
        cases,
        matching,
        similarity,
        encoder,
        Calibration.load(own / CALIBRATION, encoder.fingerprint),
        Laterality.load(own / LATERALITY, encoder.fingerprint),
        progress=progress,
    )
    named = [(key(finding, cases), finding) for finding in done.findings]
    save_audit(folder, named, [id_ for id_, _ in known], done.checked)
    made = decisions(folder)
    return Worklist(
        tuple(cases),
        tuple((name, finding) for name, finding in named if name not in made),
        tuple(made[name] for name in dict.fromkeys(n for n, _ in named) if name in made),
        dict(done.checked),
        done.failed,
        allowed.purpose,
        encoder.name,
    )


def to_dict(work: Worklist) -> dict[str, object]:
    """Return plain types for json.dumps."""
    return {
        "checked": work.checked,
        "open": dict(counts(work)),
        "findings": [_finding_json(name, finding, work.cases) for name, finding in work.open],
        "decided": [decision.__dict__ for decision in work.decided],
        "encoder": work.encoder,
        "purpose": work.purpose,
    }


def to_text(work: Worklist, shown: int = 20) -> str:
    """Return text for a terminal: counts, then the surest findings of each kind."""
    lines = [summary(work)]
    for kind in KINDS:
        of = [(name, f) for name, f in work.open if f.kind == kind]
        if not of:
            continue
        lines += ["", f"{kind}: {len(of)}"]
        for name, finding in of[:shown]:
            images = ", ".join(plain(work.cases[i].image) for i in involved(finding))
            lines.append(f"  {name}  {finding.score:.2f}  {finding.said}  {images}")
        if len(of) > shown:
            lines.append(f"  and {len(of) - shown} more (--json and --html have all)")
    return "\n".join(lines)


def to_page(work: Worklist, shown: int = 100) -> str:
    """Make a page with the pictures of each finding, up to `shown` of a kind."""
    chosen = [(name, f) for kind in KINDS for name, f in [x for x in work.open if x[1].kind == kind][:shown]]
    facts: list[tuple[str, str]] = [(kind, f"{count:,} open") for kind, count in counts(work).items()]
    facts += [(f"checked: {what}", f"{count:,}") for what, count in work.checked.items()]
    facts += [("Decided before", f"{len(work.decided):,}"), ("Purpose", work.purpose), ("Encoder", work.encoder)]
    return pairs_page(
        [_pair(name, finding, work.cases) for name, finding in chosen],
        title="Audit",
        lead=summary(work),
        facts=facts,
        phantoms=any(map(is_phantom, work.cases)),
    )


def summary(work: Worklist) -> str:
    """Say in one sentence how much there is to look at."""
    return (
        f"{len(work.open):,} findings to look at in {work.checked['photographs']:,} photographs; "
        "each is a question to a person, and nothing was changed."
    )


def counts(work: Worklist) -> dict[Kind, int]:
    """Count the open findings of each kind."""
    found = Counter(finding.kind for _, finding in work.open)
    return {kind: found[kind] for kind in KINDS}


def _matching(folder: Path, cases: Sequence[Case]) -> tuple[Vectors, Encoder]:
    """Descriptors of the inner archive in the order of the cases, zeros where there is none."""
    with Archive.open(folder / gallery.FOLDER, read_only=True) as inner:
        encoder = Encoder.load(inner.encoder_folder)
        _, matrix = inner.vectors()
        known = {case.path: n for n, (_, case) in enumerate(inner.cases())}
        rows = np.zeros((len(cases), inner.dimension), np.float32)
        for i, case in enumerate(cases):
            if case.path in known:
                rows[i] = matrix[known[case.path]]
    return rows, encoder


def _finding_json(name: str, finding: Finding, cases: Sequence[Case]) -> dict[str, object]:
    return {
        "key": name,
        "kind": finding.kind,
        "score": round(finding.score, 4),
        "said": finding.said,
        "images": [cases[i].image for i in involved(finding)],
        "paths": [cases[i].path for i in involved(finding)],
        "evidence": dict(finding.evidence),
    }


def _pair(name: str, finding: Finding, cases: Sequence[Case]) -> Pair:
    titles = (
        ["In doubt", "Like it", "Like it", "Like it"]
        if finding.kind == "label"
        else ["First", "Second", "Third", "Fourth"]
    )
    pictures = [
        Photograph.of(title, cases[i], thumbnail(Path(cases[i].path)))
        for title, i in zip(titles, finding.cases, strict=False)
    ]
    if "features that agree" in finding.evidence and len(finding.cases) == 2:
        first, second = (Path(cases[i].path) for i in finding.cases)
        if (board := laid_over(first, second)) is not None:
            pictures.append(Photograph(title="Laid over each other", picture=board))
    return Pair(
        title=finding.said,
        badge=f"{finding.kind} · {finding.score:.2f}",
        strong=finding.score >= 0.9,
        pictures=pictures,
        evidence=[(k, str(v)) for k, v in finding.evidence.items()],
        note=f"Decide with: foveola audit ARCHIVE --decide {name} wrong|right|unsure",
    )


def laid_over(first: Path, second: Path) -> bytes | None:
    """Lay two files over each other as a JPEG; None if one can't be read or no feature agrees."""
    a, b = read_square(first), read_square(second)
    if a is None or b is None:
        return None
    agreed = agree(local_features(a), local_features(b))
    return jpeg(chessboard(a, b, agreed.affine)) if agreed.inliers else None

"""How well the descriptors of an archive tell who someone is, for matching or against it.

A descriptor made for similar cases is meant to say what a retina shows, not whose it is. `risk`
measures how far it does say that: whoever holds a photograph of a person, and the descriptors of
an archive that was released without names, could find that person at this rate.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveola.archive import Archive
from foveola.errors import ArchiveError, FoveolaError
from foveola.matching.evaluation import MatchingEvaluation, Protocol, evaluate_matching
from foveola.metrics.verification import Rate
from foveola.notebook import Rows, aligned, number, ranged
from foveola.records import Case
from foveola.trust import ALIKE, load

Vectors = NDArray[np.float32]

_ASKED = {
    "eye": "another photograph of the same eye",
    "subject": "any other photograph of the same person, the fellow eye above all",
}


@dataclass(frozen=True)
class Risk:
    """Re-identification from an archive's descriptors.

    Attributes:
        encoder: name of the archive's encoder.
        photographs: in the archive.
        found: by what is found again, "eye" and "subject"; None where no identity comes twice.
        chance: rank-1 of a random order, likewise.
        alike: cosine from which on a search leaves a case out, as it may show the same eye.
        left: of the photographs of eyes that are there twice, the share whose nearest case is of
            the same eye when that is left out; None where no eye comes twice.
    """

    encoder: str
    photographs: int
    found: dict[str, MatchingEvaluation | None]
    chance: dict[str, float]
    alike: float
    left: float | None

    def to_dict(self) -> dict[str, object]:
        """Return plain types for json.dumps."""
        return {
            "encoder": self.encoder,
            "photographs": self.photographs,
            "left_out_from_cosine": self.alike,
            "rank_1_eye_in_search": self.left,
            "by": {
                name: None
                if of is None
                else {"asked_for": _ASKED[name], "rank_1_by_chance": self.chance[name], **of.to_dict()}
                for name, of in self.found.items()
            },
        }

    def to_text(self) -> str:
        """Return a table for a terminal, and what it means."""
        lines = [
            f"{self.photographs:,} photographs, encoder {self.encoder}: how often the nearest "
            "descriptor is of the same identity."
        ]
        rows: Rows = [["identity", "queries", "rank-1", "95 % interval", "chance", "AUC", "interval"]]
        for name, of in self.found.items():
            if of is None:
                lines.append(f"No {name} was photographed twice, so nothing can be said of it.")
                continue
            first, seen = of.found.metrics["rank-1"], of.found.verification
            auc = Rate(float("nan")) if seen is None else seen.auc
            rows.append(
                [
                    name,
                    f"{of.found.queries - of.found.without_mate:,}",
                    number(first.value.micro),
                    ranged(first.interval()),
                    number(self.chance[name]),
                    number(auc.value),
                    ranged(auc.interval),
                ]
            )
        if self.left is not None:
            lines.append(
                f"A search leaves out what is alike from {self.alike:.4f} on where it is not known "
                f"whose photograph it is. Then the nearest is of the same eye for {self.left:.3f}."
            )
        return "\n\n".join([lines[0], aligned(rows), *lines[1:]])


def read_archive(folder: Path) -> tuple[Vectors, list[Case], str]:
    """Read descriptors (N, D), cases in the same order, and the encoder's name.

    Raises:
        ArchiveError: it can't be opened, or is empty.
    """
    with Archive.open(folder, read_only=True) as archive:
        _, matrix = archive.vectors()
        cases = [case for _, case in archive.cases()]
        name = archive.name
    if not cases:
        raise ArchiveError(f"{folder} is empty; index photographs into it first")
    return matrix, cases, name


def risk(folder: Path, *, bootstrap: int = 1000) -> Risk:
    """Measure how re-identifiable an archive's descriptors are.

    Args:
        folder: the archive.
        bootstrap: resamples of the subjects for the intervals.

    Raises:
        ArchiveError: it can't be opened, or is empty.
    """
    descriptors, cases, name = read_archive(folder)
    found: dict[str, MatchingEvaluation | None] = {}
    chance: dict[str, float] = {}
    for identity in ("eye", "subject"):
        protocol = Protocol(identity="eye" if identity == "eye" else "subject", gallery="others")
        chance[identity] = _chance([protocol.identity_of(case) for case in cases])
        try:
            found[identity] = evaluate_matching(descriptors, cases, protocol, bootstrap=bootstrap)
        except FoveolaError:  # no identity comes twice
            found[identity] = None
    with Archive.open(folder, read_only=True) as archive:
        known = load(archive)
    alike = ALIKE if known is None else known.alike
    return Risk(name, len(cases), found, chance, alike, _left(descriptors, cases, alike))


def _left(descriptors: Vectors, cases: Sequence[Case], alike: float) -> float | None:
    """Share of the photographs of eyes that come twice that are still found by their eye."""
    eyes = [(c.collection, c.subject, c.eye) if c.subject and c.eye else None for c in cases]
    twice = {eye for eye, count in Counter(eyes).items() if eye is not None and count > 1}
    found = []
    for i, eye in enumerate(eyes):
        if eye in twice:
            row = descriptors @ descriptors[i]
            row[i] = -1
            row[row >= alike] = -1
            found.append(eyes[int(row.argmax())] == eye)
    return float(np.mean(found)) if found else None


def _chance(identities: Sequence[object]) -> float:
    """Mean over the queries with a mate of the share of mates among all others."""
    known = [i for i in identities if i is not None]
    counts = Counter(known)
    mates = [counts[i] - 1 for i in known if counts[i] > 1]
    return float(np.mean(mates) / (len(identities) - 1)) if mates else float("nan")

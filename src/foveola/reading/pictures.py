"""What a report shows of a reading: the photographs, and where findings come from in them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveola.cases import Eye
from foveola.images.decode import decode
from foveola.images.fundus import Contract, prepare
from foveola.images.overlay import jpeg, overlay, shares
from foveola.people import NORMAL
from foveola.reading.person import Reading

PICTURED = 3  # findings, of those above their thresholds

_FIELD = Contract(size=512)


def photographs(reading: Reading) -> dict[Eye, bytes]:
    """The field of view of each eye that was given, as JPEG."""
    return {eye: jpeg(_square(of.path)) for eye, of in reading.eyes.items()}


def evidence_pictures(reading: Reading) -> dict[str, dict[Eye, bytes]]:
    """Of the likeliest findings, each eye with what speaks for it, as JPEG.

    Both eyes of a finding are on one scale. Where nothing is above its threshold the likeliest
    finding is shown; normal never is, as nothing in particular speaks for it.
    """
    return {label: _evidence(reading, label) for label in _pictured(reading)}


def _pictured(reading: Reading) -> list[str]:
    order = sorted(zip(reading.probabilities, reading.labels, strict=True), reverse=True)
    names = [label for _, label in order if label != NORMAL]
    return [label for label in names if label in reading.found][:PICTURED] or names[:1]


def _evidence(reading: Reading, label: str) -> dict[Eye, bytes]:
    at = reading.labels.index(label)
    maps = {eye: of.evidence[at] for eye, of in reading.eyes.items()}
    most = max(0.0, *(float(values.max()) for values in maps.values()))
    return {
        eye: jpeg(overlay(_square(reading.eyes[eye].path), shares(values, most)))
        for eye, values in maps.items()
    }


def _square(path: Path) -> NDArray[np.uint8]:
    return prepare(decode(path), _FIELD)

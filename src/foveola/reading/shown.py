"""What a report shows of a reading: the photographs, and where findings come from in them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foveola.cases import Eye
from foveola.images.decode import decode
from foveola.images.fundus import Contract, prepare
from foveola.images.overlay import jpeg, overlay, shares
from foveola.people import NORMAL

if TYPE_CHECKING:
    from foveola.reading.person import Reading

PICTURED = 3  # findings, of those above their thresholds

_FIELD = Contract(size=512)

Pixels = NDArray[np.uint8]


class Pictures(NamedTuple):
    """JPEG files of each eye that was given.

    Attributes:
        photographs: its field of view.
        evidence: of each label that is shown, what speaks for it.
    """

    photographs: dict[Eye, bytes]
    evidence: dict[str, dict[Eye, bytes]]


def pictures(reading: "Reading", photographs: Mapping[Eye, Pixels] | None = None) -> Pictures:
    """The field of view of each eye, and where the likeliest findings come from in it.

    Both eyes of a finding are on one scale. Where nothing is above its threshold the likeliest
    finding is shown; normal never is, as nothing in particular speaks for it.

    Args:
        reading: of one person.
        photographs: (H, W, 3) uint8 of each eye; None reads them from the reading's files.
    """
    if photographs is None:
        photographs = {eye: decode(of.path) for eye, of in reading.eyes.items()}
    squares = {eye: prepare(photographs[eye], _FIELD) for eye in reading.eyes}
    return Pictures(
        {eye: jpeg(square) for eye, square in squares.items()},
        {label: _evidence(reading, label, squares) for label in _pictured(reading)},
    )


def _pictured(reading: "Reading") -> list[str]:
    order = sorted(zip(reading.probabilities, reading.labels, strict=True), reverse=True)
    names = [label for _, label in order if label != NORMAL]
    return [label for label in names if label in reading.found][:PICTURED] or names[:1]


def _evidence(reading: "Reading", label: str, squares: Mapping[Eye, Pixels]) -> dict[Eye, bytes]:
    at = reading.labels.index(label)
    maps = {eye: of.evidence[at] for eye, of in reading.eyes.items()}
    most = max(0.0, *(float(values.max()) for values in maps.values()))
    return {eye: jpeg(overlay(squares[eye], shares(values, most))) for eye, values in maps.items()}

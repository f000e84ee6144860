"""What an expert looks at to believe, or not, that two photographs show one eye."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from foveola.duplicates import registration
from foveola.encoders.encoder import UNUSABLE
from foveola.images.decode import decode

Pixels = NDArray[np.uint8]

FIELDS = 8  # of the chessboard, along each side
_GREY = 128


def read_square(path: Path) -> Pixels | None:
    """(384, 384, 3) uint8, the prepared field of view; None where the file can't be read."""
    try:
        return registration.square(decode(path, min_side=registration.SIDE))
    except UNUSABLE:
        return None


def chessboard(first: Pixels, second: Pixels, affine: NDArray[np.float32]) -> Pixels:
    """Fields of the one and of the other in turn: vessels go on across them where the map is right.

    Args:
        first: (S, S, 3) uint8.
        second: likewise.
        affine: (2, 3), from the second to the first.

    Returns:
        (S, S, 3) uint8; grey where the second shows nothing.
    """
    size = first.shape[0]
    border = (_GREY, _GREY, _GREY)
    moved = cv2.warpAffine(second, affine, (size, size), borderValue=border)
    return np.where(_fields(size)[..., None], first, moved).astype(np.uint8)


def _fields(size: int) -> NDArray[np.bool_]:
    row = np.arange(size) * FIELDS // size
    return np.asarray((row[:, None] + row[None]) % 2 == 0)

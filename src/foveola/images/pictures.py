"""Pictures of photographs for people: small ones, and ones that show where something was found."""

from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from numpy.typing import ArrayLike, NDArray

from foveola.errors import FoveolaError
from foveola.images.decode import decode
from foveola.images.fundus import Contract, field_to_show, prepare

Pixels = NDArray[np.uint8]

COLOUR = (0, 210, 255)  # cyan: no retina has it, and all kinds of colour vision tell it from one
STRONGEST = 0.55  # share of the colour at weight 1
EDGE = 0.5  # weight at which a line is drawn


def overlay(image: Pixels, weights: ArrayLike) -> Pixels:
    """Colour a photograph where the weights are high, with a line where they pass a half.

    Args:
        image: (S, S, 3) uint8 RGB.
        weights: (h, w), 0 to 1, of positions that cover the whole image; what lies outside
            those bounds is cut off.

    Returns:
        (S, S, 3) uint8.

    Raises:
        ValueError: a weight is not a number.
    """
    coarse = np.asarray(weights, np.float32)
    if not np.isfinite(coarse).all():
        raise ValueError("a weight of the map is not a number")
    size = image.shape[:2]
    fine = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_LINEAR).clip(0, 1)
    share = STRONGEST * fine[..., None]
    mixed = image * (1 - share) + np.array(COLOUR, np.float32) * share
    drawn = np.ascontiguousarray(mixed.round().astype(np.uint8))
    above = (fine >= EDGE).astype(np.uint8)
    lines, _ = cv2.findContours(above, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, lines, -1, COLOUR, max(1, size[0] // 256), cv2.LINE_AA)
    return drawn


def shares(contributions: ArrayLike, most: float | None = None) -> NDArray[np.float32]:
    """Turn contributions (..., h, w) into weights: what speaks for it, up to the greatest of all.

    Args:
        contributions: of any sign; what speaks against it gets 0.
        most: the contribution that counts as 1; None takes the greatest there is.

    >>> shares([[-1.0, 2.0], [4.0, 0.0]]).tolist()
    [[0.0, 0.5], [1.0, 0.0]]
    """
    positive = np.maximum(np.asarray(contributions, np.float32), 0)
    top = float(positive.max(initial=0.0)) if most is None else most
    return np.asarray(positive / top if top > 0 else positive, np.float32)


def jpeg(image: Pixels) -> bytes:
    """Encode (H, W, 3) uint8 RGB as a JPEG file."""
    data: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=85, colorsubsampling="420")
    return data


# --- small pictures ---


def thumbnail(path: Path, size: int = 360, quality: int = 85, *, mask: bool = False) -> bytes | None:
    """Make a JPEG of the field of view, size x size pixels; None where the file can't be read.

    The surround is left as it is: a reader may want to see what the camera printed there. With
    `mask` it is black: a name may be printed there, too.
    """
    try:
        return small(decode(path, min_side=size), size, quality, mask=mask)
    except (FoveolaError, OSError):
        return None


def small(pixels: NDArray[np.uint8], size: int = 360, quality: int = 85, *, mask: bool = False) -> bytes:
    """Make the same of (H, W, 3) uint8 RGB as decoded."""
    square = prepare(pixels, Contract(size=size, mask=mask), view=field_to_show(pixels))
    data: bytes = simplejpeg.encode_jpeg(square, quality=quality, colorsubsampling="420")
    return data

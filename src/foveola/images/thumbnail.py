"""Small pictures of photographs, for people."""

from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from foveola.errors import FoveolaError
from foveola.images.decode import decode
from foveola.images.fundus import Contract, field_to_show, prepare


def thumbnail(path: Path, size: int = 360, quality: int = 85, *, mask: bool = False) -> bytes | None:
    """The field of view as a JPEG of size x size pixels; None where the file can't be read.

    The surround is left as it is: a reader may want to see what the camera printed there. With
    `mask` it is black: a name may be printed there, too.
    """
    try:
        return small(decode(path, min_side=size), size, quality, mask=mask)
    except (FoveolaError, OSError):
        return None


def small(pixels: NDArray[np.uint8], size: int = 360, quality: int = 85, *, mask: bool = False) -> bytes:
    """The same of (H, W, 3) uint8 RGB as decoded."""
    square = prepare(pixels, Contract(size=size, mask=mask), view=field_to_show(pixels))
    data: bytes = simplejpeg.encode_jpeg(square, quality=quality, colorsubsampling="420")
    return data

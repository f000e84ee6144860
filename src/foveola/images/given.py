"""A photograph as a caller of the library has it: a file by its name, its bytes, or pixels."""

import os
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from foveola.images.decode import read_bytes
from foveola.resources import AnyPath

Photograph = AnyPath | bytes | NDArray[np.uint8]


class File(NamedTuple):
    """A photograph as a file.

    Attributes:
        data: bytes of the file; pixels are the file of an uncompressed picture.
        name: what messages call it.
        path: of the file, absolute; None where it has none.
    """

    data: bytes
    name: str
    path: str | None


def as_file(photograph: Photograph) -> File:
    """Take a photograph as the path of a file, the bytes of one, or (H, W, 3) uint8 RGB, upright.

    Raises:
        ImageError: there is no such file, or it can't be read.
        ValueError: it is something else.
    """
    if isinstance(photograph, bytes):
        return File(photograph, "the photograph", None)
    if isinstance(photograph, np.ndarray):
        return File(_bitmap(photograph), "the array", None)
    if not isinstance(photograph, str | os.PathLike):
        raise ValueError(
            f"the photograph is of type {type(photograph).__name__}; expected the path of a file "
            "(text or Path), the bytes of a file, or an array (H, W, 3) uint8"
        )
    path = Path(photograph)
    return File(read_bytes(path), path.name, str(path.absolute()))


def _bitmap(pixels: NDArray[np.uint8]) -> bytes:
    """The file of a picture in which every pixel is kept."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(
            f"the photograph is an array {pixels.shape} {pixels.dtype}; expected (H, W, 3) uint8, "
            "RGB from 0 to 255"
        )
    return cv2.imencode(".bmp", np.ascontiguousarray(pixels[..., ::-1]))[1].tobytes()

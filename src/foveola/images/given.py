"""A photograph as a caller has it: a file by its name, its bytes, pixels, or Pillow's image."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard, Union

import cv2
import numpy as np
from numpy.typing import NDArray

from foveola.images.decode import read_bytes
from foveola.resources import AnyPath

if TYPE_CHECKING:
    from PIL.Image import Image

Photograph = Union[AnyPath, bytes, NDArray[np.uint8], "Image"]


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
    """Take a photograph in any form as a file.

    Args:
        photograph: the path of a file (text or Path), the bytes of one, (H, W, 3) uint8 RGB
            upright, or an image of Pillow's.

    Raises:
        ImageError: there is no such file, it can't be read, or Pillow's image can't be shown.
        ValueError: it is something else.
    """
    if isinstance(photograph, bytes):
        return File(photograph, "the photograph", None)
    if isinstance(photograph, np.ndarray):
        return File(_bitmap(photograph), "the array", None)
    if _is_pillow(photograph):
        from foveola.images._pillow import pixels_of

        return File(_bitmap(pixels_of(photograph)), "the image", None)
    if not isinstance(photograph, str | os.PathLike):
        raise ValueError(
            f"the photograph is of type {type(photograph).__name__}; expected the path of a file "
            "(text or Path), the bytes of a file, a PIL image, or an array (H, W, 3) uint8"
        )
    path = Path(photograph)
    return File(read_bytes(path), path.name, str(path.absolute()))


def is_one(photographs: Photograph | Iterable[Photograph]) -> TypeGuard[Photograph]:
    """Whether this is one photograph, good or bad, and no list of them."""
    if not isinstance(photographs, Iterable):
        return True  # of which `as_file` says what it is not
    if isinstance(photographs, np.ndarray):
        return photographs.dtype.kind not in "OUS"  # an array of paths is a list
    return isinstance(photographs, str | bytes | os.PathLike) or _is_pillow(photographs)


def _is_pillow(thing: object) -> "TypeGuard[Image]":
    """Whether it is an image of Pillow's, which is not imported where nobody else did."""
    pillow: Any = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(thing, pillow.Image)


def _bitmap(pixels: NDArray[np.uint8]) -> bytes:
    """The file of a picture in which every pixel is kept."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(
            f"the photograph is an array {pixels.shape} {pixels.dtype}; expected (H, W, 3) uint8, RGB from 0 to 255"
        )
    return cv2.imencode(".bmp", np.ascontiguousarray(pixels[..., ::-1]))[1].tobytes()

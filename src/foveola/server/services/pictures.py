"""Photographs as a browser shows them: bounded, without metadata, in a format it knows."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import cv2
import numpy as np
import simplejpeg
from numpy.typing import ArrayLike, NDArray

from foveola.images.fundus import field_to_show
from foveola.images.pictures import COLOUR, STRONGEST

Pixels = NDArray[np.uint8]
T = TypeVar("T")

MOST = 2048  # pixels of the longer side: more than a screen shows, and lesions stay sharp


class Picture(NamedTuple):
    """A photograph to be shown.

    Attributes:
        jpeg: the file; nothing of the original's metadata is in it.
        width, height: in pixels.
        field: x, y and side of the square around the field of view, in widths of the picture, as
            a viewer counts.
    """

    jpeg: bytes
    width: int
    height: int
    field: tuple[float, float, float]


def picture(image: Pixels) -> Picture:
    """(H, W, 3) uint8 RGB as decoded -> at most MOST pixels a side."""
    height, width = image.shape[:2]
    scale = min(1.0, MOST / max(height, width))
    if scale < 1:
        size = (round(width * scale), round(height * scale))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    height, width = image.shape[:2]
    view = field_to_show(image)
    data: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=88, colorsubsampling="420")
    corner = view.x - view.radius, view.y - view.radius
    field = (corner[0] / width, corner[1] / width, 2 * view.radius / width)
    return Picture(data, width, height, field)


def heat(weights: ArrayLike, size: int = 384) -> bytes:
    """(h, w) weights from 0 to 1 -> a PNG to be laid over a picture, clear where they are 0."""
    coarse = np.asarray(weights, np.float32)
    fine = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR).clip(0, 1)
    coloured = np.empty((size, size, 4), np.uint8)
    coloured[..., :3] = COLOUR[::-1]  # OpenCV writes blue first
    coloured[..., 3] = np.round(255 * STRONGEST * fine)
    done, data = cv2.imencode(".png", coloured)
    if not done:
        raise ValueError("the map can't be written as a PNG")
    return data.tobytes()


class LRUCache(Generic[T]):
    """The last things made, by their key; safe to use from several threads.

    Args:
        most: things kept.
    """

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, threading.Lock()
        self._things: OrderedDict[object, T] = OrderedDict()

    def drop(self, gone: Callable[[object], bool]) -> None:
        """Forget the things of the keys of which that is true."""
        with self._lock:
            for key in [key for key in self._things if gone(key)]:
                del self._things[key]

    def get(self, key: object, make: Callable[[], T]) -> T:
        """The thing of a key, made if it is not there; two that come together both make it."""
        with self._lock:
            if key in self._things:
                self._things.move_to_end(key)
                return self._things[key]
        thing = make()
        with self._lock:
            self._things[key] = thing
            while len(self._things) > self._most:
                self._things.popitem(last=False)
        return thing

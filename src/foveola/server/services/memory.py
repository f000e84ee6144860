"""What the service keeps in memory, never on the disk: photographs that were sent, and what was made of them.

What belongs to one visitor has a token that nobody can guess. A photograph is kept as a browser
shows it: bounded, without metadata, in a format it knows.
"""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Generic, NamedTuple, TypeVar

import cv2
import numpy as np
import simplejpeg
from numpy.typing import ArrayLike, NDArray

from foveola.images.fundus import field_to_show
from foveola.images.pictures import COLOUR, STRONGEST, small
from foveola.reading import Prepared
from foveola.retrieval import Query
from foveola.server.auth.context import account

T = TypeVar("T")

MOST = 64
SECONDS = 3600.0


class SessionStore(Generic[T]):
    """The things put last; safe to use from several threads.

    Args:
        most: things kept.
        seconds: for which each is kept.
        clock: monotonic, in seconds.
    """

    def __init__(self, most: int = MOST, seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._seconds, self._clock = most, seconds, clock
        self._lock = threading.Lock()
        self._things: OrderedDict[str, tuple[float, str, T]] = OrderedDict()

    def put(self, thing: T) -> str:
        """Keep a thing; return its token."""
        token = secrets.token_urlsafe(16)
        with self._lock:
            self._forget()
            self._things[token] = self._clock(), account(), thing
            while len(self._things) > self._most:
                self._things.popitem(last=False)
        return token

    def get(self, token: str) -> T | None:
        """Return what this account put under a token; None where there is nothing any more."""
        with self._lock:
            self._forget()
            held = self._things.get(token)
        return None if held is None or held[1] != account() else held[2]

    def all(self) -> list[T]:
        """Return what everybody put, the oldest first."""
        with self._lock:
            return [thing for _, _, thing in self._things.values()]

    def change(self, token: str, how: Callable[[T], T]) -> None:
        """Put what `how` makes of a thing that is still kept in its place."""
        with self._lock:
            if token in self._things:
                since, owner, thing = self._things[token]
                self._things[token] = since, owner, how(thing)

    def drop(self, gone: Callable[[T], bool]) -> None:
        """Forget the things of which that is true."""
        with self._lock:
            for token, (*_, thing) in list(self._things.items()):
                if gone(thing):
                    del self._things[token]

    def _forget(self) -> None:
        line = self._clock() - self._seconds
        while self._things and next(iter(self._things.values()))[0] < line:
            self._things.popitem(last=False)


Pixels = NDArray[np.uint8]

PIXELS = 2048  # pixels of the longer side: more than a screen shows, and lesions stay sharp


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
    """Make (H, W, 3) uint8 RGB, as decoded, a picture of at most PIXELS pixels a side."""
    height, width = image.shape[:2]
    scale = min(1.0, PIXELS / max(height, width))
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
    """Draw (h, w) weights from 0 to 1 as a PNG to be laid over a picture, clear where they are 0."""
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

    >>> made = LRUCache(1)
    >>> made.get("a", lambda: 1), made.get("a", lambda: 2), made.get("b", lambda: 3), made.get("a", lambda: 4)
    (1, 1, 3, 4)
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
        """Return the thing of a key, made if it is not there; two that come together both make it."""
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


@dataclass(frozen=True, eq=False)
class Sent:
    """A photograph that was sent.

    Attributes:
        query: as it was read and encoded.
        pixels: (H, W, 3) uint8 of the picture, not of the file: the file is not kept.
        picture: to be shown.
        thumbnail: JPEG of the field of view.
        features, maps, prepared: what was made of it; forgotten with it.
    """

    query: Query
    picture: Picture
    thumbnail: bytes
    features: LRUCache[NDArray[np.float32]] = field(default_factory=lambda: LRUCache(1))
    maps: LRUCache[tuple[bytes, bytes]] = field(default_factory=lambda: LRUCache(MOST))
    prepared: LRUCache[Prepared] = field(default_factory=lambda: LRUCache(1))  # for a reader


class Queries:
    """The photographs sent last, by a token that nobody can guess.

    Args:
        most: photographs kept.
        seconds: for which each is kept.
        clock: monotonic, in seconds.
    """

    def __init__(self, most: int = MOST, seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._sent: SessionStore[Sent] = SessionStore(most, seconds, clock)

    def put(self, query: Query, pixels: Pixels) -> str:
        """Keep a photograph; return its token."""
        return self._sent.put(Sent(query, picture(pixels), small(pixels)))

    def get(self, token: str) -> Sent | None:
        """Return what this account put under a token; None where there is nothing any more."""
        return self._sent.get(token)

    def keep_only(self, ids: Collection[int]) -> None:
        """Forget the photographs of cases that are not among these, and maps of such."""
        self._sent.drop(lambda sent: sent.query.id is not None and sent.query.id not in ids)
        for sent in self._sent.all():
            sent.maps.drop(lambda version: not (isinstance(version, tuple) and version[0] in ids))

    def change(self, token: str, query: Query) -> None:
        """Say something else of a photograph that is kept."""
        self._sent.change(token, lambda sent: replace(sent, query=query))

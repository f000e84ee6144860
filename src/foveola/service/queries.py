"""Photographs that were sent, for as long as somebody looks at them; never on the disk."""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from foveola.images.thumbnail import small
from foveola.reading import Prepared
from foveola.retrieval import Query
from foveola.service.pictures import Kept, Picture, Pixels, picture
from foveola.service.who import account

MOST = 64
SECONDS = 3600.0


@dataclass(frozen=True, eq=False)
class Sent:
    """A photograph that was sent.

    Attributes:
        query: as it was read and encoded.
        pixels: (H, W, 3) uint8 of the picture, not of the file: the file is not kept.
        picture: to be shown.
        thumbnail: JPEG of the field of view.
        owner: account that sent it; nobody else is shown it.
        features, maps, prepared: what was made of it; forgotten with it.
    """

    query: Query
    picture: Picture
    thumbnail: bytes
    since: float
    owner: str = ""
    features: Kept[NDArray[np.float32]] = field(default_factory=lambda: Kept(1))
    maps: Kept[tuple[bytes, bytes]] = field(default_factory=lambda: Kept(MOST))
    prepared: Kept[Prepared] = field(default_factory=lambda: Kept(1))  # for a reader


class Queries:
    """The photographs sent last, by a token that nobody can guess.

    Args:
        most: photographs kept.
        seconds: for which each is kept.
        clock: monotonic, in seconds.
    """

    def __init__(
        self, most: int = MOST, seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._most, self._seconds, self._clock = most, seconds, clock
        self._lock = threading.Lock()
        self._sent: OrderedDict[str, Sent] = OrderedDict()

    def put(self, query: Query, pixels: Pixels) -> str:
        """Keep a photograph; returns its token."""
        token = secrets.token_urlsafe(16)
        sent = Sent(query, picture(pixels), small(pixels), self._clock(), account())
        with self._lock:
            self._forget()
            self._sent[token] = sent
            while len(self._sent) > self._most:
                self._sent.popitem(last=False)
        return token

    def get(self, token: str) -> Sent | None:
        """What was kept under a token; None where there is nothing any more."""
        with self._lock:
            self._forget()
            sent = self._sent.get(token)
        return sent if sent is not None and sent.owner == account() else None

    def keep_only(self, ids: Collection[int]) -> None:
        """Forget the photographs of cases that are not among these, and maps of such."""
        with self._lock:
            for token, sent in list(self._sent.items()):
                if sent.query.id is not None and sent.query.id not in ids:
                    del self._sent[token]
                sent.maps.drop(lambda key: not _is_of(key, ids))

    def change(self, token: str, query: Query) -> None:
        """Say something else of a photograph that is kept."""
        with self._lock:
            if token in self._sent:
                self._sent[token] = replace(self._sent[token], query=query)

    def _forget(self) -> None:
        line = self._clock() - self._seconds
        while self._sent and next(iter(self._sent.values())).since < line:
            self._sent.popitem(last=False)


def _is_of(version: object, ids: Collection[int]) -> bool:
    """Whether a version (case, time of its file) is of one of these cases."""
    return isinstance(version, tuple) and version[0] in ids

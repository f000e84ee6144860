"""Photographs that were sent, for as long as somebody looks at them; never on the disk."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from foveola.images.pictures import small
from foveola.reading import Prepared
from foveola.retrieval import Query
from foveola.server.services.pictures import LRUCache, Picture, Pixels, picture
from foveola.server.services.tokens import MOST, SECONDS, SessionStore


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
        """Keep a photograph; returns its token."""
        return self._sent.put(Sent(query, picture(pixels), small(pixels)))

    def get(self, token: str) -> Sent | None:
        """What this account put under a token; None where there is nothing any more."""
        return self._sent.get(token)

    def keep_only(self, ids: Collection[int]) -> None:
        """Forget the photographs of cases that are not among these, and maps of such."""
        self._sent.drop(lambda sent: sent.query.id is not None and sent.query.id not in ids)
        for sent in self._sent.all():
            sent.maps.drop(lambda key: not _is_of(key, ids))

    def change(self, token: str, query: Query) -> None:
        """Say something else of a photograph that is kept."""
        self._sent.change(token, lambda sent: replace(sent, query=query))


def _is_of(version: object, ids: Collection[int]) -> bool:
    """Whether a version (case, time of its file) is of one of these cases."""
    return isinstance(version, tuple) and version[0] in ids

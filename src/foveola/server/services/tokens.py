"""Things that belong to one visitor, by a token that nobody can guess; never on the disk."""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

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
        """Keep a thing; returns its token."""
        token = secrets.token_urlsafe(16)
        with self._lock:
            self._forget()
            self._things[token] = self._clock(), account(), thing
            while len(self._things) > self._most:
                self._things.popitem(last=False)
        return token

    def get(self, token: str) -> T | None:
        """What this account put under a token; None where there is nothing any more."""
        with self._lock:
            self._forget()
            held = self._things.get(token)
        return None if held is None or held[1] != account() else held[2]

    def all(self) -> list[T]:
        """What everybody put, the oldest first."""
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

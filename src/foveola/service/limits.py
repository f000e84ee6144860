"""How often and how many at a time: token buckets, and waiting after wrong passwords."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Any

Clock = Callable[[], float]
MOST = 10_000  # accounts and addresses remembered; who comes back after so many others is new


class Buckets:
    """A bucket of requests for each account or address, filled at a steady rate.

    Args:
        rate: requests a second for long.
        burst: requests at once after a pause.
        clock: monotonic, in seconds.
    """

    def __init__(self, rate: float, burst: float, clock: Clock = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._lock = threading.Lock()
        self._level: OrderedDict[str, tuple[Any, float]] = OrderedDict()  # level, when

    def take(self, key: str) -> float:
        """Take one request; the seconds to wait for it where the bucket is empty, else 0."""
        now = self._clock()
        with self._lock:
            level, when = self._level.pop(key, (self._burst, now))
            level = min(self._burst, level + (now - when) * self._rate)
            wait = 0.0 if level >= 1 else (1 - level) / self._rate
            self._level[key] = (level if wait else level - 1, now)
            _bound(self._level)
        return wait


class Backoff:
    """Waiting that doubles with every failure after the first few.

    Args:
        free: failures that cost nothing.
        longest: seconds; also how long after a failure it is forgotten, at least.
        clock: monotonic, in seconds.
    """

    def __init__(self, free: int, longest: float, clock: Clock = time.monotonic) -> None:
        self._free, self._longest, self._clock = free, longest, clock
        self._lock = threading.Lock()
        self._failed: OrderedDict[str, tuple[Any, float]] = OrderedDict()  # how often, when last

    def attempt(self, key: str) -> float:
        """Take an attempt, and count it as failed for now; else the seconds to wait for it."""
        now = self._clock()
        with self._lock:
            count, when = self._failed.get(key, (0, now))
            if (wait := when + self._delay(count) - now) > 0:
                return wait
            count = 0 if now - when > 4 * self._longest else count
            self._failed[key] = (count + 1, now)
            self._failed.move_to_end(key)
            _bound(self._failed)
        return 0.0

    def forgive(self, key: str, *, all_: bool = False) -> None:
        """Take the last attempt back, as it succeeded; or all that failed before it, too."""
        with self._lock:
            count, when = self._failed.pop(key, (0, 0.0))
            if count > 1 and not all_:
                self._failed[key] = (count - 1, when)

    def _delay(self, count: int) -> float:
        return 0.0 if count < self._free else min(self._longest, 2.0 ** min(count - self._free, 30))


def _bound(kept: "OrderedDict[str, tuple[Any, float]]") -> None:
    while len(kept) > MOST:
        kept.popitem(last=False)


def address_key(address: str) -> str:
    """One key for whoever holds an address: a household's whole /64 of IPv6."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or IPv6Address(int(parsed) >> 64 << 64))

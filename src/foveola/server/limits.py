"""How often, how much and how many at a time: token buckets, shares, waiting after failures; and for whom."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Any

Clock = Callable[[], float]
EVERYBODY = 512  # connections that are held at once
CONNECTIONS = 128  # of one address; a browser holds six
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


class Shares:
    """So much at once for all, and so much of it for each: bytes of bodies, connections.

    Not for several threads: everything here happens in the loop of the server.

    Args:
        most: for all together.
        each: for one account or address.
    """

    def __init__(self, most: int, each: int) -> None:
        self._left, self._each = most, each
        self._held: dict[str, int] = {}

    def take(self, key: str, count: int = 1) -> bool:
        """Take some; False, and nothing is taken, where less is left."""
        held = self._held.get(key, 0) + count
        if count > self._left or held > self._each:
            return False
        self._left -= count
        self._held[key] = held
        return True

    def give(self, key: str, count: int = 1) -> None:
        """Give back what was taken."""
        self._left += count
        self._held[key] = self._held.get(key, 0) - count
        if self._held[key] <= 0:
            del self._held[key]


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


def is_loopback(address: str) -> bool:
    """Return whether an address is this computer's alone.

    >>> is_loopback("127.0.0.1"), is_loopback("10.0.0.7"), is_loopback("pacs.example")
    (True, False, False)
    """
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def address_key(address: str) -> str:
    """Return one key for whoever holds an address: a household's whole /64 of IPv6.

    >>> address_key("2001:db8::7"), address_key("::ffff:10.0.0.7")
    ('2001:db8::', '10.0.0.7')
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or IPv6Address(int(parsed) >> 64 << 64))


def host_name(header: str) -> str:
    """Return the name in a Host header, without its port and in small letters.

    >>> host_name("Foveola.example:8321"), host_name("[::1]")
    ('foveola.example', '::1')
    """
    name = header if header.endswith("]") else header.rpartition(":")[0] or header
    return name.strip("[]").lower()

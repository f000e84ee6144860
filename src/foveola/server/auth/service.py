"""Who a request comes from, whether they logged in, and what is written of what they see."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request

from foveola.server.audit import Log
from foveola.server.auth import FILE, Accounts, Session
from foveola.server.auth.context import RequestContext, csrf_of
from foveola.server.limits import CONNECTIONS, Backoff, address_key, is_loopback

COVERED = 3600.0  # seconds for which a line in the log stands for the pictures of its page
MOST_COVERED = 100_000
HASHING_SECONDS = 5.0  # that a log-in waits for others; it holds a thread meanwhile


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the doors stand.

    Attributes:
        host_names: names by which the service may be called; None takes any, for tests.
        behind_proxy: a proxy on this computer says who asks, in X-Forwarded-For and -Proto.
        rate: requests a second that an account, or an address without one, may make for long.
        burst: requests at once; a page of a hundred hits asks for a hundred thumbnails.
        searches: that run at the same time.
        body_seconds: in which a request must have arrived.
        connections: that one address may hold at once.
        body_bytes: of requests that are in memory at once; half of it for one account.
    """

    host_names: Collection[str] | None = None
    behind_proxy: bool = False
    rate: float = 20.0
    burst: float = 300.0
    searches: int = 4
    body_seconds: float = 60.0
    connections: int = CONNECTIONS
    body_bytes: int = 256_000_000


class AuthService:
    """The accounts and the audit log of one archive, as its service uses them.

    Where the archive has no accounts, everybody who reaches the service may do everything and
    nothing is logged; from the moment that it has, everybody must log in.

    Args:
        folder: the archive.
        settings: of its doors.
        clock: monotonic, in seconds.
    """

    def __init__(self, folder: Path, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings, self.log = settings, Log(folder)
        self._folder, self._clock = folder, clock
        self._lock = threading.Lock()
        self._opened: Accounts | None = None
        self._names, self._addresses = Backoff(5, 300.0, clock), Backoff(20, 900.0, clock)
        self._hashing = threading.BoundedSemaphore(2)  # 64 MiB and 0.1 s each
        self._covered: OrderedDict[tuple[str, int], tuple[int, float]] = OrderedDict()

    def close(self) -> None:
        """Give the accounts back."""
        if self._opened is not None:
            self._opened.close()

    @property
    def accounts(self) -> Accounts | None:
        """Return the archive's accounts, as soon as it has any.

        Raises:
            AccessError: they can't be read.
        """
        with self._lock:
            if self._opened is None and (self._folder / FILE).exists():
                self._opened = Accounts(self._folder)
            return self._opened

    def context(self, request: Request) -> RequestContext | None:
        """Return who a request comes from; None where that is not known, and has to be.

        Raises:
            AccessError: the accounts can't be read.
        """
        accounts = self.accounts
        if accounts is None:
            return RequestContext()
        if (secret := bearer(request)) is not None:
            account = accounts.token(secret)
            return RequestContext(account.name, account.role) if account else None
        secret = request.cookies.get(self.cookie(request), "")
        session = accounts.session(secret) if secret else None
        if session is None:
            return None
        return RequestContext(session.account.name, session.account.role, csrf_of(secret))

    def cookie(self, request: Request) -> str:
        """Return the name of the cookie of a session."""
        return "__Host-foveola" if self.is_secure(request) else "foveola"

    def is_secure(self, request: Request) -> bool:
        """Return whether the browser speaks TLS, to us or to the proxy."""
        said = request.headers.get("x-forwarded-proto", "")
        return (said if self._by_proxy(request) and said else request.url.scheme) == "https"

    def address(self, request: Request) -> str:
        """Return where a request comes from: as the proxy saw it, or the connection's other end."""
        last = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
        own = request.client.host if request.client else ""
        return address_key(last if self._by_proxy(request) and last else own)

    def _by_proxy(self, request: Request) -> bool:
        return self.settings.behind_proxy and is_loopback(request.client.host if request.client else "")

    def log_in(self, request: Request, name: str, password: str) -> tuple[Session | None, float]:
        """Begin a session.

        Returns:
            The session, None where name or password are wrong; and the seconds to wait where
            too many attempts failed, in which case the password was not looked at.

        Raises:
            AccessError: the accounts can't be read, or the log not written.
        """
        accounts, name, address = self.accounts, name.strip().lower()[:64], self.address(request)
        if accounts is None:
            return None, 0.0
        if wait := max(self._addresses.attempt(address), self._names.attempt(name)):
            return None, wait
        if not self._hashing.acquire(timeout=HASHING_SECONDS):
            return None, HASHING_SECONDS
        try:
            session = accounts.log_in(name, password)
        finally:
            self._hashing.release()
        if session is not None:
            self._addresses.forgive(address)
            self._names.forgive(name, all_=True)
            self.log.append(name, "log in")
        else:  # a name that is none may be a password; it takes as long all the same
            known = any(account.name == name for account in accounts.everyone())
            self.log.append(name if known else "", "log in refused")
        return session, 0.0

    def log_out(self, request: Request, account: str) -> None:
        """End the session of a request."""
        if self.accounts is not None:
            self.accounts.log_out(request.cookies.get(self.cookie(request), ""))
            self.log.append(account, "log out")

    def record(self, context: RequestContext, action: str, *, part: bool) -> None:
        """Write that an account sees cases, unless a line of its page says so already.

        Raises:
            AccessError: the log can't be written.
        """
        levels = context.shown
        if part and self._all_covered(context.account, levels):
            return
        self.log.append(context.account, action, tuple(context.shown))
        now = self._clock()
        with self._lock:
            for id_, level in levels.items():
                before, when = self._covered.pop((context.account, id_), (0, 0.0))
                keep = before > level and now - when < COVERED
                self._covered[context.account, id_] = (before, when) if keep else (level, now)
            while len(self._covered) > MOST_COVERED:
                self._covered.popitem(last=False)

    def _all_covered(self, account: str, levels: dict[int, int]) -> bool:
        since = self._clock() - COVERED
        with self._lock:
            found = [(self._covered.get((account, id_), (-1, 0.0)), levels[id_]) for id_ in levels]
        return all(covered >= level and when >= since for (covered, when), level in found)


def bearer(request: Request) -> str | None:
    """Return the token of a program; None where the request brings none."""
    kind, _, secret = request.headers.get("authorization", "").partition(" ")
    return secret.strip() if kind.lower() == "bearer" else None

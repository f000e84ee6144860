"""uvicorn's HTTP protocol, which waits for a request's head for ever and for an answer's tail.

It also takes as many connections from one address as come.
"""

import asyncio
import socket
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from foveola.server.limits import Shares, address_key, is_loopback

SECONDS = 10.0  # in which the head of a request must have come, or what it sends after its answer
HEAD_BYTES = 16_384  # that it may have
FULL = b"HTTP/1.1 503 \r\nRetry-After: 5\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class TimedProtocol(H11Protocol):
    """Closes a connection that keeps it waiting, and sends answers at once.

    It waits for the head of a request, and, once that is answered, for the end of its body.

    Args:
        shares: of connections, by address; None counts none.
        behind_proxy: those of this computer are a proxy's, and not counted: the doors count the
            requests of each address that it names.
        arguments, named: of uvicorn's.
    """

    _timer: asyncio.TimerHandle | None = None
    _key: str | None = None

    def __init__(self, *arguments: Any, shares: Shares | None = None, behind_proxy: bool = False, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._shares, self._behind_proxy = shares, behind_proxy

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        # asyncio does so itself for sockets made with their protocol's number, which uvicorn's
        # are not: the body of each answer waited 40 ms for the other side to confirm its head.
        made = transport.get_extra_info("socket")
        if made is not None and made.family in (socket.AF_INET, socket.AF_INET6):
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._is_one_too_many():
            transport.write(FULL)
            transport.close()
            return
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Go on waiting, or stop."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop()
        if self._shares is not None and self._key is not None:
            self._shares.give(self._key)
            self._key = None
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Wait for the rest of what was answered, which nobody reads any more."""
        super().on_response_complete()
        self._watch()

    def _is_one_too_many(self) -> bool:
        host = self.client[0] if self.client else ""
        if self._shares is None or (self._behind_proxy and is_loopback(host)):
            return False
        key = address_key(host)
        if not self._shares.take(key):
            return True
        self._key = key
        return False

    def _keeps_waiting(self) -> bool:
        theirs = self.conn.their_state
        rest = theirs is h11.SEND_BODY and self.conn.our_state is h11.DONE
        return theirs is h11.IDLE or rest

    def _watch(self) -> None:
        if not self._keeps_waiting():
            self._stop()
        elif self._timer is None:
            self._timer = self.loop.call_later(SECONDS, self._give_up)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        if self._keeps_waiting() and not self.transport.is_closing():
            self.transport.close()

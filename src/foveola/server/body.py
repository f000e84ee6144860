"""The body of a request: read in good time, and looked into before it is passed on."""

import time
from collections import deque
from urllib.parse import parse_qs

import anyio
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message, Receive

from foveola.server.auth.context import FIELD
from foveola.server.limits import Shares
from foveola.server.web.texts import texts

LOOKED_AT = 1 << 16  # bytes from the beginning in which the token of a form must be


class BufferedBody:
    """Stands for the `receive` of a request.

    Args:
        request: whose body.
        receive: of the server.
        seconds: by which it must be there.
    """

    def __init__(self, request: Request, receive: Receive, seconds: float) -> None:
        self._type = request.headers.get("content-type", "")
        self._receive, self._end = receive, time.monotonic() + seconds
        self._kept: deque[Message] = deque()
        self._more = True
        self._shares: Shares | None = None
        self._key, self._taken = "", 0

    def charge(self, shares: Shares, key: str) -> None:
        """Count what comes from here on among the bytes of all bodies, as this account's."""
        self._shares, self._key = shares, key

    def release(self) -> None:
        """Nothing of it is in memory any more."""
        if self._shares is not None and self._taken:
            self._shares.give(self._key, self._taken)
            self._taken = 0

    async def __call__(self) -> Message:
        """The next message: what was looked at already, then what comes.

        Raises:
            HTTPException: 408, it took too long; 503, too much is in memory already.
        """
        return self._kept.popleft() if self._kept else await self._next()

    async def token(self) -> str:
        """The form's CSRF token, from the beginning of the body; empty where there is none."""
        data = b""
        while self._more and len(data) < LOOKED_AT:
            data += await self._keep()
            if found := _token(self._type, data, whole=not self._more):
                return found
        return ""

    async def whole(self) -> None:
        """Wait until all of it is there."""
        while self._more:
            await self._keep()

    async def _keep(self) -> bytes:
        message = await self._next()
        self._kept.append(message)
        data: bytes = message.get("body", b"")
        return data

    async def _next(self) -> Message:
        if not self._more:  # who asks now waits for the end of the connection
            return await self._receive()
        with anyio.move_on_after(max(0.0, self._end - time.monotonic())):
            message = await self._receive()
            self._more = message["type"] == "http.request" and bool(message.get("more_body"))
            self._take(len(message.get("body", b"")))
            return message
        raise HTTPException(408, "the request took too long to arrive; send it again")

    def _take(self, count: int) -> None:
        if self._shares is None or not count:
            return
        if not self._shares.take(self._key, count):
            self._kept.clear()
            raise HTTPException(503, texts()("doors.full"), {"Retry-After": "5"})
        self._taken += count


def _token(kind: str, data: bytes, *, whole: bool) -> str:
    name, options = parse_options_header(kind)
    if name == b"multipart/form-data" and (boundary := options.get(b"boundary")):
        return _Parts(boundary).look(data)
    if name == b"application/x-www-form-urlencoded" and whole:
        try:
            return parse_qs(data.decode("ascii"), max_num_fields=1000).get(FIELD, [""])[0]
        except ValueError:
            return ""
    return ""


class _Parts:
    """The parts of a form, as far as they have come."""

    def __init__(self, boundary: bytes) -> None:
        self._header = self._value = self._data = b""
        self._named, self._found = False, ""
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._field,
                "on_header_value": self._text,
                "on_header_end": self._line,
                "on_part_data": self._more,
                "on_part_end": self._end,
            },
        )

    def look(self, data: bytes) -> str:
        try:
            self._parser.write(data)
        except ValueError:  # no form
            return ""
        return self._found

    def _begin(self) -> None:
        self._header = self._value = self._data = b""
        self._named = False

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _text(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _line(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(self._value)
            self._named = options.get(b"name") == FIELD.encode() and b"filename" not in options
        self._header = self._value = b""

    def _more(self, data: bytes, start: int, end: int) -> None:
        if self._named:
            self._data += data[start:end]

    def _end(self) -> None:
        if self._named:
            self._found = self._data.decode("latin-1")

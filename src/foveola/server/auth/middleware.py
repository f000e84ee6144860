"""What every request passes before any of its body is believed.

Host name, origin, who asks, how often, whether they may, and the token of the form; then the
audit log, before the first byte of the answer leaves.
"""

import math
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from hmac import compare_digest
from urllib.parse import parse_qs, quote

import anyio
import anyio.to_thread
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from foveola.errors import AccessError
from foveola.server.auth import allowed
from foveola.server.auth.context import FIELD, HEADER, RequestContext, set_context
from foveola.server.auth.policies import Plan, RoutePolicy
from foveola.server.auth.service import AuthService, bearer
from foveola.server.limits import EVERYBODY, Buckets, Shares, host_name
from foveola.server.texts import texts

SAFE = ("GET", "HEAD", "OPTIONS")
QUEUE, QUEUE_SECONDS = 64, 20.0  # searches that may wait for others, and how long
LOG_IN_BYTES = 8_000  # that may be sent by who is not known yet
LOOKED_AT = 1 << 16  # bytes from the beginning in which the token of a form must be
CLOSE = {"Connection": "close"}  # of an answer to what is still being sent
Answer = Callable[[Request, int, str], Response]


class AuthMiddleware:
    """Middleware around the whole service.

    Args:
        app: what lies behind.
        auth: knows who asks.
        plan: of the routes.
        answer: makes a refusal of a request, a status and a sentence.
        upload_mb: largest photograph that may be sent, in megabytes.
    """

    def __init__(self, app: ASGIApp, auth: AuthService, plan: Plan, answer: Answer, upload_mb: int) -> None:
        self._app, self._auth, self._plan, self._answer = app, auth, plan, answer
        settings, self._upload_mb = auth.settings, upload_mb
        self._buckets = Buckets(settings.rate, settings.burst)
        most = max(settings.body_bytes, 4_000_000 * upload_mb)
        self._bodies = Shares(most, most // 2)
        self._inside = Shares(EVERYBODY, settings.connections)
        self._slots = anyio.Semaphore(settings.searches)
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            raise HTTPException(403)  # there is no other kind of route
        request = Request(scope)
        set_context(RequestContext(role="viewer"))
        body = BufferedBody(request, receive, self._auth.settings.body_seconds)
        address = self._auth.address(request)
        known = self._inside.take(address)
        try:
            if not known:  # behind a proxy its connections can't be told apart, but these can
                raise HTTPException(503, texts()("doors.full"), {"Retry-After": "5"})
            await self._enter(request, body, send)
        except HTTPException as error:
            refusal = self._answer(request, error.status_code, error.detail)
            refusal.headers.update(error.headers or {})
            await refusal(scope, body, send)
        except AccessError as error:
            await self._answer(request, 503, str(error))(scope, body, send)
        finally:
            body.release()
            if known:
                self._inside.give(address)

    async def _enter(self, request: Request, body: "BufferedBody", send: Send) -> None:
        auth = self._auth
        self._check_host(request)
        self._check_origin(request)
        policy = self._plan.find(request.method, request.scope["path"]) or RoutePolicy()
        self._check_size(request, policy)
        context = await anyio.to_thread.run_sync(auth.context, request)
        closed = auth.accounts is not None
        who = context.account if context and context.account else auth.address(request)
        if closed:
            self._check_rate(who)
        body.charge(self._bodies, who)
        if context is None:
            if policy.role is not None:
                await self._unknown(request)(request.scope, body, send)
                return
            context = RequestContext(role="viewer")
        set_context(context)
        if closed and policy.role is not None:
            if not allowed(context.role, policy.role):
                raise HTTPException(403, texts()("doors.may_not", role=policy.role))
            await self._check_form(request, context, body)
        logged = closed and policy.action
        behind = self._logged(request, context, policy, send) if logged else send
        await self._pass(request.scope, body, behind, policy)

    def _check_host(self, request: Request) -> None:
        """A page elsewhere whose name was pointed at this address must not speak to us."""
        names = self._auth.settings.host_names
        if names is not None and host_name(request.headers.get("host", "")) not in names:
            raise HTTPException(421, texts()("doors.host"))

    def _check_origin(self, request: Request) -> None:
        """Nothing is changed on behalf of another site's page; a program says no origin."""
        if request.method in SAFE:
            return
        site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
        host = request.headers.get("host", "").lower()
        if site is not None:  # the browser's own word; sent over TLS and to this computer
            foreign = site not in ("same-origin", "none")
        else:
            foreign = origin is not None and origin.lower().partition("://")[2] != host
        if foreign:
            raise HTTPException(403, texts()("doors.origin"))

    def _check_size(self, request: Request, policy: RoutePolicy) -> None:
        """What has a body says how long it is, before any of it is read."""
        said = request.headers.get("content-length")
        endless = "transfer-encoding" in request.headers
        if request.method in (*SAFE, "DELETE"):
            if endless or said not in (None, "0"):
                raise HTTPException(400, texts()("error.no_body", method=request.method), CLOSE)
            return
        if endless or said is None or not said.isdecimal():
            raise HTTPException(411, texts()("error.no_length"), CLOSE)
        if policy.role is None and int(said) > LOG_IN_BYTES:
            raise HTTPException(413, texts()("error.long_form"))
        if int(said) > self._upload_mb * 1_000_000 + 10_000:
            raise HTTPException(413, texts()("error.too_large", limit=self._upload_mb))

    def _check_rate(self, key: str) -> None:
        if wait := self._buckets.take(key):
            headers = {"Retry-After": str(math.ceil(wait))}
            raise HTTPException(429, texts()("doors.often"), headers)

    async def _check_form(self, request: Request, context: RequestContext, body: "BufferedBody") -> None:
        if request.method in SAFE or bearer(request) is not None:
            return
        brought = request.headers.get(HEADER) or await body.token()
        if not context.csrf or not same(brought, context.csrf):
            raise HTTPException(403, texts()("doors.form"))

    def _unknown(self, request: Request) -> Response:
        """A browser is shown where to log in; a program, or a part of a page, is told."""
        asks_page = "text/html" in request.headers.get("accept", "")
        if request.method in SAFE and asks_page and "hx-request" not in request.headers:
            asked = request.scope["path"] + ("?" + request.url.query if request.url.query else "")
            where = "" if asked == "/" else "?next=" + quote(asked, safe="/")
            return RedirectResponse("/login" + where, 303)
        refusal = self._answer(request, 401, texts()("doors.unknown"))
        refusal.headers["WWW-Authenticate"] = "Bearer"
        if "hx-request" in request.headers:
            refusal.headers["HX-Redirect"] = "/login"
        return refusal

    async def _pass(self, scope: Scope, body: "BufferedBody", send: Send, policy: RoutePolicy) -> None:
        if not policy.heavy:
            await self._app(scope, body, send)
            return
        await body.whole()  # who sends slowly keeps nobody from searching
        release = await self._slot()

        async def behind(message: Message) -> None:
            release()  # made, and only to be sent
            await send(message)

        try:
            await self._app(scope, body, behind)
        finally:
            release()

    async def _slot(self) -> Callable[[], None]:
        if self._waiting >= QUEUE:
            raise HTTPException(503, texts()("doors.busy"), {"Retry-After": "2"})
        self._waiting += 1
        try:
            with anyio.fail_after(QUEUE_SECONDS):
                await self._slots.acquire()
        except TimeoutError:
            raise HTTPException(503, texts()("doors.busy"), {"Retry-After": "2"}) from None
        finally:
            self._waiting -= 1
        held = [True]

        def release() -> None:
            if held:
                held.clear()
                self._slots.release()

        return release

    def _logged(self, request: Request, context: RequestContext, policy: RoutePolicy, send: Send) -> Send:
        """Send nothing of a case before the log says who sees it; and nothing if it can't."""
        refused = False

        async def behind(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] < 400:
                try:
                    await anyio.to_thread.run_sync(partial(self._auth.record, context, policy.action, part=policy.part))
                except AccessError as error:
                    refused = True
                    await self._answer(request, 503, str(error))(request.scope, _nothing, send)
            if not refused:
                await send(message)

        return behind


def same(one: str, other: str) -> bool:
    """Compare two secrets in a time that tells nothing."""
    return compare_digest(one.encode(), other.encode())


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


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
        """Give its share back: nothing of it is in memory any more."""
        if self._shares is not None and self._taken:
            self._shares.give(self._key, self._taken)
            self._taken = 0

    async def __call__(self) -> Message:
        """Return the next message: what was looked at already, then what comes.

        Raises:
            HTTPException: 408, it took too long; 503, too much is in memory already.
        """
        return self._kept.popleft() if self._kept else await self._next()

    async def token(self) -> str:
        """Read the form's CSRF token from the beginning of the body; empty where there is none."""
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

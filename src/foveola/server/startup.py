"""A service that says it lives while it is still being made, and the headers of its every answer.

Nothing slow is imported here: what makes a service imports FastAPI, numpy and OpenVINO, which is
nearly all of its start.
"""

import asyncio
import json
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from foveola.server.limits import host_name

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.types import Receive, Scope, Send

HEADERS = {
    # Nothing from elsewhere, no script or style within a page, no frame around it.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",  # with none, a form of ours would come from "null"
    "X-Content-Type-Options": "nosniff",
}
ONLY_TLS = "max-age=31536000"  # a browser that came by TLS comes by nothing else for a year
PRIVATE = "no-store"  # patients' photographs stay in no browser's cache

ALIVE = {"status": "ok"}
HEALTH = "/api/v1/health"
NEVER = {"detail": "the service can't be started"}


class StartupApp:
    """Application that has another made, and is that one from then on.

    Until then it answers `GET /api/v1/health` as the other will, and lets every other request wait.

    Args:
        make: makes the application, in a thread.
        told: called in the event loop when that is done: with None, or with why it can't be;
            not called where all ends before.
        names: by which the service may be called; None takes any. Who calls it otherwise waits,
            and is refused by the application.
    """

    def __init__(
        self,
        make: "Callable[[], Starlette]",
        told: Callable[[Exception | None], None],
        names: Collection[str] | None = None,
    ) -> None:
        self._make, self._told, self._names = make, told, names
        self._app: Starlette | None = None
        self._done, self._ends = asyncio.Event(), False
        self._open = AsyncExitStack()

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer a request, now or later."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if not self._done.is_set():
            if self._asks_health(scope):
                await _say(send, 200, ALIVE)
                return
            await self._done.wait()
        if self._app is None:
            await _say(send, 503, NEVER)
            return
        await self._app(scope, receive, send)

    async def _live(self, receive: "Receive", send: "Send") -> None:
        await receive()
        making = asyncio.create_task(self._begin())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._ends = True
        await making
        await self._open.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _begin(self) -> None:
        fault = None
        try:
            app = await asyncio.to_thread(self._make)
            await self._open.enter_async_context(app.router.lifespan_context(app))
            self._app = app
        except Exception as error:  # whatever it is, it is told, and the process ends with it
            fault = error
        self._done.set()
        if not self._ends:
            self._told(fault)

    def _asks_health(self, scope: "Scope") -> bool:
        if scope["type"] != "http" or (scope["method"], scope["path"]) != ("GET", HEALTH):
            return False
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        return self._names is None or host_name(host) in self._names


async def _say(send: "Send", status: int, what: dict[str, str]) -> None:
    body = json.dumps(what, separators=(",", ":")).encode()
    own = {"Content-Length": str(len(body)), "Content-Type": "application/json"}
    headers = [
        (name.lower().encode(), value.encode()) for name, value in (own | HEADERS | {"Cache-Control": PRIVATE}).items()
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

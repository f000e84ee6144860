"""What every answer carries."""

from collections.abc import Awaitable, Callable

from fastapi import Request, Response

from foveola.server.headers import HEADERS, ONLY_TLS, PRIVATE

Next = Callable[[Request], Awaitable[Response]]


def with_headers(request: Request, response: Response) -> Response:
    """Put HEADERS on an answer; what is no asset is not to be stored."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.app.state.auth.is_secure(request):
        response.headers.setdefault("Strict-Transport-Security", ONLY_TLS)
    if not request.url.path.startswith("/static/"):
        response.headers.setdefault("Cache-Control", PRIVATE)
    return response

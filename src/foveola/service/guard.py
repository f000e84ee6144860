"""What every answer carries, and what no request may do."""

from collections.abc import Awaitable, Callable

from fastapi import Request, Response

from foveola.service.headers import HEADERS, PRIVATE

Next = Callable[[Request], Awaitable[Response]]


def with_headers(request: Request, response: Response) -> Response:
    """Put HEADERS on an answer; what is no asset is not to be stored."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if not request.url.path.startswith("/static/"):
        response.headers.setdefault("Cache-Control", PRIVATE)
    return response


def too_large(request: Request, limit: int) -> bool:
    """Whether a request says that it brings more than `limit` bytes, or does not say how many."""
    if request.method not in ("POST", "PUT", "PATCH"):
        return False
    try:
        return int(request.headers.get("content-length", "")) > limit
    except ValueError:
        return True

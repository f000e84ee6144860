"""What every answer carries, and what no request may do."""

from collections.abc import Awaitable, Callable

from fastapi import Request, Response

Next = Callable[[Request], Awaitable[Response]]

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
PRIVATE = "no-store"  # patients' photographs stay in no browser's cache


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

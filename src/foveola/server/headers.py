"""What every answer carries, and how a request names the computer it means."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import Request, Response

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


def host_name(header: str) -> str:
    """Return the name in a Host header, without its port and in small letters.

    >>> host_name("Foveola.example:8321"), host_name("[::1]")
    ('foveola.example', '::1')
    """
    name = header if header.endswith("]") else header.rpartition(":")[0] or header
    return name.strip("[]").lower()


def with_headers(request: "Request", response: "Response") -> "Response":
    """Put HEADERS on an answer; what is no asset is not to be stored."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.app.state.auth.is_secure(request):
        response.headers.setdefault("Strict-Transport-Security", ONLY_TLS)
    if not request.url.path.startswith("/static/"):
        response.headers.setdefault("Cache-Control", PRIVATE)
    return response

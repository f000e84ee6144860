"""What every answer carries, and how a request names the computer it means."""

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
    """The name in a Host header, without its port and in small letters."""
    name = header if header.endswith("]") else header.rpartition(":")[0] or header
    return name.strip("[]").lower()

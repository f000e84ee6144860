"""Foveola over a network: a page for clinicians and an interface for programs, on one archive."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foveola.server.app import create_app
    from foveola.server.auth.service import Settings

__all__ = ["Settings", "create_app"]


def __getattr__(name: str) -> Any:
    """Import FastAPI when a service is made; what listens meanwhile is in this package, too."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from foveola.server.app import create_app
    from foveola.server.auth.service import Settings

    return {"Settings": Settings, "create_app": create_app}[name]

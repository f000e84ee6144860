"""Foveola over a network: a page for clinicians and an interface for programs, on one archive."""

from foveola.service.app import create_app
from foveola.service.keeper import Settings

__all__ = ["Settings", "create_app"]

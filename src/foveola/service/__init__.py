"""Foveola over a network: a page for clinicians and an interface for programs, on one archive."""

from foveola.service.app import create_app

__all__ = ["create_app"]

"""The command line: read arguments, call, print. Nothing is computed here."""

from foveola.cli.main import main

__all__ = ["main"]

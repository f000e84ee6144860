"""The command line: read arguments, call, print. Nothing is computed here."""

from foveola.cli.commands import main

__all__ = ["main"]

"""What the service writes to its log: nothing that could be a name.

A fault's text may quote a file, a warning of a library what stands in one. So of a fault the log
has its kind and its place in the program, and of a library only that it said something.
"""

import logging
import traceback
from typing import Any

from foveola.plain import plain

OURS = ("foveola", "uvicorn")  # whose messages are fixed sentences


class Nameless(logging.Formatter):
    """A line without what was said of a file, and without signs that steer a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and below it where a fault arose."""
        ours = record.name.partition(".")[0] in OURS
        said = record.getMessage().strip() if ours else f"something in {record.module}"
        line = plain(f"{record.levelname}: {record.name}: {said}")
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line

    def formatException(self, ei: Any) -> str:  # noqa: N802 - as logging calls it
        """Kind and place."""
        kind, _, trace = ei
        return "".join(traceback.format_tb(trace)) + (kind.__name__ if kind else "")


LOGS: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"nameless": {"()": Nameless}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "nameless"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
}

"""What of an error leaves the process: its status over HTTP, its sentence, its line in the log.

Nothing of it could be a name. A fault's text may quote a file, a warning of a library what stands
in one. So of a fault the log has its kind and its place in the program, and of a library only that
it said something.
"""

import logging
import re
import traceback
from pathlib import Path
from typing import Any

from foveola.errors import (
    AccessError,
    ArchiveError,
    BusyError,
    EncoderError,
    FoveolaError,
    JobError,
    KnownCaseError,
    MatchingError,
    NoCaseError,
)
from foveola.plain import plain

SECONDS = 5  # after which whoever was refused for the moment may ask again


class NoJobError(JobError):
    """There is no such job, or not any more."""


class QueueFullError(JobError):
    """Too many jobs wait."""


class EndedError(JobError):
    """A job has ended and can't be cancelled."""


_NAMED = re.compile(r"[^:;,'\"()\n]*\.(?:jpe?g|jfif|jpe|png|tiff?|webp|bmp|dcm|csv|tsv|txt|xlsx|parquet)\b", re.I)
_PATH = re.compile(r"/(?:[^\s:;,'\"()/]+/)+[^\s:;,'\"()]*")
# The first kind that fits; a sentence of another kind is about what was sent: 422.
_STATUS: tuple[tuple[type[FoveolaError], int], ...] = (
    (NoCaseError, 404),
    (NoJobError, 404),
    (KnownCaseError, 409),
    (EndedError, 409),
    (MatchingError, 403),
    (QueueFullError, 429),
    (BusyError, 503),
    (ArchiveError, 409),
    (EncoderError, 503),
    (AccessError, 503),
)


def status_of(error: Exception) -> int:
    """Return the status of an error that a user can cause.

    >>> status_of(QueueFullError("wait")), status_of(FoveolaError("no photograph"))
    (429, 422)
    """
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 422)


def headers_of(status: int) -> dict[str, str]:
    """Return headers that tell a program when to ask again."""
    return {"Retry-After": str(SECONDS)} if status in (429, 503) else {}


def nameless(sentence: str, folder: Path) -> str:
    """Return a sentence without names of files and folders, which may be patients'.

    Args:
        sentence: of an error, for whoever asked.
        folder: of the archive, absolute; it is called ARCHIVE. Of a relative one the name could be
            any word of the sentence.
    """
    own = rf"(?<![^\s'\"(=:]){re.escape(str(folder))}(?:/(?=[^\s/])|(?=[\s:;,'\")]|/|\.?$))"
    sentence = re.sub(own, lambda found: "" if found[0].endswith("/") else "ARCHIVE", sentence)
    return _NAMED.sub(" a file", _PATH.sub("a file", sentence)).strip()


OURS = ("foveola", "uvicorn")  # whose messages are fixed sentences


class Nameless(logging.Formatter):
    """A line without what was said of a file, and without signs that steer a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and below it where a fault arose."""
        ours = record.name.partition(".")[0] in OURS
        said = record.getMessage().strip() if ours else f"something in {record.module}"
        line = plain(f"{record.levelname}: {record.name}: {said}")
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line

    def formatException(self, ei: Any) -> str:  # noqa: N802 - as logging calls it
        """Return kind and place of a fault."""
        kind, _, trace = ei
        return "".join(traceback.format_tb(trace)) + (kind.__name__ if kind else "")


LOGS: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"nameless": {"()": Nameless}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "nameless"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
}

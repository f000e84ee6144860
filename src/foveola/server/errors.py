"""Which status an error has over HTTP, and what of its sentence leaves the process."""

import re
from pathlib import Path

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
    """Of an error that a user can cause."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 422)


def headers_of(status: int) -> dict[str, str]:
    """That tell a program when to ask again."""
    return {"Retry-After": str(SECONDS)} if status in (429, 503) else {}


def nameless(sentence: str, folder: Path) -> str:
    """A sentence without names of files and folders, which may be patients'.

    Args:
        sentence: of an error, for whoever asked.
        folder: of the archive, absolute; it is called ARCHIVE. Of a relative one the name could be
            any word of the sentence.
    """
    own = rf"(?<![^\s'\"(=:]){re.escape(str(folder))}(?:/(?=[^\s/])|(?=[\s:;,'\")]|/|\.?$))"
    sentence = re.sub(own, lambda found: "" if found[0].endswith("/") else "ARCHIVE", sentence)
    return _NAMED.sub(" a file", _PATH.sub("a file", sentence)).strip()

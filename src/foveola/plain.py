"""Texts for a terminal and a log, in which a name can do nothing but be read.

The name of a file may hold whatever a file system takes: a line end that begins a line of its own,
an escape that moves the cursor or changes a colour, a sign that turns the direction of writing.
"""

import csv
import io
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

_STEER = ("Cc", "Cf", "Cs", "Zl", "Zp")  # Unicode's categories: controls, formats, half pairs, ends
_OURS = re.compile("(\x1b\\[[01]m|[\n\t])")  # bold and no longer, as click writes it; our lines
FORMULA = "=+-@\N{MINUS SIGN}"  # what begins a formula, once full-width signs are made plain


def plain(text: str) -> str:
    r"""Return the text on one line: a sign that would steer where it is shown is spelt out.

    >>> print(plain("left\neye.png"))
    left\u000aeye.png
    """
    return text if text.isprintable() else "".join(map(_spelt, text))


def plain_lines(text: str) -> str:
    """Return the same for a text of ours with lines and columns in it."""
    return "".join(part if _OURS.fullmatch(part) else plain(part) for part in _OURS.split(text))


def _spelt(sign: str) -> str:
    if unicodedata.category(sign) not in _STEER:
        return sign
    return f"\\u{ord(sign):04x}" if ord(sign) < 1 << 16 else f"\\U{ord(sign):08x}"


class PlainStream:
    """A stream that writes plain lines only.

    Args:
        stream: of text, to which everything else is left.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write it, plain."""
        with self._named():
            self._stream.write(plain_lines(text))
        return len(text)

    def flush(self) -> None:
        """Bring it to where it is read."""
        with self._named():
            self._stream.flush()

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Say of what the system refuses which stream it was."""
        try:
            yield
        except OSError as error:
            error.filename = str(getattr(self._stream, "name", "output")).strip("<>")
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def to_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return rows as CSV with a header; None and NaN are empty cells."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(columns)
    table.writerows([cell(value) for value in row] for row in rows)
    return out.getvalue()


def cell(value: object) -> object:
    """Return a cell that no spreadsheet takes for a formula: a text that begins as one is quoted.

    >>> cell("=1+1"), cell(2.5), cell(None)
    ("'=1+1", 2.5, '')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if not isinstance(value, str):
        return value
    # csv quotes no lone carriage return, which ends a row
    text = value.replace("\r\n", "\n").replace("\r", "\n")
    return f"'{text}" if _calculates(text) else text


def _calculates(text: str) -> bool:
    """Also behind blanks, which spreadsheets pass over, and in full width."""
    first = unicodedata.normalize("NFKC", text.lstrip())[:1]
    return text.startswith(("\t", "\n")) or (bool(first) and first in FORMULA)

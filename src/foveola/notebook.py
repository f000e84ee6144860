"""What results give to whoever works in Python: a table, a DataFrame, and HTML for a notebook.

Texts are escaped and pictures lie in the page itself, so a notebook that is passed on needs no
file of the archive and runs nothing that a label or a name says.
"""

import math
from abc import abstractmethod
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

from foveola.errors import MissingExtraError
from foveola.plain import plain_lines

if TYPE_CHECKING:
    import pandas as pd


Rows = list[list[str]]
T = TypeVar("T")

PICTURED = 20  # hits whose pictures are shown in a notebook


class Picture(NamedTuple):
    """A cell with a picture: the bytes of a JPEG, or None where there is none to show."""

    jpeg: bytes | None


class HitList(Sequence[T]):
    """A result that is a sequence of its hits, prints as a table and shows pictures in a notebook.

    Attributes:
        hits: best first.
    """

    hits: tuple[T, ...]

    def __len__(self) -> int:
        return len(self.hits)

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[T, ...]: ...
    def __getitem__(self, place: int | slice) -> T | tuple[T, ...]:
        return self.hits[place]

    def __iter__(self) -> Iterator[T]:
        return iter(self.hits)

    @property
    @abstractmethod
    def sentences(self) -> list[str]:
        """Say what a user must know of the answer."""

    @abstractmethod
    def _rows(self) -> Rows:
        """A header row, and one for each hit."""

    def _pictures(self, hit: T) -> list[Picture]:  # noqa: ARG002 - of what has none
        return []

    def __repr__(self) -> str:
        return plain_lines("\n".join([aligned(self._rows()), "", *self.sentences]))

    def _repr_html_(self) -> str:
        head, *rows = self._rows()
        table: list[list[object]] = [[*head]]
        for at, (row, hit) in enumerate(zip(rows, self.hits, strict=True)):
            table.append([*row, *(self._pictures(hit) if at < PICTURED else ())])
        return html_lines(self.sentences) + html_table(table)


def to_frame(rows: Iterable[Mapping[str, object]], columns: Sequence[str], index: str | None = None) -> "pd.DataFrame":
    """Return rows as a DataFrame.

    Args:
        rows: values by column.
        columns: their order; kept where there is no row.
        index: the column that names the rows; None numbers them.

    Raises:
        MissingExtraError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ModuleNotFoundError as error:
        raise MissingExtraError("to_frame needs pandas, which is not installed. Run: pip install pandas") from error
    frame = pd.DataFrame(list(rows), columns=list(columns))
    return frame if index is None else frame.set_index(index)


def aligned(rows: Rows) -> str:
    """Return a table for a terminal: the first column to the left, numbers to the right.

    >>> print(aligned([["metric", "macro"], ["mAP@10", "0.61"]]))
    metric  macro
    mAP@10   0.61
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def number(value: float | None, *, sign: bool = False) -> str:
    """Return a number with three decimals, "-" for what is unknown.

    >>> number(0.61234), number(0.05, sign=True), number(None)
    ('0.612', '+0.050', '-')
    """
    if value is None or math.isnan(value):
        return "-"
    return f"{value:+.3f}" if sign else f"{value:.3f}"


def ranged(ends: tuple[float, float], *, sign: bool = False) -> str:
    """Return an interval as text, "-" where there is none.

    >>> ranged((0.55, 0.66))
    '0.550 to 0.660'
    """
    low, high = (number(end, sign=sign) for end in ends)
    return "-" if math.isnan(ends[0]) else f"{low} to {high}"


def piped(rows: Rows) -> str:
    """Return a table in Markdown.

    >>> print(piped([["metric", "macro"], ["mAP@10", "0.61"]]))
    | metric | macro |
    | --- | ---: |
    | mAP@10 | 0.61 |
    """
    cells = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    rule = ["---"] + ["---:"] * (len(rows[0]) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [cells[0], rule, *cells[1:]])


def html_table(rows: Iterable[Sequence[object]]) -> str:
    """Return an HTML table of a header row and further rows; text is escaped."""
    head, *others = [list(map(_cell, row)) for row in rows]
    lines = [_row(head, "th"), *(_row(row, "td") for row in others)]
    return f"<table>{''.join(lines)}</table>"


def html_lines(lines: Iterable[str]) -> str:
    """Return each text as a paragraph, escaped."""
    return "".join(f"<p>{escape(line)}</p>" for line in lines)


def _row(cells: Iterable[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{cell}</{tag}>' for cell in cells)}</tr>"


def _cell(value: Any) -> str:
    if not isinstance(value, Picture):
        return escape(str(value))
    if value.jpeg is None:
        return "no picture"
    return f'<img alt="" src="data:image/jpeg;base64,{b64encode(value.jpeg).decode()}">'

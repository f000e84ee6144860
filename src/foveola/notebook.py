"""What results give to whoever works in Python: a DataFrame, and HTML for a notebook.

Texts are escaped and pictures lie in the page itself, so a notebook that is passed on needs no
file of the archive and runs nothing that a label or a name says.
"""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from foveola.errors import MissingExtraError

if TYPE_CHECKING:
    import pandas as pd


class Picture(NamedTuple):
    """A cell with a picture: the bytes of a JPEG, or None where there is none to show."""

    jpeg: bytes | None


def to_frame(
    rows: Iterable[Mapping[str, object]], columns: Sequence[str], index: str | None = None
) -> "pd.DataFrame":
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
        raise MissingExtraError(
            "to_frame needs pandas, which is not installed. Run: pip install pandas"
        ) from error
    frame = pd.DataFrame(list(rows), columns=list(columns))
    return frame if index is None else frame.set_index(index)


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

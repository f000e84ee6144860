"""From a file or a DataFrame to columns of text cells; nothing is guessed about types here.

Reading everything as text first is what keeps subject "007" from becoming 7 and
10003 from becoming 10003.0 where a neighbour is empty.
"""

import csv
import io
import os
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from foveola.errors import ManifestError, MissingExtraError
from foveola.records import identifier

if TYPE_CHECKING:
    import pandas as pd

DELIMITERS = {".csv": ",", ".tsv": "\t"}
PARQUET = ".parquet"
_EXACT = 1e15  # below which a float is the whole number that it was made of


@dataclass(frozen=True)
class TextTable:
    """Columns of N text cells.

    Attributes:
        columns: name to N cells, stripped; "" is an empty cell.
        rows: N row numbers as a spreadsheet shows them (the header is row 1).
        texts: columns that their source declares to be text, whatever their cells look like.
    """

    columns: dict[str, list[str]]
    rows: list[int]
    texts: frozenset[str] = frozenset()


def read_table(path: Path) -> TextTable:
    """Read a .csv, .tsv or .parquet file.

    Raises:
        ManifestError: the file is missing, of another kind, not UTF-8, or has ragged rows.
        MissingExtraError: it is Parquet and pyarrow is not installed.
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        raise ManifestError(f"{path} is a folder; expected a table, such as {path / 'labels.csv'}")
    if suffix == PARQUET:
        return _read_parquet(path)
    if suffix not in DELIMITERS:
        raise ManifestError(f"{path}: expected a table that ends in .csv, .tsv or .parquet")
    return _parse(_read_text(path), DELIMITERS[suffix], path)


def table_of_frame(frame: "pd.DataFrame", where: Path | str) -> TextTable:
    """Turn a DataFrame into text cells; the types of its columns decide what stays text."""
    names = [identifier(str(name)) for name in frame.columns]
    _check_header(names, where)
    values = {name: frame.iloc[:, i].tolist() for i, name in enumerate(names)}
    texts = frozenset(name for name, column in values.items() if _is_text(column))
    columns = {name: [_cell(value, name) for value in column] for name, column in values.items()}
    return TextTable(columns, list(range(2, len(frame) + 2)), texts)


def write_table(frame: "pd.DataFrame", path: Path) -> None:
    """Write a DataFrame as .csv, .tsv or .parquet, whole or not at all.

    Raises:
        ManifestError: another suffix, or the folder can't be written to.
        MissingExtraError: it is Parquet and pyarrow is not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in (*DELIMITERS, PARQUET):
        raise ManifestError(f"{path}: a manifest ends in .csv, .tsv or .parquet")
    if suffix == PARQUET:
        _pyarrow(path)
    try:
        _write_whole(frame, path, suffix)
    except OSError as error:
        raise ManifestError(f"{path} can't be written: {error.strerror}") from None


def _write_whole(frame: "pd.DataFrame", path: Path, suffix: str) -> None:
    # a reader never sees half a table: write beside it, then rename
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=suffix)
    os.close(handle)
    partial = Path(name)
    try:
        if suffix == PARQUET:
            frame.to_parquet(partial, engine="pyarrow", index=False)
        else:
            _to_csv(frame, partial, DELIMITERS[suffix])
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _to_csv(frame: "pd.DataFrame", path: Path, delimiter: str) -> None:
    # csv leaves a lone carriage return unquoted, and would read it as the end of a row
    has_return = any(
        isinstance(value, str) and "\r" in value for name in frame.select_dtypes("object") for value in frame[name]
    )
    quoting: Literal[0, 1] = csv.QUOTE_ALL if has_return else csv.QUOTE_MINIMAL
    frame.to_csv(path, sep=delimiter, index=False, lineterminator="\n", quoting=quoting)


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ManifestError(f"{path}: no such file") from None
    except OSError as error:
        raise ManifestError(f"{path} can't be read: {error.strerror}") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ManifestError(f"{path}, line {line}: not UTF-8; save it as 'CSV UTF-8'") from None
    if "\0" in text:
        raise ManifestError(f"{path} is not a text table; save it as 'CSV UTF-8'")
    return text


def _parse(text: str, delimiter: str, path: Path) -> TextTable:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    lines: list[tuple[int, list[str]]] = []
    try:
        for row, cells in enumerate(reader, start=1):
            stripped = [cell.strip() for cell in cells]
            if any(stripped):  # a spreadsheet leaves blank rows and rows of commas behind
                lines.append((row, stripped))
    except csv.Error as error:
        raise ManifestError(f"{path}, line {reader.line_num}: {error}") from None
    if not lines:
        raise ManifestError(f"{path} is empty; expected a header with the column 'image'")
    (_, header), body = lines[0], lines[1:]
    return _columns(header, body, path)


def _columns(header: list[str], body: list[tuple[int, list[str]]], path: Path) -> TextTable:
    header = [identifier(name) for name in header]
    while header and not header[-1]:  # trailing separators, as in IDRiD's own sheets
        header = header[:-1]
    if len(header) == 1 and any(mark in header[0] for mark in ";\t,"):
        raise ManifestError(
            f"{path}: the header is one cell, {header[0]!r}; separate .csv files by commas and .tsv files by tabs"
        )
    _check_header(header, path)
    faults = Faults()
    for row, cells in body:
        if len(cells) < len(header) or any(cells[len(header) :]):
            faults.add(row, f"expected {len(header)} cells as in the header, found {len(cells)}")
    faults.raise_if_any(path)
    columns = {name: [cells[i] for _, cells in body] for i, name in enumerate(header)}
    return TextTable(columns, [row for row, _ in body])


def _check_header(header: list[str], where: Path | str) -> None:
    for number, name in enumerate(header, start=1):
        if not name:
            raise ManifestError(f"{where}: column {number} has no name")
    doubled = [name for name, count in Counter(header).items() if count > 1]
    if doubled:
        raise ManifestError(f"{where}: the column {doubled[0]!r} appears twice in the header")


def _read_parquet(path: Path) -> TextTable:
    pyarrow = _pyarrow(path)
    try:
        frame = pyarrow.parquet.read_table(path).to_pandas()
    except FileNotFoundError:
        raise ManifestError(f"{path}: no such file") from None
    except (pyarrow.ArrowException, OSError):
        raise ManifestError(f"{path} is not a Parquet file that can be read") from None
    return table_of_frame(frame, path)


def _pyarrow(path: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError(
            f"{path} is Parquet and pyarrow is not installed. Run: pip install 'foveola[parquet]'"
        ) from None
    return pyarrow


def _is_text(column: Iterable[Any]) -> bool:
    present = [value for value in column if not _is_missing(value)]
    return bool(present) and all(isinstance(value, str) for value in present)


def _is_missing(value: Any) -> bool:
    # None, pandas.NA and NaT need no import of pandas here; NaN alone differs from itself
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and value != value


def _cell(value: Any, column: str) -> str:
    if _is_missing(value):
        return ""
    if hasattr(value, "tolist") or isinstance(value, list | tuple | set | frozenset):
        return ";".join(sorted(str(item) for item in value)) or ";"
    if isinstance(value, bool):
        return str(int(value))
    if column == "subject" and isinstance(value, float) and value.is_integer() and value < _EXACT:
        return str(int(value))  # pandas makes 10003 a float where a neighbour is missing
    if hasattr(value, "isoformat"):
        return str(value.isoformat()).removesuffix("T00:00:00")
    return repr(value) if isinstance(value, float) else str(value).strip()


# --- what is wrong with a table ---


SHOWN = 5  # faults of different kinds, and rows of one kind, that a message spells out


class Faults:
    """What is wrong with a table; equal texts in several rows become one line.

    Rows are numbered as a spreadsheet shows them: the header is row 1.
    """

    def __init__(self) -> None:
        self._rows: dict[str, list[int]] = {}
        self._details: dict[str, str] = {}

    def add(self, row: int, text: str, detail: str = "") -> None:
        """Note one fault; detail is shown for the first row of its text only."""
        self._rows.setdefault(text, []).append(row)
        self._details.setdefault(text, detail)

    def __len__(self) -> int:
        return sum(len(rows) for rows in self._rows.values())

    def raise_if_any(self, where: Path | str) -> None:
        """Raise one ManifestError that names every kind of fault, or the first few of many."""
        if not self._rows:
            return
        ordered = sorted(self._rows.items(), key=lambda item: item[1][0])
        lines = [self._line(text, rows) for text, rows in ordered[:SHOWN]]
        if len(lines) == 1:
            raise ManifestError(f"{where}, {lines[0]}")
        hidden = sum(len(rows) for _, rows in ordered[SHOWN:])
        if hidden:
            lines.append(f"and {hidden} more")
        raise ManifestError(f"{where} has {len(self)} faults:\n  " + "\n  ".join(lines))

    def _line(self, text: str, rows: list[int]) -> str:
        detail = self._details[text]
        return f"{_numbers(rows)}: {text}" + (f" ({detail})" if detail else "")


def quoted(value: str) -> str:
    """Quote a cell's text for a message, shortened to 40 characters."""
    return repr(value if len(value) <= 40 else value[:37] + "...")


def _numbers(rows: list[int]) -> str:
    if len(rows) == 1:
        return f"row {rows[0]}"
    shown = ", ".join(str(row) for row in rows[:SHOWN])
    hidden = len(rows) - SHOWN
    return f"rows {shown}" + (f" and {hidden} more" if hidden > 0 else "")

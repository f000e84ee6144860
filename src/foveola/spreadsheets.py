"""Tables for whoever opens them in a spreadsheet, which calculates what looks like a formula.

A manifest is none of these: it is read back, and every sign of it counts.
"""

import csv
import io
import math
import unicodedata
from collections.abc import Iterable, Sequence

FORMULA = "=+-@\N{MINUS SIGN}"  # what begins a formula, once full-width signs are made plain


def to_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows as CSV with a header; None and NaN are empty cells."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(columns)
    table.writerows([cell(value) for value in row] for row in rows)
    return out.getvalue()


def cell(value: object) -> object:
    """As a cell that no spreadsheet takes for a formula: a text that begins as one is quoted."""
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

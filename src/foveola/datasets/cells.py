"""From the text cells of one column to checked values; None is an empty cell.

Each function takes N cells with their N row numbers, notes what is wrong in faults and
returns N values, None where a cell was empty or wrong.
"""

import datetime
import math
import posixpath
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from foveola.cases import Eye
from foveola.datasets.faults import Faults, quoted

T = TypeVar("T")
Rows = Sequence[int]

EYES: dict[str, Eye] = {
    "left": "left", "l": "left", "os": "left",
    "right": "right", "r": "right", "od": "right",
}  # fmt: skip

# a leading zero is a sign of a code, not of a number: "007" stays text
_INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"([0-9]+)(\.0*)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NOT_A_NUMBER = {"nan", "na", "n/a", "null", "none", "inf", "infinity"}
_INT64 = 2**63


def images(cells: Sequence[str], rows: Rows, faults: Faults) -> list[str]:
    """Paths with "/", without "." and needless ".."; an empty cell is a fault and stays ""."""
    paths = []
    for cell, row in zip(cells, rows, strict=True):
        if not cell:
            faults.add(row, "the image is empty; every row needs the path of a photograph")
        paths.append(posixpath.normpath(cell.replace("\\", "/")) if cell else "")
    return paths


def eyes(cells: Sequence[str], rows: Rows, faults: Faults) -> list[Eye | None]:
    """Left or right; L, R, OS and OD in any case are taken too."""
    return _each(cells, rows, faults, _eye)


def grades(cells: Sequence[str], rows: Rows, faults: Faults) -> list[int | None]:
    """ICDR 0 to 4; "2.0" is 2, as pandas writes integers beside an empty cell."""
    return _each(cells, rows, faults, _grade)


def visits(
    cells: Sequence[str], rows: Rows, faults: Faults
) -> list[float | None] | list[str | None]:
    """All months (numbers) or all ISO dates; a mixed column is a fault."""
    values = _each(cells, rows, faults, _visit)
    dates = [isinstance(value, str) for value in values if value is not None]
    if any(dates) and not all(dates):
        first = {type(value): row for value, row in reversed(list(zip(values, rows, strict=True)))}
        faults.add(
            first[str],
            f"the visit is a date here and a number of months in row {first[float]}; use one kind",
        )
    return values  # type: ignore[return-value]  # one kind, or faults has an entry


def findings(cells: Sequence[str]) -> list[str | None]:
    """Sets as sorted text, "C;D"; ";" alone is the empty set: looked at, nothing found."""
    return [_findings(cell) for cell in cells]


def further(
    name: str, cells: Sequence[str], rows: Rows, faults: Faults
) -> list[int | None] | list[float | None] | list[str | None]:
    """Integers if all cells are, else numbers if all are, else text.

    Integers beyond 64 bits stay text: no column of a data base holds them, and they are codes.
    """
    present = [cell for cell in cells if cell]
    odd = {cell for cell in set(present) if cell.lower().lstrip("+-") in _NOT_A_NUMBER}
    plain = [cell for cell in present if cell not in odd]
    if not plain or not all(map(_is_number, plain)):
        return texts(cells)
    for cell, row in zip(cells, rows, strict=True):
        if cell in odd:
            faults.add(
                row,
                f"{cell!r} among the numbers of column {name!r}; "
                "leave the cell empty where the value is unknown",
            )
    if all(map(_INTEGER.fullmatch, plain)):
        if not all(map(_fits, plain)):
            return texts(cells)
        return [int(cell) if cell and cell not in odd else None for cell in cells]
    return [float(cell) if cell and cell not in odd else None for cell in cells]


def texts(cells: Sequence[str]) -> list[str | None]:
    """The cells as they are, None where empty."""
    return [cell or None for cell in cells]


def split_findings(text: str) -> frozenset[str]:
    """The set behind the canonical text of a findings cell."""
    return frozenset(part for part in text.split(";") if part)


def _each(
    cells: Sequence[str], rows: Rows, faults: Faults, parse: Callable[[str], T]
) -> list[T | None]:
    """Parse each distinct cell once; a ValueError's text is the fault."""
    known: dict[str, T | None] = {"": None}
    wrong: dict[str, str] = {}
    for cell in dict.fromkeys(cells):
        if cell:
            try:
                known[cell] = parse(cell)
            except ValueError as error:
                known[cell], wrong[cell] = None, str(error)
    if wrong:
        for cell, row in zip(cells, rows, strict=True):
            if cell in wrong:
                faults.add(row, wrong[cell])
    return [known[cell] for cell in cells]


def _eye(cell: str) -> Eye:
    eye = EYES.get(cell.lower())
    if eye is None:
        raise ValueError(f"eye {quoted(cell)}; expected left or right (L, R, OS, OD), or nothing")
    return eye


def _grade(cell: str) -> int:
    match = _WHOLE.fullmatch(cell)
    if match is None or len(match[1]) > 3 or int(match[1]) > 4:
        raise ValueError(f"grade {quoted(cell)}; expected 0, 1, 2, 3 or 4, or nothing")
    return int(match[1])


def _visit(cell: str) -> float | str:
    if _is_number(cell):
        return float(cell)
    try:
        if _DATE.fullmatch(cell):
            return datetime.date.fromisoformat(cell).isoformat()
    except ValueError:
        pass
    raise ValueError(
        f"visit {quoted(cell)}; expected months, such as 6, or a date, such as 2026-03-31"
    )


def _findings(cell: str) -> str | None:
    if not cell:
        return None
    return ";".join(sorted({part.strip() for part in cell.split(";")} - {""})) or ";"


def _is_number(cell: str) -> bool:
    return _NUMBER.fullmatch(cell) is not None and math.isfinite(float(cell))


def _fits(cell: str) -> bool:
    # len: int() refuses texts of thousands of digits with an error of its own
    return len(cell) <= 20 and -_INT64 <= int(cell) < _INT64

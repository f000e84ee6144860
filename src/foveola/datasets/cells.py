"""From the text cells of one column to checked values; None is an empty cell.

Each function takes N cells with their N row numbers, notes what is wrong in faults and
returns N values, None where a cell was wrong, empty, or said that nobody knows (`is_missing`).
"""

import datetime
import math
import posixpath
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from foveola.datasets.tables import Faults, quoted
from foveola.errors import ManifestError
from foveola.records import Eye, is_missing, known_identifier

T = TypeVar("T")
Rows = Sequence[int]

EYES: dict[str, Eye] = {"left": "left", "l": "left", "os": "left", "right": "right", "r": "right", "od": "right"}

# a leading zero is a sign of a code, not of a number: "007" stays text
_INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"([0-9]+)(\.0*)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INFINITE = {"inf", "infinity"}
_INT64 = 2**63

# What spreadsheets make of an identifier: 1.23457E+11, 10003.0, 2-Jan; and what is no value at all.
_ROUNDED = re.compile(r"[0-9]([.,][0-9]+)?[eE]\+[0-9]{2,3}|[0-9][.,][0-9]+[eE]-[0-9]{2,3}")
_POINT_ZERO = re.compile(r"([0-9]+)\.0+")
_MONTH = (
    "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec|Mär|Mrz|Mai|Okt|Dez|Ene|Abr|Ago|Dic|"
    "janv|févr|mars|avr|mai|juin|juil|août|sept|oct|nov|déc"
)
_DATED = re.compile(
    rf"[0-9]{{1,2}}[-. ]{{1,2}}({_MONTH})\.?([-. ][0-9]{{2,4}})?|({_MONTH})\.?[- ][0-9]{{2}}|"
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9:.]+)?|[0-9]{1,2}[/.][0-9]{1,2}[/.](19|20)[0-9]{2}"
)
_BROKEN = re.compile(r"#(REF!|N/A|NAME\?|VALUE!|DIV/0!|NUM!|NULL!|SPILL!|CALC!|#+)", re.IGNORECASE)
_EXACT = 15  # digits of a number that a spreadsheet keeps
_AS_TEXT = "format the column as text in the spreadsheet and write the value again"


def images(cells: Sequence[str], rows: Rows, faults: Faults) -> list[str]:
    """Return paths with "/", without "." and needless ".."; an empty cell is a fault and stays ""."""
    paths = []
    for cell, row in zip(cells, rows, strict=True):
        if not cell:
            faults.add(row, "the image is empty; every row needs the path of a photograph")
        paths.append(posixpath.normpath(cell.replace("\\", "/")) if cell else "")
    return paths


def identifiers(name: str, cells: Sequence[str], rows: Rows, faults: Faults) -> list[str | None]:
    """Return identifiers in their normal form; what a spreadsheet made of one is a fault.

    Where all of a column are written like 10003.0 or 10003, they are these whole numbers. What lost
    its leading zeros can't be told.
    """
    normal = [known_identifier(cell) for cell in cells]
    told = [one for one in normal if one is not None]
    whole = all(_POINT_ZERO.fullmatch(one) or _INTEGER.fullmatch(one) for one in told)
    made: list[str | None] = []
    for one, row in zip(normal, rows, strict=True):
        damage = None if one is None else _damage(one, whole=whole)
        if damage:
            faults.add(row, f"the {name} {damage}")
        number = None if one is None else _POINT_ZERO.fullmatch(one)
        made.append(number[1] if number else one)
    return made


def check_broken(name: str, cells: Sequence[str], rows: Rows, faults: Faults) -> None:
    """Note cells that hold a spreadsheet's error in place of a value."""
    for cell, row in zip(cells, rows, strict=True):
        if cell.startswith("#") and _BROKEN.fullmatch(cell):
            faults.add(
                row,
                f"{quoted(cell)} in the column {name!r} is an error of a spreadsheet; mend it "
                "there, or leave the cell empty where the value is unknown",
            )


def eyes(cells: Sequence[str], rows: Rows, faults: Faults) -> list[Eye | None]:
    """Return left or right; L, R, OS and OD in any case are taken too."""
    return _each(cells, rows, faults, _eye)


def grades(cells: Sequence[str], rows: Rows, faults: Faults) -> list[int | None]:
    """Return ICDR 0 to 4; "2.0" is 2, as pandas writes integers beside an empty cell."""
    return _each(cells, rows, faults, _grade)


def visits(cells: Sequence[str], rows: Rows, faults: Faults) -> list[float | None] | list[str | None]:
    """Return all months (numbers) or all ISO dates; a mixed column is a fault."""
    values = _each(cells, rows, faults, _visit)
    dates = [isinstance(value, str) for value in values if value is not None]
    if any(dates) and not all(dates):
        first = {type(value): row for value, row in reversed(list(zip(values, rows, strict=True)))}
        faults.add(first[str], f"the visit is a date here and a number of months in row {first[float]}; use one kind")
    return values  # type: ignore[return-value]  # one kind, or faults has an entry


def visit_of(text: str | None) -> float | str | None:
    """Read one visit, as a command or a form tells it: months, or an ISO date; None is unknown.

    Raises:
        ManifestError: it is neither.

    >>> visit_of("6"), visit_of("2026-03-31"), visit_of("")
    (6.0, '2026-03-31', None)
    """
    faults = Faults()
    (visit,) = visits([(text or "").strip()], [1], faults)
    if faults:
        raise ManifestError("visit: expected months, such as 6, or a date, such as 2026-03-31, or nothing")
    return visit


def findings(cells: Sequence[str]) -> list[str | None]:
    """Return sets as sorted text, "C;D"; ";" alone is the empty set: looked at, nothing found.

    >>> findings(["H; D", ";", ""])
    ['D;H', ';', None]
    """
    return [_findings(cell) for cell in cells]


def further(
    name: str, cells: Sequence[str], rows: Rows, faults: Faults
) -> list[int | None] | list[float | None] | list[str | None]:
    """Return integers if all cells are, else numbers if all are, else text.

    Integers beyond 64 bits stay text: no column of a data base holds them, and they are codes.
    """
    cells = ["" if is_missing(cell) else cell for cell in cells]
    present = [cell for cell in cells if cell]
    odd = {cell for cell in set(present) if cell.lower().lstrip("+-") in _INFINITE}
    plain = [cell for cell in present if cell not in odd]
    if not plain or not all(map(_is_number, plain)):
        return texts(cells)
    for cell, row in zip(cells, rows, strict=True):
        if cell in odd:
            faults.add(
                row, f"{cell!r} among the numbers of column {name!r}; leave the cell empty where the value is unknown"
            )
    if all(map(_INTEGER.fullmatch, plain)):
        # len: int() refuses texts of thousands of digits with an error of its own
        if not all(len(cell) <= 20 and -_INT64 <= int(cell) < _INT64 for cell in plain):
            return texts(cells)
        return [int(cell) if cell and cell not in odd else None for cell in cells]
    return [float(cell) if cell and cell not in odd else None for cell in cells]


def texts(cells: Sequence[str]) -> list[str | None]:
    """Return the cells as they are, None where unknown."""
    return [None if is_missing(cell) else cell for cell in cells]


def split_findings(text: str) -> frozenset[str]:
    """Return the set behind the canonical text of a findings cell."""
    return frozenset(part for part in text.split(";") if part)


def _each(cells: Sequence[str], rows: Rows, faults: Faults, parse: Callable[[str], T]) -> list[T | None]:
    """Parse each distinct cell once; a ValueError's text is the fault."""
    parsed: dict[str, T | None] = {}
    wrong: dict[str, str] = {}
    for cell in dict.fromkeys(cells):
        try:
            parsed[cell] = None if is_missing(cell) else parse(cell)
        except ValueError as error:
            parsed[cell], wrong[cell] = None, str(error)
    if wrong:
        for cell, row in zip(cells, rows, strict=True):
            if cell in wrong:
                faults.add(row, wrong[cell])
    return [parsed[cell] for cell in cells]


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
    raise ValueError(f"visit {quoted(cell)}; expected months, such as 6, or a date, such as 2026-03-31")


def _findings(cell: str) -> str | None:
    """None where unknown, as is a set of which no label is known; ";" is no label."""
    parts = {part.strip() for part in cell.split(";")} - {""}
    labels = [part for part in parts if not is_missing(part)]
    if not labels and (parts or not cell.strip()):
        return None
    return ";".join(sorted(labels)) or ";"


def _damage(text: str, *, whole: bool) -> str | None:
    """What a spreadsheet did to an identifier, and what to do; no identifier is told."""
    if _ROUNDED.fullmatch(text):
        return f"is a rounded number, like 1.23457E+11, which many share; {_AS_TEXT}"
    if _DATED.fullmatch(text):
        return (
            f"is a date, like 2-Jan, which a spreadsheet makes of 2-1; {_AS_TEXT}. No date of a "
            "person's life is a pseudonym"
        )
    if not (number := _POINT_ZERO.fullmatch(text)):
        return None
    if len(number[1].lstrip("0")) > _EXACT:
        return f"is a number of more than {_EXACT} digits, of which the last are lost; {_AS_TEXT}"
    if not whole:
        return (
            "ends in .0, as a whole number that was read as another does, where others of the "
            "column are no numbers; write it without .0, or with a letter before it"
        )
    return None


def _is_number(cell: str) -> bool:
    return _NUMBER.fullmatch(cell) is not None and math.isfinite(float(cell))

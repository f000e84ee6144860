"""Faults of a table, collected by row so that a user can mend them all in one go."""

from pathlib import Path

from foveola.errors import ManifestError

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
    """A cell's text for a message, shortened to 40 characters."""
    return repr(value if len(value) <= 40 else value[:37] + "...")


def _numbers(rows: list[int]) -> str:
    if len(rows) == 1:
        return f"row {rows[0]}"
    shown = ", ".join(str(row) for row in rows[:SHOWN])
    hidden = len(rows) - SHOWN
    return f"rows {shown}" + (f" and {hidden} more" if hidden > 0 else "")

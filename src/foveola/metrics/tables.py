"""Tables of numbers as text, as Markdown and as a DataFrame: a header row, then rows of cells."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from foveola.notebook import Rows, aligned, to_frame

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Rows", "aligned", "metrics_frame", "number", "piped", "ranged"]


def number(value: float | None, *, sign: bool = False) -> str:
    """Three decimals; "-" for what is unknown."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:+.3f}" if sign else f"{value:.3f}"


def ranged(ends: tuple[float, float], *, sign: bool = False) -> str:
    """An interval; "-" where there is none."""
    low, high = (number(end, sign=sign) for end in ends)
    return "-" if math.isnan(ends[0]) else f"{low} to {high}"


def piped(rows: Rows) -> str:
    """Markdown."""
    cells = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    rule = ["---"] + ["---:"] * (len(rows[0]) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [cells[0], rule, *cells[1:]])


def metrics_frame(rows: Mapping[str, Mapping[str, float]]) -> "pd.DataFrame":
    """A row for each metric, by its name."""
    named = [{"metric": name, **row} for name, row in rows.items()]
    return to_frame(named, list(named[0]), "metric")

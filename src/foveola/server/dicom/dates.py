"""Dates of DICOM, read and moved."""

import datetime
import re
from typing import Any


def read_date(value: Any) -> datetime.date | None:
    """The date of a DA or DT, YYYYMMDD or the older YYYY.MM.DD; None where it is none."""
    text = str(value or "").strip()
    found = re.match(r"(\d{4})([.]?)(\d{2})\2(\d{2})", text, re.ASCII)
    if found is None or not 1900 <= int(found[1]) <= 2199:
        return None
    try:
        return datetime.date(int(found[1]), int(found[3]), int(found[4]))
    except ValueError:
        return None


def moved(date: datetime.date, days: int) -> str:
    """A date so many days later, as a DA."""
    return (date + datetime.timedelta(days)).strftime("%Y%m%d")

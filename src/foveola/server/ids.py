"""The number of a case, as an address has it."""

import re
from typing import Annotated

from pydantic import BeforeValidator

NUMBER = re.compile(r"[1-9][0-9]*")


def _canonical(said: object) -> object:
    """Of the many ways to write a number, one: every case has a single address."""
    if isinstance(said, str) and not NUMBER.fullmatch(said):
        raise ValueError("expected the number of a case, such as 17")
    return said


CaseId = Annotated[int, BeforeValidator(_canonical)]

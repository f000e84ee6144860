"""Whether what comes under one Patient ID is of one person: by name and date of birth.

Both are compared by marks, hashes that stand for them: the names themselves are kept nowhere, and
do not leave the child process that reads them. A name and a date that both contradict what came
before are those of another person; one of the two is a marriage, a correction or a slip, and told.
"""

import datetime
import re
import unicodedata
from collections.abc import Collection, Mapping
from hashlib import blake2b
from typing import NamedTuple

from foveola.records import is_missing

APART = "the Patient ID came with another name and another birth date before; they are kept apart as two persons"
ALIKE = "the Patient ID came with another {} before; they are kept as one person"
UNCLEAR = (
    "the Patient ID is of several persons, and name and birth date do not say of which; it is kept "
    "as nobody's that is known"
)
_NOBODY = {"anon", "anonymous", "anonymised", "anonymized", "unknown", "no", "name", "noname"}
_NO_DATE = datetime.date(1900, 1, 1)  # what some programs write where they have none


class Marks(NamedTuple):
    """What stands for a person's name and date of birth; "" where they are not told."""

    name: str = ""
    birth: str = ""


class Choice(NamedTuple):
    """Whose an object is.

    Attributes:
        person: one of the known; None for nobody of them.
        new: whether it is another person of this Patient ID.
        sentence: what has to be told of it, without patients' data; "" for nothing.
    """

    person: int | None
    new: bool
    sentence: str


def marks_of(name: str, birth: datetime.date | None) -> Marks:
    """Marks of a DICOM person name and a date; what says nothing has the mark of none.

    Names are compared without the case of letters and what separates their parts.
    """
    group = next((part for part in name.split("=") if part.strip("^ ")), "").strip("^ ")
    words = re.findall(r"\w+", unicodedata.normalize("NFKC", group).casefold())
    known = not is_missing(group) and not set(words) <= _NOBODY
    dated = birth is not None and birth != _NO_DATE
    return Marks(_mark(" ".join(words)) if known else "", _mark(str(birth)) if dated else "")


def choose(persons: Mapping[int, Collection[Marks]], told: Marks) -> Choice:
    """Choose among the persons of a Patient ID.

    Args:
        persons: the known, each with the marks that came with it.
        told: marks of the object.
    """
    against = {
        person: min((_contradictions(each, told) for each in seen), key=len, default=())
        for person, seen in persons.items()
    }
    least = min(map(len, against.values()), default=0)
    best = [person for person, contradicted in against.items() if len(contradicted) == least]
    if not best:
        return Choice(None, new=True, sentence="")
    if least == len(told):
        return Choice(None, new=True, sentence=APART)
    if len(best) > 1:
        return Choice(None, new=False, sentence=UNCLEAR)
    (contradicted,) = against[best[0]] or ("",)
    return Choice(best[0], new=False, sentence=contradicted and ALIKE.format(contradicted))


def _contradictions(seen: Marks, told: Marks) -> tuple[str, ...]:
    """In what two marks contradict each other."""
    pairs = zip(("name", "birth date"), seen, told, strict=True)
    return tuple(what for what, one, other in pairs if one and other and one != other)


def _mark(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()

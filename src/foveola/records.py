"""The case: one photograph and what is known of it.

Manifests yield cases, archives keep them, searches return them.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

Eye = Literal["left", "right"]
Scalar = str | int | float

# What tables write for a value that nobody knows, in small letters.
MISSING = frozenset({"", "nan", "na", "n/a", "none", "null", "<na>", "nat"})
# Unicode's Default_Ignorable_Code_Point: what takes no room and is not seen.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)

# Pattern of a name that an archive takes: no line end, escape or other control character.
PLAIN = r"^[^\x00-\x1f\x7f-\x9f]*$"


def identifier(text: str) -> str:
    """Return the one normal form of an identifier: what looks the same is the same.

    Characters that are not seen go, letters are composed (NFC), white space around them goes, the
    no-break and the em space too. Nothing else: `a` is not `A`, and `007` not `7`.

    >>> identifier(" P007 ")
    'P007'
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", _INVISIBLE.sub("", text))
    return text.strip()


def is_missing(text: str) -> bool:
    """Return whether a text stands for an unknown value: nan, NA, N/A, None, null, <NA>, or nothing."""
    return identifier(text).casefold() in MISSING


def known_identifier(text: str | None) -> str | None:
    """Return the normal form of an identifier that is told; None where it stands for unknown."""
    if not isinstance(text, str | None):
        raise TypeError(f"expected an identifier as text, got {text!r}")
    return None if text is None or is_missing(text) else identifier(text)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One photograph and its record. None means unknown or unlabelled, never zero.

    Attributes:
        image: name of the photograph, its path relative to its manifest, with "/".
        path: where the file lies, absolute.
        subject: pseudonym of the person, in its normal form (`identifier`); None counts as a
            subject of its own.
        eye: "left" or "right".
        visit: months since the first visit (a number) or an ISO date.
        grade: diabetic retinopathy on the ICDR scale, 0 to 4.
        findings: set of labels; None where nobody looked, which an empty set is not.
        collection: name space of the subject, in its normal form; "1" of one collection is not
            "1" of another.
        extra: the manifest's further columns.
    """

    image: str
    path: str
    subject: str | None = None
    eye: Eye | None = None
    visit: float | str | None = None
    grade: int | None = None
    findings: frozenset[str] | None = None
    collection: str = ""
    extra: Mapping[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # here, and not at each door: whoever makes a case, or reads one of an older archive
        for name in ("subject", "collection"):
            told = getattr(self, name)
            if isinstance(told, str) and (normal := identifier(told)) != told:
                object.__setattr__(self, name, normal)
        if self.subject == "":
            object.__setattr__(self, "subject", None)

    @property
    def identity(self) -> tuple[str, str]:
        """Return what two photographs of one person share; unique where the subject is unknown."""
        if self.subject is None:
            return ("image", self.path)
        return ("subject", f"{self.collection}\0{self.subject}")


# No further column may have one of these names, in any case of letters: it could not be told from
# the field.
RESERVED = tuple(each.name for each in fields(Case) if each.name != "extra")

"""The case: one photograph and what is known of it.

Manifests yield cases, archives keep them, searches return them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Eye = Literal["left", "right"]
Scalar = str | int | float


@dataclass(frozen=True, kw_only=True)
class Case:
    """One photograph and its record. None means unknown or unlabelled, never zero.

    Attributes:
        image: name of the photograph, its path relative to its manifest, with "/".
        path: where the file lies, absolute.
        subject: pseudonym of the person; None counts as a subject of its own.
        eye: "left" or "right".
        visit: months since the first visit (a number) or an ISO date.
        grade: diabetic retinopathy on the ICDR scale, 0 to 4.
        findings: set of labels; None where nobody looked, which an empty set is not.
        collection: name space of the subject; "1" of one collection is not "1" of another.
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

    @property
    def identity(self) -> tuple[str, str]:
        """What two photographs of one person share; unique where the subject is unknown."""
        if self.subject is None:
            return ("image", self.path)
        return ("subject", f"{self.collection}\0{self.subject}")

"""Which photographs ask and which are ranked when a subject is to be found again.

Source: methods.md 2.6 (Nguyen et al., MICCAI 2022): the gallery holds the first visit of
everyone, and later visits ask. Fundus photographs take an eye of a subject for the identity,
as the two eyes of a person are not alike as two knees are (2.8, our reading).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from foveola.errors import FoveolaError
from foveola.records import Case

Identity = tuple[str, ...]
Unit = Literal["days", "months", "years"]

DAYS: dict[Unit, float] = {"days": 1.0, "months": 365.25 / 12, "years": 365.25}
SAME = "same visit or unknown"


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How photographs are parted into gallery and queries.

    Attributes:
        identity: what is to be found again: a "subject", or an "eye" of one.
        gallery: "first" ranks the first visit of each identity and lets the later ones ask, as
            published; "others" lets every photograph ask all others.
        time: column that says when a photograph was taken: "visit", or a further one of the
            manifest; a number, or an ISO date.
        unit: of those numbers, and of the edges.
        edges: rising times at which the queries are parted, such as 7, 30 and 365 days; empty
            for whole years, as published.
    """

    identity: Literal["subject", "eye"] = "eye"
    gallery: Literal["first", "others"] = "first"
    time: str = "visit"
    unit: Unit = "months"
    edges: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.identity not in ("subject", "eye"):
            raise ValueError(f"identity is {self.identity!r}; expected 'subject' or 'eye'")
        if self.gallery not in ("first", "others"):
            raise ValueError(f"gallery is {self.gallery!r}; expected 'first' or 'others'")
        if self.unit not in DAYS:
            raise ValueError(f"unit is {self.unit!r}; expected {', '.join(DAYS)}")
        if list(self.edges) != sorted(set(self.edges)) or any(e <= 0 for e in self.edges):
            raise ValueError(f"edges are {self.edges}; expected rising times above 0")

    def identity_of(self, case: Case) -> Identity | None:
        """What photographs of one identity share; None where it is unknown."""
        if case.subject is None or (self.identity == "eye" and case.eye is None):
            return None
        return (*case.identity, case.eye or "") if self.identity == "eye" else case.identity

    def taken(self, case: Case) -> float | None:
        """Days on some scale of the subject's own; None where it is unknown.

        Raises:
            FoveolaError: the column holds neither a number nor a date.
        """
        value = case.visit if self.time == "visit" else case.extra.get(self.time)
        if value is None or value == "":
            return None
        try:
            if isinstance(value, str) and "-" in value[1:]:
                return float(date.fromisoformat(value).toordinal())
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise FoveolaError(
                f"{case.image}: the column {self.time!r} is no time; expected a number of "
                f"{self.unit} or a date such as 2026-11-21"
            )
        return number * DAYS[self.unit]

    def group(self, gap: float | None) -> str:
        """The name of the part of the queries in which a gap in days lies."""
        if gap is None or gap == 0:
            return SAME
        if not self.edges:
            return f"{round(gap / DAYS['years'])} y"
        time, short = gap / DAYS[self.unit], self.unit[0]
        below = 0.0
        for edge in self.edges:
            if time <= edge:
                return f"{below:g} to {edge:g} {short}"
            below = edge
        return f"over {below:g} {short}"


@dataclass(frozen=True)
class Parted:
    """What asks, what is ranked, and how much later each query was taken.

    Attributes:
        queries: places among the cases.
        gallery: likewise; the same as the queries where every photograph asks all others.
        groups: of each query, None where it has no mate.
    """

    queries: tuple[int, ...]
    gallery: tuple[int, ...]
    groups: tuple[str | None, ...]


def part(cases: Sequence[Case], protocol: Protocol) -> Parted:
    """Part photographs by the protocol.

    A photograph of a known identity and unknown time stands, in the order given, after those of
    that identity whose time is known. The first of an identity is ranked even if no later one
    asks for it: a gallery holds more people than come back.

    Raises:
        FoveolaError: a time can't be read, or no identity has a second photograph.
    """
    identities = [protocol.identity_of(case) for case in cases]
    times = [protocol.taken(case) for case in cases]
    order = sorted(range(len(cases)), key=lambda i: (times[i] is None, times[i] or 0.0, i))
    first: dict[Identity, int] = {}
    for i in order:
        identity = identities[i]
        if identity is not None:
            first.setdefault(identity, i)

    def gap(i: int) -> float | None:
        """Days since the first photograph of the identity, 0 for that visit."""
        identity = identities[i]
        start = None if identity is None else times[first[identity]]
        now = times[i]
        return None if start is None or now is None else now - start

    if protocol.gallery == "others":
        everyone = tuple(range(len(cases)))
        return Parted(everyone, everyone, (None,) * len(cases))
    queries = [i for i in range(len(cases)) if _asks(i, identities[i], first, gap(i))]
    if not queries:
        raise FoveolaError(
            f"none of the {len(cases)} photographs was taken after the first of its "
            f"{protocol.identity}; expected a manifest with follow-up visits"
        )
    asked = set(queries)
    gallery = tuple(i for i in range(len(cases)) if i not in asked)
    return Parted(tuple(queries), gallery, tuple(protocol.group(gap(i)) for i in queries))


def _asks(i: int, identity: Identity | None, first: dict[Identity, int], gap: float | None) -> bool:
    """Whether it is later than its identity's first visit, or a repeat of no known time."""
    if identity is None or first[identity] == i:
        return False
    return gap is None or gap > 0

"""What is said of a hit and of a query."""

from dataclasses import dataclass

from foveola.relevance.curve import Share
from foveola.relevance.suggestion import Suggestion

Label = str  # "grade", "findings", or the name of a further column


@dataclass(frozen=True)
class HitTrust:
    """How far one hit can be trusted. Every share is of this archive's own photographs.

    Attributes:
        label: which is compared: grade, or findings, of which one shared is enough.
        same: share, from 0 to 1, of the pairs with the same label that are less alike than query
            and hit; None where too few pairs are known.
        other: likewise of the pairs with different labels.
        agreement: the chance that the labels agree: how many of 100 photographs like the query
            have the hit's label, where the archive learnt that; else, of hits that are this alike
            and have the hit's label. None where the hit's label is unknown, too few are known, or
            the query can't be compared.
        sufficient: whether it is as alike as the nearest case nearly always is.
    """

    label: Label | None
    same: float | None
    other: float | None
    agreement: Share | None
    sufficient: bool


@dataclass(frozen=True)
class Looks:
    """Whether a picture is a photograph of the retina, as far as that can be told.

    Attributes:
        unlike: share, from 0 to 1, of fundus photographs that are less unlike what the encoder
            knows; None where the encoder can't say.
        foreign: whether it is taken for something else: it shows no field in colour, or is more
            unlike than nearly every fundus photograph.
        poor: whether too little of the retina can be seen to compare it.
        camera: that took it, where its file says so and the archive, which records cameras, has
            no photograph of that one.
    """

    unlike: float | None
    foreign: bool
    poor: bool = False
    camera: str | None = None

    @property
    def comparable(self) -> bool:
        """Whether anything can be said of the picture."""
        return not self.foreign and not self.poor


@dataclass(frozen=True)
class QueryTrust:
    """How far the answer to one query can be trusted.

    Attributes:
        suggestion: what the archive suggests of the query; None where it has not learnt enough,
            and of a picture that can't be compared or has no sufficiently similar case.
        nearest: share of the archive's own photographs whose nearest case of another person is
            less alike than the query's.
        threshold: similarity below which a case is not sufficiently alike; None where the archive
            has too few people to set one.
        false_reject: share of the archive's own photographs that would have no sufficient case.
        sufficient: whether any hit is; never of a foreign or a poor picture.
        looks: of the query's picture.
        trained: share of the archive's photographs that the encoder was trained on, where what is
            said of hits had to be learnt from these; None where it was not, or is not known.
    """

    suggestion: Suggestion | None
    nearest: float | None
    threshold: float | None
    false_reject: float
    sufficient: bool
    looks: Looks
    trained: float | None = None

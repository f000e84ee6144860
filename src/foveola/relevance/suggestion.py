"""What an archive suggests of a photograph."""

import math
from dataclasses import dataclass

from foveola.relevance.curve import Share


@dataclass(frozen=True)
class LabelShare:
    """How many of 100 photographs like the query have a label value.

    Attributes:
        value: of the label.
        share: from 0 to 1, with its 95 % interval.
    """

    value: str
    share: Share


@dataclass(frozen=True)
class Suggestion:
    """What an archive suggests of a photograph: how many of 100 like it have a label value.

    Attributes:
        label: "grade", "findings", or the name of a further column.
        shares: of every value that was learnt, most first.
        several: whether a photograph may have several of them, as findings, so that the shares
            need not sum to 1.
        people: it was calibrated on; none of them was in the fit that judged them.
        new: whether the encoder was trained on no photograph of theirs, as far as is known.
        unlearnt: values that too few people have to be learnt; the shares leave them out.
    """

    label: str
    shares: tuple[LabelShare, ...]
    several: bool
    people: int
    new: bool
    unlearnt: tuple[str, ...] = ()

    def of(self, values: frozenset[str]) -> Share | None:
        """Return the share of photographs like the query that have one of these values or more.

        Findings are taken as independent of each other. None where no value is among those learnt.
        """
        found = [each.share for each in self.shares if each.value in values]
        if not found or not values <= {each.value for each in self.shares}:
            return None
        lines = zip(*((s.value, s.low, s.high) for s in found), strict=True)
        return Share(*(1 - math.prod(1 - p for p in line) for line in lines))

"""What a search says of its query, as it is printed: the archive's suggestion first.

Used by the report and by the page of the service alike, with the template suggestion.html.
"""

from dataclasses import dataclass

from foveola.labels import label_word
from foveola.relevance.calibrate import LabelShare, Suggestion
from foveola.relevance.labels import GRADE
from foveola.report.shapes import SearchShape
from foveola.trust.sentences import (
    LEAST,
    LIKE,
    of_hundred,
    of_order,
    of_person,
    of_picture,
    of_quality,
    of_recorded,
    of_suggestion,
)

ROWS = 8  # of a drawing, at most


@dataclass(frozen=True)
class Chance:
    """A label value: its word, how many of 100 with their interval, and the three as lengths.

    Attributes:
        word: of the value.
        count: such as "55 (46 to 63)".
        value, low, high: of 100.
    """

    word: str
    count: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class AnswerView:
    """An answer as it is printed.

    Attributes:
        suggestion: sentences, the first of which is the headline; empty where nothing is suggested.
        caption: of the drawing.
        chances: its rows.
        trust: sentences on the picture and its nearest case.
        sufficient: whether any hit is sufficiently alike.
        doubt: a warning of the photograph's quality, as a sentence.
        order: how the hits are ordered, and how many have the label.
        person: what was left out of the query's own person.
    """

    suggestion: list[str]
    caption: str
    chances: list[Chance]
    trust: list[str]
    sufficient: bool
    doubt: str | None
    order: str
    person: str


def view_answer(result: SearchShape) -> AnswerView:
    """What is said of a search."""
    trust = result.trust
    suggestion = None if trust is None else trust.suggestion
    recorded = of_recorded(result.label, result.recorded, len(result.hits))
    order = "; ".join(filter(None, [of_order(result.order, result.label), recorded]))
    return AnswerView(
        suggestion=of_suggestion(suggestion, [hit.case for hit in result.hits]),
        caption=LIKE,
        chances=[] if suggestion is None else list(map(_chance, *_rows(suggestion))),
        trust=of_picture(trust),
        sufficient=trust is None or trust.sufficient,
        doubt=of_quality(None if trust is None else trust.looks, result.gradability),
        order=order,
        person=of_person(result.query.subject is not None, result.excluded_same_subject),
    )


def _rows(suggestion: Suggestion) -> tuple[list[LabelShare], list[str]]:
    """What is drawn, and its words: every grade in its order; else what is likely, most first."""
    if suggestion.label == GRADE:
        shares = sorted(suggestion.shares, key=lambda each: int(each.value))
        return shares, [f"{s.value} {label_word(GRADE, s.value)}" for s in shares]
    least = [s for s in suggestion.shares if round(100 * s.share.value) >= LEAST]
    shares = (least or list(suggestion.shares[:3]))[:ROWS]
    return shares, [label_word(suggestion.label, s.value) for s in shares]


def _chance(of: LabelShare, word: str) -> Chance:
    low, value, high = (round(100 * x, 1) for x in (of.share.low, of.share.value, of.share.high))
    return Chance(word, of_hundred(of.share), value, low, high)

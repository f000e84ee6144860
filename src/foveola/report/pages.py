"""Pages as text: one HTML file that needs nothing else and asks nothing of a network.

    Path("report.html").write_text(search_page(result, images=images), encoding="utf-8")

A policy inside each page forbids scripts and every request; pictures are part of the file.
Whatever comes from a manifest is escaped. Pairs of photographs, with what speaks for and against
each, are the pages of matches, audits and places.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from foveola.labels import GRADES_IN_FULL, findings_of, grade_word, is_phantom, label_word, visit_word
from foveola.metrics import Evaluation, Metric
from foveola.records import Case
from foveola.report.views import Images, SearchShape, card_rows, data_uri, view_search
from foveola.resources import AnyPath, beside

WIDTH, HEIGHT = 760, 420  # units of the drawing
FEW = 9  # bars whose names fit side by side
LONGEST = 18  # letters of a slanted name
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 8, 26, 56
_SLANTED = 60  # below the floor, beyond _BOTTOM


@dataclass(frozen=True)
class Bar:
    """One label value: a bar, its interval as a whisker, its chance level as a line."""

    x: float
    width: float
    top: float
    height: float
    chance: float
    low: float | None
    high: float | None
    value: str
    name: str
    word: str
    queries: int

    @property
    def middle(self) -> float:
        """Return the horizontal centre."""
        return round(self.x + self.width / 2, 2)

    @property
    def short(self) -> str:
        """Return the name, cut where it would not fit on a slant."""
        return self.name if len(self.name) <= LONGEST else f"{self.name[: LONGEST - 1]}…"


@dataclass(frozen=True)
class Chart:
    """A bar chart from 0 in a drawing of WIDTH x HEIGHT; ticks are (height, label).

    With more than a FEW bars the names are slanted below it, where the drawing is higher.
    """

    metric: str
    bars: list[Bar]
    ticks: list[tuple[float, str]]
    left: float = _LEFT
    right: float = WIDTH - _RIGHT
    floor: float = HEIGHT - _BOTTOM
    width: int = WIDTH

    @property
    def crowded(self) -> bool:
        """Return whether names are slanted, and what stands at a bar is small."""
        return len(self.bars) > FEW

    @property
    def height(self) -> int:
        """Return the height of the drawing."""
        return HEIGHT + _SLANTED * self.crowded


def chart(evaluation: Evaluation, metric: str | None = None) -> Chart:
    """Draw the bars of one metric by label value.

    Args:
        evaluation: what to draw.
        metric: its name; mAP@10 when it was computed, else the deepest mAP@K.

    Raises:
        ValueError: the evaluation has no such metric.
    """
    name = metric or evaluation.headline()
    if name not in evaluation.metrics:
        raise ValueError(f"no metric {name!r}; there are {', '.join(evaluation.metrics)}")
    found = evaluation.metrics[name]
    scale = _scale(found)
    step = (WIDTH - _LEFT - _RIGHT) / max(len(found.queries), 1)
    bars = [
        _bar(found, label, scale, _LEFT + (i + 0.5) * step, min(0.6 * step, 90), evaluation.label)
        for i, label in enumerate(found.queries)
    ]
    ticks = [(_height(part, 1.0), f"{part * scale:g}") for part in (0, 0.2, 0.4, 0.6, 0.8, 1)]
    return Chart(name, bars, ticks)


def _bar(found: Metric, label: str, scale: float, middle: float, width: float, kind: str) -> Bar:
    value, (low, high) = found.value.per_label[label], found.interval(label)
    top = _height(value, scale)
    return Bar(
        x=round(middle - width / 2, 2),
        width=round(width, 2),
        top=top,
        height=round(_height(0, scale) - top, 2),
        chance=_height(found.chance.per_label[label], scale),
        low=None if math.isnan(low) else _height(low, scale),
        high=None if math.isnan(high) else _height(high, scale),
        value=f"{value:.2f}",
        name=label,
        word=label_word(kind, label),
        queries=found.queries[label],
    )


def _scale(found: Metric) -> float:
    """What the upper edge stands for: the next of a few round numbers."""
    parts = [*found.value.per_label.values(), *found.chance.per_label.values()]
    parts += [end for end in found.high.per_label.values() if not math.isnan(end)]
    return min(edge for edge in (0.1, 0.25, 0.5, 1.0) if edge >= min(max(parts, default=1), 1))


def _height(value: float, scale: float) -> float:
    return round(HEIGHT - _BOTTOM - value / scale * (HEIGHT - _TOP - _BOTTOM), 2)


def search_page(
    result: SearchShape,
    *,
    images: Images,
    title: str = "Similar cases",
    encoder_card: Mapping[str, object] | None = None,
) -> str:
    """Make a page of a query and the cases found for it.

    Args:
        result: a `SearchResult`, or anything of its shape.
        images: gives the picture of a case as JPEG or PNG bytes; with None, or bytes of
            another kind, the page says that there is no picture. Called once a case.
        title: of the page.
        encoder_card: what is known of the encoder; "name" and "fingerprint" are shown with
            the search, all plain entries at the end.
    """
    view = view_search(result, images, encoder_card)
    return render(
        "search.html",
        title=title,
        searches=[view],
        phantoms=view.phantoms,
        pictures=view.pictures,
        card=card_rows(encoder_card),
    )


def evaluation_page(
    evaluation: Evaluation,
    *,
    learned: Evaluation | None = None,
    title: str = "Evaluation",
    encoder_card: Mapping[str, object] | None = None,
    phantom: bool = False,
    warning: str = "",
) -> str:
    """Make a page of the tables of an evaluation and its bars by label value.

    Args:
        evaluation: from `foveola.metrics.evaluate_retrieval`, of the order by looks.
        learned: of the order that the archive learnt from its labels.
        title: of the page.
        encoder_card: as for `search_page`.
        phantom: whether it was done on phantom images, which the page then says.
        warning: why the numbers may mislead; a sentence without its full stop.
    """
    return render(
        "evaluation.html",
        warning=warning,
        title=title,
        **_evaluation_values(evaluation),
        learned=None if learned is None else _evaluation_values(learned),
        phantoms=int(phantom),
        pictures=int(phantom),
        card=card_rows(encoder_card),
    )


def demo_page(
    searches: Sequence[SearchShape],
    evaluation: Evaluation | None = None,
    *,
    images: Images,
    title: str = "Foveola demonstration",
    encoder_card: Mapping[str, object] | None = None,
) -> str:
    """Make a page of several searches, then the evaluation, if any; arguments as for `search_page`."""
    views = [view_search(result, images, encoder_card) for result in searches]
    return render(
        "demo.html",
        title=title,
        searches=views,
        **_evaluation_values(evaluation),
        phantoms=sum(view.phantoms for view in views),
        pictures=sum(view.pictures for view in views),
        card=card_rows(encoder_card),
    )


def write_page(path: AnyPath, page: str) -> None:
    """Write a page whole or not at all."""
    path = Path(path)
    with beside(path) as partial:
        partial.write_text(page, encoding="utf-8")
        partial.replace(path)


def _evaluation_values(evaluation: Evaluation | None) -> dict[str, object]:
    drawn: Chart | None = None if evaluation is None else chart(evaluation)
    return {"evaluation": evaluation, "chart": drawn}


def render(template: str, **values: object) -> str:
    """Make a page from its template."""
    return _environment().get_template(template).render(**values, grades_in_full=GRADES_IN_FULL)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("foveola.report"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@dataclass(frozen=True, kw_only=True)
class Photograph:
    """One of the photographs of a pair, or a picture made of both.

    Attributes:
        title: what it is, such as "Query" or "Laid over each other".
        picture: JPEG or PNG bytes; None where there is none to show.
        name: of the file.
        facts: what is known of it, in words.
    """

    title: str
    picture: bytes | None
    name: str = ""
    facts: Sequence[tuple[str, str]] = ()

    @classmethod
    def of(cls, title: str, case: Case, picture: bytes | None) -> "Photograph":
        """Show a case, with what its record says."""
        said = [
            ("Subject", case.subject),
            ("Eye", case.eye),
            ("Visit", visit_word(case.visit)),
            ("Grade", None if case.grade is None else f"{case.grade} {grade_word(case.grade)}"),
            ("Findings", ", ".join(findings_of(case) or ()) or None),
            ("Phantom", "yes" if is_phantom(case) else None),
        ]
        facts = tuple((key, value) for key, value in said if value)
        return cls(title=title, picture=picture, name=case.image, facts=facts)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One entry of the page.

    Attributes:
        title: what is said of the pair.
        badge: a few characters beside it, such as "98 %".
        strong: whether the badge stands out.
        pictures: side by side.
        evidence: what that rests on, in words and numbers.
        note: a sentence below.
    """

    title: str
    badge: str = ""
    strong: bool = False
    pictures: Sequence[Photograph] = ()
    evidence: Sequence[tuple[str, str]] = ()
    note: str = ""


@dataclass(frozen=True)
class _View:
    pair: Pair
    sources: list[str | None] = field(default_factory=list)


def pairs_page(
    pairs: Sequence[Pair], *, title: str, lead: str, facts: Sequence[tuple[str, str]] = (), phantoms: bool = False
) -> str:
    """Make a page of pairs that needs nothing else.

    Args:
        pairs: in the order in which they are to be looked at.
        title: of the page.
        lead: what is to be known before looking, such as "No match."
        facts: how it came about.
        phantoms: whether any photograph is a phantom's, which the page then says.
    """
    views = [_View(pair, [data_uri(p.picture) for p in pair.pictures]) for pair in pairs]
    return render(
        "pairs.html",
        title=title,
        lead=lead,
        facts=facts,
        views=views,
        card=[],
        phantoms=int(phantoms),
        pictures=1 + int(phantoms),
    )

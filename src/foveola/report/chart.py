"""Where things stand in the bar chart of an evaluation; the template draws it as SVG."""

import math
from dataclasses import dataclass

from foveola.labels import label_word
from foveola.metrics import Evaluation, Metric

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
        """Horizontal centre."""
        return round(self.x + self.width / 2, 2)

    @property
    def short(self) -> str:
        """The name, cut where it would not fit on a slant."""
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
        """Whether names are slanted, and what stands at a bar is small."""
        return len(self.bars) > FEW

    @property
    def height(self) -> int:
        """Of the drawing."""
        return HEIGHT + _SLANTED * self.crowded


def chart(evaluation: Evaluation, metric: str | None = None) -> Chart:
    """Bars of one metric by label value.

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

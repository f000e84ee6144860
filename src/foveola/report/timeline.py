"""A person's grades by visit, as a small drawing: where each point stands, and what joins them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from foveola.labels import visit_word
from foveola.records import Case, Eye

WIDTH, HEIGHT = 320.0, 132.0
LEFT, RIGHT, TOP, BOTTOM = 26.0, 12.0, 10.0, 22.0  # margins
WORST = 4  # grade


@dataclass(frozen=True)
class Point:
    """A graded photograph: place in the drawing, and whose."""

    x: float
    y: float
    id: int
    grade: int


@dataclass(frozen=True)
class Line:
    """One eye's points in the order of the visits, and the path that joins them."""

    eye: str
    points: tuple[Point, ...]

    @property
    def path(self) -> str:
        """Return the d of an SVG path."""
        return " ".join(f"{'L' if place else 'M'}{p.x:.1f} {p.y:.1f}" for place, p in enumerate(self.points))


@dataclass(frozen=True)
class Visit:
    """A row of the table: what was found in each eye at a visit."""

    word: str | None
    x: float
    eyes: dict[str, list[tuple[int, Case]]]


@dataclass(frozen=True)
class Timeline:
    """Everything that is drawn and said.

    Attributes:
        visits: in order; what has no visit stands last.
        lines: of each eye with a graded photograph; "" stands for an eye that is not known.
        grades: height of each grade's line.
        to_scale: whether distances are times; else visits stand at equal distances.
    """

    visits: tuple[Visit, ...]
    lines: tuple[Line, ...]
    grades: tuple[tuple[int, float], ...]
    to_scale: bool


def timeline(shown: Sequence[tuple[int, Case]]) -> Timeline | None:
    """Draw a person's photographs; None where fewer than two visits are known.

    Args:
        shown: ids and cases of one person, in the order of their visits.
    """
    known = list(dict.fromkeys(case.visit for _, case in shown if case.visit is not None))
    if len(known) < 2:
        return None
    places, to_scale = _places(known)
    visits = tuple(Visit(visit_word(visit), places[visit], _by_eye(shown, visit)) for visit in known)
    sides: tuple[Eye | None, ...] = ("right", "left", None)
    lines = tuple(line for eye in sides if (line := _line(shown, eye, places)).points)
    return Timeline(visits, lines, tuple((g, _height(g)) for g in range(WORST + 1)), to_scale)


def _places(known: Sequence[float | str]) -> tuple[dict[float | str, float], bool]:
    """Where each visit stands, and whether distances are times."""
    times = [_time(visit) for visit in known]
    numbers = [time for time in times if time is not None]
    kinds = {isinstance(visit, str) for visit in known}
    to_scale = len(numbers) == len(known) and len(kinds) == 1 and max(numbers) > min(numbers)
    at = numbers if to_scale else [float(i) for i in range(len(known))]
    span = WIDTH - LEFT - RIGHT
    low, high = min(at), max(at)
    return {visit: LEFT + span * (t - low) / (high - low) for visit, t in zip(known, at, strict=True)}, to_scale


def _time(visit: float | str) -> float | None:
    if not isinstance(visit, str):
        return float(visit)
    try:
        return float(date.fromisoformat(visit).toordinal())
    except ValueError:
        return None


def _by_eye(shown: Sequence[tuple[int, Case]], visit: float | str) -> dict[str, list[tuple[int, Case]]]:
    eyes: dict[str, list[tuple[int, Case]]] = {}
    for id_, case in shown:
        if case.visit == visit:
            eyes.setdefault(case.eye or "", []).append((id_, case))
    return eyes


def _line(shown: Sequence[tuple[int, Case]], eye: Eye | None, places: dict[float | str, float]) -> Line:
    return Line(
        eye or "",
        tuple(
            Point(places[case.visit], _height(case.grade), id_, case.grade)
            for id_, case in shown
            if case.eye == eye and case.visit is not None and case.grade is not None
        ),
    )


def _height(grade: int) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - grade / WORST)

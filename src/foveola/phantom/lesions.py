"""Diabetic lesions and drusen: how many at which grade, where, and from visit to visit.

Numbers follow the International Clinical Diabetic Retinopathy scale (Wilkinson et al.,
Ophthalmology 110 (2003) 1677):

    1  microaneurysms only
    2  more than microaneurysms, less than 3: here at most 20 haemorrhages in all
    3  any of the 4-2-1 rule: more than 20 haemorrhages in each of 4 quadrants, venous
       beading in 2 or more, intraretinal microvascular abnormalities (IRMA) in 1 or more
    4  new vessels or preretinal haemorrhage

A quadrant here is a quarter of the eye's frame (see anatomy.py). Every eye has an endless
list of lesions of each kind in a fixed order; a visit shows as many as its grade asks
for. Old ones stay until their time is up, and the next in the list follow.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

import numpy as np

from foveola.phantom.anatomy import COURSE, LESIONS, EyeModel, Point

ANYWHERE: Final = -1
# Kind -> chance to last from one visit to the next.
_LASTS: Final = {
    "MA": 0.85,
    "HE": 0.80,
    "EX": 0.92,
    "SE": 0.70,
    "NV": 1.0,
    "preretinal": 0.9,
    "IRMA": 1.0,
    "drusen": 1.0,
}
_NUMBER: Final = {kind: i for i, kind in enumerate(_LASTS)}
_GAP: Final = {
    "MA": 0.035,
    "HE": 0.060,
    "EX": 0.20,
    "SE": 0.16,
    "NV": 0.35,
    "preretinal": 0.5,
    "IRMA": 0.10,
    "drusen": 0.025,
}


@dataclass(frozen=True)
class Lesion:
    """One lesion.

    Attributes:
        kind: "MA", "HE", "EX" (a group of exudates), "SE", "NV", "preretinal", "IRMA" or "drusen".
        form: variety within the kind, such as "dot", "blot" or "flame".
        at: centre in the eye's frame.
        radius: in radii of the field of view.
        key: seed of its shape, the same at every visit.
        age: visits since its first.
    """

    kind: str
    form: str
    at: Point
    radius: float
    key: int
    age: int = 0


@dataclass(frozen=True)
class Disease:
    """What is to be seen in one eye at one visit. Beading: quadrants with beaded veins."""

    grade: int
    lesions: tuple[Lesion, ...] = ()
    beading: tuple[int, ...] = ()

    def count(self, kind: str) -> int:
        """Count the lesions of a kind; exudates are counted in groups."""
        return sum(lesion.kind == kind for lesion in self.lesions)

    def findings(self) -> str:
        """Return ODIR letters: D diabetic retinopathy, A drusen, N neither."""
        letters = ["D"] * (self.grade > 0) + ["A"] * (self.count("drusen") > 0)
        return ";".join(letters or ["N"])


def quadrant(at: Point) -> int:
    """Return 0 upper temporal, 1 upper nasal, 2 lower temporal, 3 lower nasal."""
    return int(at[0] >= 0) + 2 * int(at[1] >= 0)


def progress(eye: EyeModel, history: Sequence[int], months: Sequence[int] | None = None) -> Disease:
    """Return the disease at the last of these visits.

    Args:
        eye: whose lesions.
        history: grade 0 to 4 at each visit so far; may stay or rise.
        months: since the first visit, for drusen, which come with age; 12 apart if None.

    Raises:
        ValueError: no visit, a grade outside 0 to 4, or one that falls.
    """
    if not history or any(not 0 <= g <= 4 for g in history):
        raise ValueError(f"expected grades 0 to 4 for at least one visit, got {list(history)}")
    if any(b < a for a, b in pairwise(history)):
        raise ValueError(f"a phantom's grade never falls, got {list(history)}")
    months = months or [12 * v for v in range(len(history))]
    course = _Course(eye)
    alive: dict[tuple[str, int], list[Lesion]] = {}
    pools: dict[tuple[str, int], Iterator[Lesion]] = {}
    for visit, grade in enumerate(history):
        stay = visit - history.index(grade)
        wanted = course.numbers(grade, stay, eye.subject.age + months[visit] / 12)
        for pool, number in wanted.items():
            kept = [replace(x, age=x.age + 1) for x in alive.get(pool, []) if _lasts(x)]
            source = pools.setdefault(pool, _pool(eye, *pool))
            alive[pool] = kept + [next(source) for _ in range(number - len(kept))]
    lesions = tuple(x for group in alive.values() for x in group)
    return Disease(history[-1], lesions, course.beading if history[-1] >= 3 else ())


def _lasts(lesion: Lesion) -> bool:
    """Whether it is still there one visit later; drawn from its key, so always the same."""
    draw = np.random.default_rng([lesion.key, lesion.age, 1]).random()
    return bool(draw < _LASTS[lesion.kind])


@dataclass
class _Course:
    """How the disease runs in one eye: which of the 4-2-1 signs, and how many of each kind."""

    eye: EyeModel
    many: bool = False
    beading: tuple[int, ...] = ()
    irma: tuple[int, ...] = ()
    draw: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rng = self.eye.stream(0, COURSE)
        many, beads, irma = (bool(rng.random() < p) for p in (0.4, 0.5, 0.55))
        if not (many or beads or irma):
            many, irma = True, False
        order = [int(q) for q in rng.permutation(4)]
        self.many = many
        self.beading = tuple(order[: int(rng.integers(2, 5))]) if beads else ()
        self.irma = tuple(order[: int(rng.integers(1, 4))]) if irma else ()
        self.draw = {kind: float(rng.random()) for kind in _LASTS}

    def numbers(self, grade: int, stay: int, age: float) -> dict[tuple[str, int], int]:
        """Count the lesions wanted of each kind and quadrant, `stay` visits after the grade began."""
        u, wanted = self.draw, {}
        more = min(1 + 0.12 * stay, 1.4)
        if grade >= 1:
            few, span = ((2, 4), (5, 9), (9, 14), (8, 15))[grade - 1]
            wanted["MA", ANYWHERE] = round((few + span * u["MA"]) * more)
        if grade >= 2:
            wanted.update(self._haemorrhages(grade, more))
            groups = ((0, 3), (0, 5), (0, 5))[grade - 2]
            wanted["EX", ANYWHERE] = round((groups[0] + groups[1] * u["EX"]) * more)
            spots = ((-0.7, 2.2), (0.6, 4), (0, 4))[grade - 2]
            wanted["SE", ANYWHERE] = max(0, round((spots[0] + spots[1] * u["SE"]) * more))
        if grade >= 3:
            wanted.update({("IRMA", q): 2 for q in self.irma})
        if grade == 4:
            bleeding = u["preretinal"] < 0.40
            wanted["preretinal", ANYWHERE] = int(bleeding)
            lone = u["preretinal"] < 0.08 and stay == 0  # the bleeding hides its source
            wanted["NV", ANYWHERE] = 0 if lone else 1 + int(2.4 * u["NV"]) + (stay > 1)
        if age >= self.eye.subject.drusen_age:
            years = min(age - self.eye.subject.drusen_age, 20)
            wanted["drusen", ANYWHERE] = int(18 + 60 * u["drusen"] + 3 * years)
        return wanted

    def _haemorrhages(self, grade: int, more: float) -> dict[tuple[str, int], int]:
        u = self.draw["HE"]
        if grade >= 3 and self.many:
            return {("HE", q): 22 + round((4 * u + 2) * more) for q in range(4)}
        total = round((3 + 10 * u) * more) if grade == 2 else round((14 + 26 * u) * more)
        share = np.array([0.1, 0.2, 0.3, 0.4])[np.argsort([(u * k) % 1 for k in (7, 13, 29, 53)])]
        return {("HE", q): max(int(q == 0), round(total * float(share[q]))) for q in range(4)}


def _pool(eye: EyeModel, kind: str, where: int) -> Iterator[Lesion]:
    """The eye's endless list of lesions of a kind in a quadrant or ANYWHERE."""
    seed = [int(eye.stream(0, LESIONS).integers(2**31)), _NUMBER[kind], where + 1, 7]
    rng = np.random.default_rng(seed)
    taken: list[Point] = []
    gap = _GAP[kind]
    while True:
        for attempt in range(60):
            at = _place(rng, eye, kind, where)
            crowd = gap * (0.97**attempt)  # where it gets crowded, closer is allowed
            if all((at[0] - x) ** 2 + (at[1] - y) ** 2 > crowd**2 for x, y in taken[-200:]):
                break
        taken.append(at)
        form, radius = _form(rng, kind)
        yield Lesion(kind, form, at, radius, int(rng.integers(2**31)))


def _place(rng: np.random.Generator, eye: EyeModel, kind: str, where: int) -> Point:
    """A spot where such lesions occur, off the disc, in every camera's view."""
    (fx, fy), (dx, dy) = eye.fovea, eye.disc
    while True:
        if kind == "drusen":
            r, a = abs(rng.normal(0, 0.17)), rng.uniform(0, 2 * np.pi)
            x, y = fx + r * np.cos(a), fy + r * np.sin(a)
        elif kind == "EX":
            r, a = rng.uniform(0.08, 0.5), rng.uniform(0, 2 * np.pi)
            x, y = fx + r * np.cos(a), fy + r * np.sin(a)
        elif kind == "SE":
            r, a = rng.uniform(0.25, 0.75), rng.uniform(0, 2 * np.pi)
            x, y = dx + r * np.cos(a), dy + r * np.sin(a)
        else:
            wide = 0.5 if kind == "preretinal" else 0.74
            x, y = rng.uniform(-wide, wide), rng.uniform(-0.60, 0.60)
        if kind == "NV" and rng.random() < 0.4:  # on the disc
            return (dx + float(rng.normal(0, 0.03)), dy + float(rng.normal(0, 0.05)))
        at = (float(x), float(y))
        if where != ANYWHERE and quadrant(at) != where:
            continue
        if _allowed(eye, kind, at):
            return at


def _allowed(eye: EyeModel, kind: str, at: Point) -> bool:
    from_disc = np.hypot(at[0] - eye.disc[0], at[1] - eye.disc[1])
    from_fovea = np.hypot(at[0] - eye.fovea[0], at[1] - eye.fovea[1])
    clear = {"MA": 0.05, "HE": 0.09, "EX": 0.07, "SE": 0.3, "drusen": 0.0, "IRMA": 0.28}
    off = 0.16 + {"preretinal": 0.16, "NV": 0.1, "SE": 0.05}.get(kind, 0.0)
    inside = np.hypot(*at) < 0.80 and abs(at[1]) < 0.62
    return bool(inside and from_disc > off and from_fovea > clear.get(kind, 0.36))


def _form(rng: np.random.Generator, kind: str) -> tuple[str, float]:
    """Variety and radius."""
    if kind == "HE":
        form = str(rng.choice(["dot", "blot", "flame"], p=[0.40, 0.35, 0.25]))
        low, high = {"dot": (0.009, 0.015), "blot": (0.015, 0.034), "flame": (0.028, 0.055)}[form]
        return form, float(low + (high - low) * rng.random() ** 1.6)
    if kind == "EX":
        form = str(rng.choice(["cluster", "ring", "spray"], p=[0.5, 0.25, 0.25]))
        return form, float(rng.uniform(0.05, 0.13))
    low, high = {
        "MA": (0.0058, 0.0090),
        "SE": (0.026, 0.050),
        "NV": (0.11, 0.19),
        "preretinal": (0.13, 0.26),
        "IRMA": (0.05, 0.08),
        "drusen": (0.005, 0.022),
    }[kind]
    return kind, float(low + (high - low) * rng.random() ** (2.5 if kind == "drusen" else 1))

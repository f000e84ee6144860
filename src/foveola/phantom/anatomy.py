"""The subject and the two eyes: everything that stays the same from visit to visit.

Everything lies in the eye's frame: a right eye as photographed, x to the nose, y down,
origin at the posterior pole, unit = radius of a 45-50 degree field of view. A left eye has
the same frame and is mirrored by the camera, so the two eyes of a subject share tendencies and
are mirror-like, and each has its own disc, fovea and vessels.

Vessels are four arcades each of arteries and veins, and side branches grown from them. Trunks
are Bezier curves around the macula. Branches grow step by step, widest first; each steers
along its aim (towards the fovea inside the arcades, outwards elsewhere), keeps clear of
vessels of its own kind, as real arteries never cross arteries, and ends before the fovea.
"""

import heapq
import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from foveola.records import Eye

Floats = NDArray[np.float32]
Point = tuple[float, float]
Cell = tuple[int, int]

# Last number of a random stream's key: one stream must not shift when another changes.
TRAITS, EYE, TREE, RETINA, LESIONS, COURSE, CAMERA, PIXELS = range(1, 9)
_SIDE: Final[dict[str, int]] = {"both": 0, "right": 1, "left": 2}


def stream(seed: int, subject: int, eye: str, visit: int, purpose: int) -> np.random.Generator:
    """Return random numbers that depend on these five values and on nothing else."""
    return np.random.default_rng([seed, subject, _SIDE[eye], visit, purpose])


@dataclass(frozen=True)
class Vessel:
    """One branch: points (P, 2) and widths (P,) in radii of the field of view."""

    points: Floats
    widths: Floats
    artery: bool


@dataclass(frozen=True)
class Subject:
    """What both eyes of one person share.

    Attributes:
        pigment: melanin of the fundus, 0 (blond) to 1 (dark).
        tessellation: how far the choroid's vessels shine through, 0 to 1.
        calibre: factor on vessel widths.
        tortuosity: factor on the winding of vessels.
        arcade: (4, 3, 2) shifts of the trunks' Bezier controls.
        drusen_age: age at which drusen begin; beyond 100 for most.
    """

    seed: int
    number: int
    age: int
    sex: str
    pigment: float
    tessellation: float
    calibre: float
    tortuosity: float
    cup: float
    arcade: Floats
    drusen_age: float


@dataclass(frozen=True)
class EyeModel:
    """One eye: landmarks, vessels and tendencies. Lengths in radii of the field of view."""

    subject: Subject
    eye: Eye
    fovea: Point
    disc: Point
    disc_axes: Point
    disc_tilt: float
    cup: float
    cup_at: Point
    crescent: float
    vessels: tuple[Vessel, ...]

    def stream(self, visit: int, purpose: int) -> np.random.Generator:
        """Return random numbers of this eye's own."""
        return stream(self.subject.seed, self.subject.number, self.eye, visit, purpose)


def make_subject(seed: int, number: int) -> Subject:
    """Make the subject of that number; the same for every call with the same two numbers."""
    rng = stream(seed, number, "both", 0, TRAITS)
    age = int(np.clip(rng.normal(57, 13), 21, 88))
    pigment = float(rng.beta(2.2, 2.2))
    thin = float(rng.beta(1.2, 2.6))
    return Subject(
        seed=seed,
        number=number,
        age=age,
        sex=str(rng.choice(["F", "M"])),
        pigment=pigment,
        tessellation=float(np.clip(0.15 + thin + 0.004 * (age - 50), 0.05, 1)),
        calibre=float(rng.uniform(0.88, 1.12)),
        tortuosity=float(rng.uniform(0.7, 1.35)),
        cup=float(np.clip(rng.normal(0.42, 0.11), 0.2, 0.72)),
        arcade=rng.normal(0, 0.075, (4, 3, 2)).astype(np.float32),
        drusen_age=float(rng.uniform(50, 85) if rng.random() < 0.28 else 200),
    )


def make_eye(subject: Subject, eye: Eye) -> EyeModel:
    """Make one of the subject's eyes, vessels grown. Takes about 30 ms."""
    rng = stream(subject.seed, subject.number, eye, 0, EYE)
    radius = float(rng.normal(0.132, 0.006))
    fovea = (float(rng.normal(-0.10, 0.02)), float(rng.normal(0.04, 0.02)))
    far, dip = 2 * radius * float(rng.normal(2.5, 0.08)), float(rng.normal(0.11, 0.03))
    disc = (fovea[0] + far * math.cos(dip), fovea[1] - far * math.sin(dip))
    return EyeModel(
        subject=subject,
        eye=eye,
        fovea=fovea,
        disc=disc,
        disc_axes=(radius * float(rng.uniform(0.88, 0.97)), radius * float(rng.uniform(1.02, 1.1))),
        disc_tilt=float(rng.normal(0, 0.2)),
        cup=float(np.clip(subject.cup + rng.normal(0, 0.04), 0.15, 0.8)),
        cup_at=(float(rng.uniform(-0.16, -0.04)), float(rng.uniform(-0.06, 0.06))),
        crescent=float(np.clip(rng.normal(-0.1, 0.45), 0, 1)),
        vessels=_grow(subject, eye, fovea, disc, radius),
    )


def _grow(subject: Subject, eye: Eye, fovea: Point, disc: Point, radius: float) -> tuple[Vessel, ...]:
    rng = stream(subject.seed, subject.number, eye, 0, TREE)
    tree = Tree(rng, fovea=fovea, disc=disc, disc_radius=radius, calibre=subject.calibre, tortuosity=subject.tortuosity)
    for artery in (False, True):
        for k, controls in enumerate(_arcades(rng, fovea, disc, artery)):
            controls[1:] += 0.8 * subject.arcade[k]
            width = (0.0235 if k < 2 else 0.0165) * float(rng.uniform(0.9, 1.1))
            tree.trunk(controls, width * (0.76 if artery else 1), artery=artery)
    for _ in range(int(rng.integers(3, 6))):  # macular vessels straight from the disc
        heading = math.pi + float(rng.uniform(-0.7, 0.7))
        tree.sprout(heading, 0.007, artery=bool(rng.random() < 0.6), inner=True)
    for _ in range(int(rng.integers(3, 7))):  # short nasal ones
        heading = float(rng.uniform(-1.2, 1.2))
        tree.sprout(heading, 0.010, artery=bool(rng.random() < 0.5), inner=False)
    tree.grow()
    return tuple(tree.vessels)


def _arcades(rng: np.random.Generator, fovea: Point, disc: Point, artery: bool) -> list[Floats]:
    """Bezier controls (4, 2) of the upper and lower temporal, then of the nasal trunks."""
    (fx, fy), (dx, dy) = fovea, disc
    trunks = []
    for temporal in (True, False):
        for up in (-1, 1):
            # Arteries run inside veins as a rule, by a distance that differs.
            lift = float(rng.uniform(0.06, 0.16)) * (-0.5 if artery else 0.5)
            if temporal:
                middle = (dx + 0.06 - lift, dy + 0.46 * up), (fx + 0.30, fy + (0.74 + lift) * up)
                end = (fx - 0.98, fy + (0.40 + lift) * up)
            else:
                middle = (dx + 0.10 + lift, dy + 0.22 * up), (dx + 0.16 + lift, dy + 0.50 * up)
                end = (dx + 0.34 + 2 * lift, dy + 1.00 * up)
            trunks.append(np.array([(dx + 0.02, dy + 0.01 * up), *middle, end], np.float32))
    spread = np.array([0.010, 0.045, 0.07, 0.13])[:, None]  # of chance: little at the disc, more outwards
    return [trunk + np.asarray(rng.normal(0, 1, (4, 2)) * spread, np.float32) for trunk in trunks]


# --- vessels ---


STEP = 0.02
CELL = 0.028  # of the grid that keeps vessels of one kind apart
THINNEST = 0.0036
REACH = 1.3  # grow beyond the field of view, so that a shifted camera sees no ends


@dataclass(order=True)
class _Bud:
    """A branch that waits to grow; the widest grows first."""

    rank: tuple[float, int]
    at: Point = field(compare=False)
    heading: float = field(compare=False)
    width: float = field(compare=False)
    length: float = field(compare=False)
    artery: bool = field(compare=False)
    inner: bool = field(compare=False)
    generation: int = field(compare=False)
    parent: int = field(compare=False)


class Tree:
    """Grows all vessels of one eye; read the result from `vessels`."""

    def __init__(
        self,
        rng: np.random.Generator,
        *,
        fovea: Point,
        disc: Point,
        disc_radius: float,
        calibre: float,
        tortuosity: float,
    ) -> None:
        self.vessels: list[Vessel] = []
        self._rng = rng
        self._fovea, self._disc, self._disc_radius = fovea, disc, disc_radius
        self._calibre, self._tortuosity = calibre, tortuosity
        self._taken: dict[bool, dict[Cell, int]] = {True: {}, False: {}}
        self._buds: list[_Bud] = []
        self._count = 0
        self._zone = float(rng.uniform(0.09, 0.12))  # foveal avascular zone

    def trunk(self, controls: Floats, width: float, *, artery: bool) -> None:
        """Lay a trunk along a cubic Bezier curve, controls (4, 2), and bud its branches."""
        t = np.linspace(0, 1, 90, dtype=np.float32)[:, None]
        a, b, c, d = controls
        curve = a * (1 - t) ** 3 + 3 * b * t * (1 - t) ** 2 + 3 * c * t**2 * (1 - t) + d * t**3
        curve = _even(curve, STEP)
        tangent = np.gradient(curve, axis=0)
        normal = np.stack([-tangent[:, 1], tangent[:, 0]], 1) / STEP
        curve += normal * self._wobble(len(curve))[:, None]
        self._lay(curve, width * self._calibre, 0.62, artery, generation=0, inner=None)

    def sprout(self, heading: float, width: float, *, artery: bool, inner: bool) -> None:
        """Let a small vessel leave the disc directly, as the macular and nasal ones do."""
        r = 0.25 * self._disc_radius
        at = (self._disc[0] + r * math.cos(heading), self._disc[1] + r * math.sin(heading))
        self._push(at, heading, width * self._calibre, 0.75, artery, inner, 1, -1)

    def grow(self) -> None:
        """Grow every bud, and the buds of these, until none is left."""
        while self._buds:
            bud = heapq.heappop(self._buds)
            points = self._walk(bud)
            if len(points) >= 4:
                curve = np.array(points, np.float32)
                self._lay(curve, bud.width, 0.5, bud.artery, bud.generation, bud.inner)

    def _wobble(self, n: int) -> Floats:
        """(n,) smooth sideways offset of a trunk, small at the disc: slow and quick waves."""
        wave = np.zeros(n)
        for every, size in ((14, 0.014), (5, 0.0045)):
            knots = self._rng.normal(0, size * self._tortuosity, n // every + 2)
            rough = np.interp(np.linspace(0, len(knots) - 1, n), np.arange(len(knots)), knots)
            kernel = np.hanning(every + 4)
            pad = np.pad(rough, ((every + 3) // 2, (every + 4) // 2), "edge")
            wave += np.convolve(pad, kernel / kernel.sum(), "valid")[:n]
        return np.asarray(wave * np.clip(0.3 + np.arange(n) / 12, 0, 1), np.float32)

    def _lay(
        self, curve: Floats, width: float, taper: float, artery: bool, generation: int, inner: bool | None
    ) -> None:
        widths = width * np.linspace(1, 1 - taper, len(curve), dtype=np.float32)
        self._count += 1
        for x, y in curve.tolist():
            self._taken[artery].setdefault(_cell(x, y), self._count)
        self.vessels.append(Vessel(curve, widths, artery))
        if generation < 4:
            self._bud_along(curve, widths, artery, generation, inner)

    def _bud_along(self, curve: Floats, widths: Floats, artery: bool, generation: int, inner: bool | None) -> None:
        rng, side = self._rng, 1 if self._rng.random() < 0.5 else -1
        at = self._disc_radius + 0.05 if generation == 0 else rng.uniform(0.04, 0.12)
        last = (len(curve) - 2) * STEP
        while at < last:
            i = int(at / STEP)
            x, y = curve[i].tolist()
            dx, dy = (curve[i + 1] - curve[i]).tolist()
            heading = math.atan2(dy, dx) + side * rng.uniform(0.5, 1.0)
            into = self._faces_fovea((x, y), heading) if inner is None else inner
            share = rng.uniform(0.30, 0.55) if into else rng.uniform(0.35, 0.85)
            length = rng.uniform(0.25, 0.6) if into else rng.uniform(0.3, 0.85)
            length *= 0.8**generation
            self._push((x, y), heading, float(widths[i]) * share, length, artery, into, generation + 1, self._count)
            side = -side if rng.random() < 0.75 else side
            at += rng.uniform(0.09, 0.24) * (1.0 if generation == 0 else 1.15)
        self._fork(curve, widths, artery, generation, bool(inner))

    def _fork(self, curve: Floats, widths: Floats, artery: bool, generation: int, inner: bool) -> None:
        """End a branch in two thinner ones instead of a stump."""
        (x0, y0), (x1, y1) = curve[-2].tolist(), curve[-1].tolist()
        heading, spread = math.atan2(y1 - y0, x1 - x0), self._rng.uniform(0.2, 0.5)
        for turn, share in ((spread, 0.9), (-spread * 0.8, 0.75)):
            self._push(
                (x1, y1),
                heading + turn,
                float(widths[-1]) * share,
                0.4 * 0.8**generation,
                artery,
                inner,
                generation + 1,
                self._count,
            )

    def _push(
        self,
        at: Point,
        heading: float,
        width: float,
        length: float,
        artery: bool,
        inner: bool,
        generation: int,
        parent: int,
    ) -> None:
        if width < THINNEST:
            return
        rank = (-width, len(self._buds) + 1000 * self._count)
        bud = _Bud(rank, at, heading, width, length, artery, inner, generation, parent)
        heapq.heappush(self._buds, bud)

    def _faces_fovea(self, at: Point, heading: float) -> bool:
        dx, dy = self._fovea[0] - at[0], self._fovea[1] - at[1]
        near = math.hypot(dx, dy) < 0.85 and at[0] < self._disc[0] - 0.1
        return near and dx * math.cos(heading) + dy * math.sin(heading) > 0

    def _walk(self, bud: _Bud) -> list[Point]:
        """Points of a branch, STEP apart; it turns away from its own kind or stops."""
        rng, taken = self._rng, self._taken[bud.artery]
        steps = int(bud.length / STEP)
        noise = rng.normal(0, 0.18 * self._tortuosity, steps).tolist()
        bias, pull = rng.uniform(-0.5, 0.5), 0.045 if bud.inner else 0.03
        (x, y), heading, curl = bud.at, bud.heading, 0.0
        points = [bud.at]
        for i in range(steps):
            curl = 0.62 * curl + 0.45 * noise[i]
            turn = self._aim(x, y, bud.inner) + bias - heading
            turn = (turn + math.pi) % (2 * math.pi) - math.pi
            heading += curl + pull * max(-1.0, min(1.0, turn)) * 1.6
            if i > 2:
                free = self._clear(x, y, heading, taken)
                if free is None:
                    break
                heading = free
            x, y = x + STEP * math.cos(heading), y + STEP * math.sin(heading)
            if self._ends(x, y, bud.parent):
                break
            points.append((x, y))
        return points

    def _aim(self, x: float, y: float, inner: bool) -> float:
        fx, fy = self._fovea
        if inner:
            return math.atan2(fy - y, fx - x)
        ox, oy = 0.55 * fx + 0.45 * self._disc[0], 0.55 * fy + 0.45 * self._disc[1]
        return math.atan2(y - oy, x - ox)

    @staticmethod
    def _clear(x: float, y: float, heading: float, taken: dict[Cell, int]) -> float | None:
        """Heading of the nearest free way, or None where all are taken."""
        for turn in (0.0, 0.3, -0.3):
            dx, dy = math.cos(heading + turn), math.sin(heading + turn)
            ahead = [_cell(x + far * dx, y + far * dy) for far in (0.035, 0.06)]
            if not any(cell in taken for cell in ahead):
                return heading + turn
        return None

    def _ends(self, x: float, y: float, parent: int) -> bool:
        if math.hypot(x, y) > REACH:
            return True
        if math.hypot(x - self._fovea[0], y - self._fovea[1]) < self._zone:
            return True
        near_disc = math.hypot(x - self._disc[0], y - self._disc[1]) < 0.7 * self._disc_radius
        return near_disc and parent >= 0  # the disc's own vessels start there


def _cell(x: float, y: float) -> Cell:
    return round(x / CELL), round(y / CELL)


def _even(curve: Floats, step: float) -> Floats:
    """Resample a curve (P, 2) at equal steps of arc length."""
    arc = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(curve, axis=0).T))])
    s = np.arange(0, arc[-1], step)
    return np.stack([np.interp(s, arc, curve[:, k]) for k in (0, 1)], 1).astype(np.float32)

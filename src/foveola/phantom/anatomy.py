"""The subject and the two eyes: everything that stays the same from visit to visit.

Frame of an eye: see vessels.py. A left eye has the same frame and is mirrored by the
camera, so the two eyes of a subject share tendencies and are mirror-like, and each has
its own disc, fovea and vessels.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from foveola.phantom.vessels import Floats, Point, Tree, Vessel
from foveola.records import Eye

# Last number of a random stream's key: one stream must not shift when another changes.
TRAITS, EYE, TREE, RETINA, LESIONS, COURSE, CAMERA, PIXELS = range(1, 9)
_SIDE: Final[dict[str, int]] = {"both": 0, "right": 1, "left": 2}


def stream(seed: int, subject: int, eye: str, visit: int, purpose: int) -> np.random.Generator:
    """Random numbers that depend on these five values and on nothing else."""
    return np.random.default_rng([seed, subject, _SIDE[eye], visit, purpose])


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
        """Random numbers of this eye's own."""
        return stream(self.subject.seed, self.subject.number, self.eye, visit, purpose)

    @property
    def disc_diameter(self) -> float:
        """Mean diameter of the disc; the usual yardstick on the retina."""
        return self.disc_axes[0] + self.disc_axes[1]


def make_subject(seed: int, number: int) -> Subject:
    """The subject of that number; the same for every call with the same two numbers."""
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
    """One of the subject's eyes, vessels grown. Takes about 30 ms."""
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
    return [trunk + _shake(rng) for trunk in trunks]


def _shake(rng: np.random.Generator) -> Floats:
    """(4, 2) of chance: little at the disc, more outwards."""
    spread = np.array([0.010, 0.045, 0.07, 0.13])[:, None]
    return np.asarray(rng.normal(0, 1, (4, 2)) * spread, np.float32)

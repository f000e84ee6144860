"""The fundus without vessels: pigment, choroid, nerve fibres, macula and disc.

Made once per eye in the eye's own frame, then seen by the camera at every visit.
"""

import math
from functools import partial

import cv2
import numpy as np

from foveola.phantom.anatomy import RETINA, EyeModel
from foveola.phantom.vessels import Floats

EXTENT = 1.3  # half the side of the map, in radii of the field of view


def paint(eye: EyeModel, side: int) -> Floats:
    """(side, side, 3) reflectance, RGB, about 0 to 1, over [-EXTENT, EXTENT] squared."""
    rng = eye.stream(0, RETINA)
    axis = np.linspace(-EXTENT, EXTENT, side, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    dark = eye.subject.pigment
    colour = np.array([0.86 - 0.20 * dark, 0.45 - 0.15 * dark, 0.24 - 0.07 * dark], np.float32)
    shade = _choroid(rng, eye, x, y)
    shade += 0.05 * clouds(rng, side, (4, 9)) + 0.035 * clouds(rng, side, (45, side // 3))
    layers = [np.exp(shade * k) * c for c, k in zip(colour, (0.55, 1.0, 1.1), strict=True)]
    retina = np.dstack(layers).astype(np.float32)
    _nerve_fibres(rng, eye, x, y, retina)
    _macula(rng, eye, x, y, retina)
    _disc(rng, eye, x, y, retina)
    return retina


def clouds(rng: np.random.Generator, side: int, cells: tuple[int, ...]) -> Floats:
    """(side, side) smooth noise of about unit variance, one octave for each cell count."""
    total = np.zeros((side, side), np.float32)
    for n in cells:
        coarse = rng.standard_normal((n, n), dtype=np.float32)
        total += cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    return total * (1.25 / math.sqrt(len(cells)))


def _bump(x: Floats, y: Floats, at: tuple[float, float], sigma: float) -> Floats:
    r2 = (x - at[0]) ** 2 + (y - at[1]) ** 2
    return np.asarray(np.exp(r2 * (-0.5 / sigma**2)), np.float32)


def _step(x: Floats, low: float, high: float) -> Floats:
    """Smooth step: 0 below low, 1 above high."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _choroid(rng: np.random.Generator, eye: EyeModel, x: Floats, y: Floats) -> Floats:
    """Log-shade of the tessellated fundus: choroidal vessels run outwards from the macula.

    Stripes are noise in polar coordinates, long along the radius, bent by a second noise.
    """
    side = len(x)
    bend = 0.03 * clouds(rng, side, (7, 23)), 0.03 * clouds(rng, side, (7, 23))
    dx, dy = x - eye.fovea[0] + bend[0], y - eye.fovea[1] + bend[1]
    r = np.sqrt(dx * dx + dy * dy)
    turn = (np.arctan2(dy, dx) / (2 * math.pi) + 0.5) % 1.0
    noise = rng.standard_normal((24, 120), dtype=np.float32)
    noise = np.tile(noise, (1, 3))[:, 118:-118]  # wraps around, with room for the cubic kernel
    u = (2 + turn * 120).astype(np.float32)
    v = np.clip(2 + r * 11, 2, 21).astype(np.float32)
    stripes = cv2.remap(noise, u, v, cv2.INTER_CUBIC)
    ridges = np.tanh(1.3 * stripes)
    away = _step(r, 0.28, 0.90)
    return np.asarray(0.13 * eye.subject.tessellation**1.5 * away * ridges, np.float32)


def _nerve_fibres(rng: np.random.Generator, eye: EyeModel, x: Floats, y: Floats, retina: Floats) -> None:
    """A faint silky sheen of stripes that fan out above and below the disc; fades with age."""
    dx, dy = x - eye.disc[0], y - eye.disc[1]
    r = np.sqrt(dx * dx + dy * dy)
    bent = np.arctan2(dy, -dx) * (1 + 0.35 * r)
    noise = rng.standard_normal((6, 160), dtype=np.float32)
    u, v = ((bent / math.pi + 1.6) * 48).astype(np.float32), np.clip(1 + r * 2, 1, 4)
    silk = cv2.remap(noise, u, v.astype(np.float32), cv2.INTER_CUBIC)
    band = np.exp(-(((np.abs(bent) - 1.15) / 0.45) ** 2)) * np.exp(-(((r - 0.3) / 0.28) ** 2))
    sheen = band * (0.5 + 0.35 * silk) * (0.16 * np.clip(1.6 - eye.subject.age / 60, 0.15, 1))
    retina += sheen[..., None].astype(np.float32) * np.array([0.45, 0.8, 0.6], np.float32)


def _macula(rng: np.random.Generator, eye: EyeModel, x: Floats, y: Floats, retina: Floats) -> None:
    """Darker around the fovea, darkest in it; a pinpoint reflex in young eyes."""
    sized = partial(_bump, x, y, eye.fovea)
    wide, near = sized(float(rng.uniform(0.16, 0.22))), sized(float(rng.uniform(0.05, 0.07)))
    deep = float(rng.uniform(0.8, 1.2))
    for k, (a, b) in enumerate(((0.10, 0.18), (0.24, 0.32), (0.34, 0.34))):
        retina[..., k] *= (1 - deep * a * wide) * (1 - deep * b * near)
    if eye.subject.age < 50:
        retina += 0.10 * sized(0.010)[..., None]


def _disc(rng: np.random.Generator, eye: EyeModel, x: Floats, y: Floats, retina: Floats) -> None:
    """Disc with a pink rim, a pale cup set towards the fovea, and a halo around it."""
    c, s = math.cos(eye.disc_tilt), math.sin(eye.disc_tilt)
    dx, dy = x - eye.disc[0], y - eye.disc[1]
    u, v = (c * dx + s * dy) / eye.disc_axes[0], (c * dy - s * dx) / eye.disc_axes[1]
    wave = 0.03 * clouds(rng, len(x), (18,))
    r = np.sqrt(u * u + v * v) + wave
    retina *= 1 + 0.12 * np.exp(-np.clip(r - 1, 0, None) * 1.6)[..., None]
    crescent = np.sqrt((u + 0.22) ** 2 + v * v) + 2 * wave  # scleral crescent, temporal
    _blend(retina, (0.97, 0.75, 0.48), 0.55 * eye.crescent * (1 - _step(crescent, 0.97, 1.12)))
    rim = 1 - _step(r, 0.90, 1.08 + 0.05 * np.clip(u, 0, 1).mean())
    tone = 0.03 * clouds(rng, len(x), (30, 60))
    temporal = np.clip(-u, 0, 1)  # the temporal rim is paler
    retina *= 1 - rim[..., None]
    rims = np.array([1.08, 0.64, 0.33], np.float32)
    pale = np.array([0.06, 0.16, 0.12], np.float32)
    retina += rim[..., None] * (rims + temporal[..., None] * pale + tone[..., None])
    w = np.sqrt((u - eye.cup_at[0]) ** 2 + ((v - eye.cup_at[1]) / 1.05) ** 2) + wave
    cup = 0.85 * (1 - _step(w, 0.6 * eye.cup, 1.25 * eye.cup))
    _blend(retina, (1.22, 0.98, 0.62), cup)
    ring = np.exp(-(((r - 1.02) / 0.06) ** 2))
    retina *= 1 - 0.07 * ring[..., None]


def _blend(image: Floats, colour: tuple[float, float, float], share: Floats) -> None:
    """Mix a colour into (H, W, 3) where share (H, W) says so."""
    image += share[..., None] * (np.array(colour, np.float32) - image)

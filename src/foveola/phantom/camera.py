"""The camera: where it points, what it sees of the eye, and what its pictures look like.

The camera of a visit is drawn without a look at the disease, so no grade can be told
from the field of view, the colours or the noise.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from foveola.phantom.anatomy import CAMERA, PIXELS, EyeModel, Floats, stream
from foveola.phantom.drawing import Bytes, View, soften

RIM: Final = 0.975  # field of view's radius in half image sides
_STRAY: Final = (0.55, 0.85, 0.80)  # colour of stray light


@dataclass(frozen=True)
class Camera:
    """A make of camera.

    Attributes:
        cut: the field of view ends this far above and below its centre, in radii; 1 = round.
        notch: whether a small tooth at the edge marks the upper right.
        cast: factors on red, green and blue.
        gamma: below 1 lifts the shadows.
        blur: sigma in pixels at 512.
        noise: standard deviation in grey values.
        dimming: loss of light at the edge, 0 to 1.
        rim: strength of the bluish haze that some lenses show at the edge.
    """

    name: str
    cut: float
    notch: bool
    cast: tuple[float, float, float]
    gamma: float
    blur: float
    noise: float
    dimming: float
    rim: float


CAMERAS: Final = (
    Camera("amber", 1.0, False, (0.94, 0.98, 0.82), 1.00, 0.40, 1.6, 0.30, 0.05),
    Camera("brick", 0.84, True, (0.92, 0.84, 0.66), 1.05, 0.35, 1.3, 0.35, 0.03),
    Camera("rose", 1.0, False, (0.90, 0.90, 1.10), 0.95, 0.50, 2.0, 0.22, 0.10),
    Camera("ochre", 0.90, False, (0.93, 1.00, 0.56), 1.05, 0.50, 2.2, 0.32, 0.06),
    Camera("umber", 1.0, True, (0.76, 0.80, 0.62), 1.12, 0.50, 2.4, 0.42, 0.12),
    Camera("scarlet", 0.92, False, (1.00, 0.80, 0.58), 1.00, 0.40, 1.8, 0.28, 0.04),
)


@dataclass(frozen=True)
class Shot:
    """One exposure: a camera and how it was held. Shift in radii, turn in radians."""

    camera: Camera
    shift: tuple[float, float]
    turn: float
    zoom: float
    brightness: float
    contrast: float
    tint: tuple[float, float, float]
    light_from: tuple[float, float]
    haze: float
    defocus: float

    def view(self, eye: EyeModel, size: int) -> View:
        """Return how the retina falls on an image of size x size pixels."""
        scale, middle = RIM * size / 2, (size - 1) / 2
        c, s = self.zoom * math.cos(self.turn), self.zoom * math.sin(self.turn)
        side = 1 if eye.eye == "right" else -1  # a left eye is seen mirrored
        matrix = np.array([[c * side, -s, self.shift[0]], [s * side, c, self.shift[1]]]) * scale
        matrix[:, 2] += middle
        return View(matrix, scale, size)


def aim(eye: EyeModel, visit: int) -> Shot:
    """Choose the shot of this eye at this visit. Most visits use the subject's usual camera."""
    home = stream(eye.subject.seed, eye.subject.number, "both", 0, CAMERA)
    day = stream(eye.subject.seed, eye.subject.number, "both", visit + 1, CAMERA)
    usual, other = home.integers(len(CAMERAS)), day.integers(len(CAMERAS))
    camera = CAMERAS[int(usual if day.random() < 0.65 else other)]
    rng = eye.stream(visit, CAMERA)
    tint = rng.normal(1, (0.02, 0.03, 0.05))
    return Shot(
        camera=camera,
        shift=(float(rng.uniform(-0.05, 0.05)), float(rng.uniform(-0.05, 0.05))),
        turn=math.radians(float(np.clip(rng.normal(0, 2.2), -5, 5))),
        zoom=float(rng.uniform(0.97, 1.06)),
        brightness=float(np.clip(rng.normal(1.0, 0.09), 0.78, 1.2)),
        contrast=float(rng.uniform(0.94, 1.08)),
        tint=(float(tint[0]), float(tint[1]), float(tint[2])),
        light_from=(float(rng.normal(0, 0.22)), float(rng.normal(0, 0.22))),
        haze=float(max(0.0, rng.normal(0.0, 0.5))),
        defocus=float(0.5 * rng.random() ** 2),
    )


@lru_cache(maxsize=len(CAMERAS))
def aperture(camera: Camera, size: int) -> Floats:
    """Return (S, S) float32: 1 where the camera sees the eye, soft within a pixel at the edge."""
    scale = RIM * size / 2
    x, y = _grid(size)
    r = np.sqrt(x * x + y * y)
    seen = np.clip((1 - r) * scale + 0.5, 0, 1)
    if camera.cut < 1:
        seen = seen * np.clip((camera.cut - np.abs(y)) * scale + 0.5, 0, 1)
    if camera.notch:
        u, v = x * math.cos(0.62) - y * math.sin(0.62), x * math.sin(0.62) + y * math.cos(0.62)
        tooth = np.minimum(0.022 - np.abs(v), 1.022 - u) * scale
        seen = np.maximum(seen, np.clip(tooth, 0, 1) * (u > 0.9))
    fixed = np.asarray(seen, np.float32)
    fixed.flags.writeable = False  # shared by all who ask
    return fixed


def expose(image: Floats, shot: Shot, eye: EyeModel, visit: int) -> Bytes:
    """Turn the retina into what the camera shows: light, colour, blur, noise, black surround.

    Args:
        image: (S, S, 3) reflectance as it falls on the sensor, RGB; overwritten.
        shot: how it was taken.
        eye: whose, for the noise.
        visit: of which visit, for the noise.

    Returns:
        (S, S, 3) uint8 RGB.
    """
    size, camera = len(image), shot.camera
    x, y = _grid(size)
    far = (x - shot.light_from[0]) ** 2 + (y - shot.light_from[1]) ** 2
    light = np.maximum(shot.brightness * (1.06 - camera.dimming * far), 0.12)
    rim, veil = _veils(shot, x, y)
    for k in range(3):
        gain = camera.cast[k] * shot.tint[k]
        image[..., k] *= gain * light
        image[..., k] += _STRAY[k] * (rim + veil)
    image = soften(image, (camera.blur + shot.defocus) * size / 512)
    image = _develop(image, camera.gamma * shot.contrast)
    _noise(image, camera.noise, eye.stream(visit, PIXELS))
    image *= aperture(camera, size)[..., None]
    image += _surround(camera, size)[..., None]
    return np.asarray(cv2.convertScaleAbs(np.maximum(image, 0), alpha=255), np.uint8)


def _veils(shot: Shot, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Stray light (S, S): at the rim, and a pale veil where the eye's lens is hazy."""
    r4 = np.minimum(x * x + y * y, 1) ** 2
    towards = 1 - 0.6 * math.copysign(1, shot.light_from[0]) * x
    rim = shot.camera.rim * r4 * r4 * towards
    across, down = np.exp(-1.5 * (x[:1] - 0.1) ** 2), np.exp(-1.5 * y[:, :1] ** 2)
    return rim, 0.045 * shot.haze * across * down


def _develop(image: Floats, power: float) -> Floats:
    """The sensor's curve: gamma, and highlights that saturate softly; by table, for speed."""
    steps = 2048
    light = np.linspace(0, 2, steps, dtype=np.float32)
    curve = (light / (1 + 0.72 * np.maximum(light - 0.55, 0) ** 2)) ** np.float32(power)
    image *= (steps - 1) / 2
    np.clip(image, 0, steps - 1, out=image)
    return np.asarray(np.take(curve, image.astype(np.int32), mode="clip"), np.float32)


def _noise(image: Floats, sigma: float, rng: np.random.Generator) -> None:
    """Grain: mostly brightness, and coarser colour, as JPEG and demosaicing leave it."""
    size = len(image)
    half = (size + 1) // 2
    grain = rng.standard_normal((size, size), dtype=np.float32) * np.float32(sigma / 255)
    colour = rng.standard_normal((half, half, 3), dtype=np.float32) * np.float32(0.6 * sigma / 255)
    image += cv2.resize(colour, (size, size), interpolation=cv2.INTER_LINEAR)
    image += grain[..., None]


@lru_cache(maxsize=len(CAMERAS))
def _surround(camera: Camera, size: int) -> Floats:
    """(S, S) black with the mark, as it lies outside the field of view."""
    black = (1 - aperture(camera, size)) * (2 / 255) + _mark(size) * (48 / 255)
    return np.asarray(black, np.float32)


@lru_cache(maxsize=len(CAMERAS))
def _mark(size: int) -> Floats:
    """(S, S) in 0 to 1: the word PHANTOM in the lower left corner, outside every aperture."""
    text = np.zeros((54, 290), np.uint8)
    cv2.putText(text, "PHANTOM", (4, 47), cv2.FONT_HERSHEY_SIMPLEX, 1.9, 255, 4, cv2.LINE_AA)
    wide, high, edge = round(0.15 * size), round(0.026 * size), round(0.008 * size)
    mark = np.zeros((size, size), np.float32)
    small = cv2.resize(text, (wide, high), interpolation=cv2.INTER_AREA)
    mark[size - edge - high : size - edge, edge : edge + wide] = small / 255
    return mark


@lru_cache(maxsize=len(CAMERAS))
def _grid(size: int) -> tuple[Floats, Floats]:
    """Coordinates x and y of each pixel in radii of the field of view, (S, S) each."""
    axis = ((np.arange(size) - (size - 1) / 2) / (RIM * size / 2)).astype(np.float32)
    x, y = np.meshgrid(axis, axis)
    return x, y

"""From the eye to pixels: outlines of vessels and lesions, and the camera that sees them.

A canvas has twice the image's resolution and is averaged down, so that a capillary may
be thinner than a pixel. Drawing uses OpenCV's fixed-point coordinates.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from foveola.phantom.anatomy import CAMERA, PIXELS, EyeModel, Floats, Point, Vessel, stream
from foveola.phantom.lesions import Lesion, quadrant

Bytes = NDArray[np.uint8]
Shape = tuple[Floats, int]  # closed outline (P, 2) on the retina, and a grey value
_BITS = 4  # of the fraction in fixed-point coordinates
_FINE = 2  # canvas pixels to one image pixel


@dataclass(frozen=True)
class View:
    """From the retina to the image: x_px = matrix @ (x, y, 1).

    Attributes:
        matrix: (2, 3) float64; mirrors x for a left eye.
        scale: pixels to one radius of the field of view.
        size: side of the square image in pixels.
    """

    matrix: NDArray[np.float64]
    scale: float
    size: int

    def pixels(self, points: Floats) -> NDArray[np.float64]:
        """Project (P, 2) on the retina -> (P, 2) pixel coordinates."""
        return np.asarray(points @ self.matrix[:, :2].T + self.matrix[:, 2])


def fill(view: View, shapes: Sequence[Shape]) -> Floats:
    """Fill outlines, later ones over earlier ones: (S, S) float32 in 0 to 1."""
    canvas = np.zeros((view.size * _FINE, view.size * _FINE), np.uint8)
    if shapes:
        corners = np.concatenate([outline for outline, _ in shapes])
        # A fine pixel's centre lies at half its width: (p + .5) * 2 - .5.
        fine = (view.pixels(corners) + 0.5) * _FINE - 0.5
        fixed = np.round(fine * 2**_BITS).astype(np.int32)
        start = 0
        for outline, value in shapes:
            end = start + len(outline)
            cv2.fillPoly(canvas, [fixed[start:end]], value, cv2.LINE_AA, _BITS)
            start = end
    small = cv2.resize(canvas, (view.size, view.size), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32) * np.float32(1 / 255)


def ribbon(points: Floats, widths: Floats) -> Floats:
    """Return the outline (2 P, 2) of a line (P, 2) of changing width (P,); P is at least 2."""
    step = points[1:] - points[:-1]
    along = np.concatenate([step[:1], step[1:] + step[:-1], step[-1:]])
    along /= np.maximum(np.sqrt((along**2).sum(1, keepdims=True)), 1e-9)
    half = 0.5 * widths[:, None] * np.stack([-along[:, 1], along[:, 0]], 1)
    return np.concatenate([points + half, (points - half)[::-1]]).astype(np.float32, copy=False)


def soften(density: Floats, sigma: float) -> Floats:
    """Blur by a Gaussian, sigma in pixels; the kernel ends at 2.5 sigma."""
    if sigma <= 0.05:
        return density
    side = 2 * max(1, round(2.5 * sigma)) + 1
    return np.asarray(cv2.GaussianBlur(density, (side, side), sigma), np.float32)


# --- outlines, each kind in its own manner ---


_ROUND = np.linspace(0, 2 * np.pi, 24, endpoint=False)
_CIRCLE = np.stack([np.cos(_ROUND), np.sin(_ROUND)], 1).astype(np.float32)
_WAVES = np.arange(1, 6)
_WAVE_SIZE = _WAVES**-0.7


def vessel_shapes(tree: Sequence[Vessel], beading: Sequence[int]) -> dict[str, list[Shape]]:
    """Return shapes of the layers vein, artery and reflex, the light that wide vessels throw back."""
    layers: dict[str, list[Shape]] = {"vein": [], "artery": [], "reflex": []}
    for vessel in sorted(tree, key=lambda v: float(v.widths[0])):  # the widest come last
        width = float(vessel.widths[0])
        points, widths = vessel.points, vessel.widths
        if not vessel.artery and width > 0.007 and beading:
            points, widths = _beaded(points, widths, beading)
        tone = round(255 * min(1.0, 0.22 + 0.78 * width / 0.015))
        layers["artery" if vessel.artery else "vein"].append((ribbon(points, widths), tone))
        if width > 0.009 and len(vessel.points) > 8:
            bright = min(1.0, width / 0.018) * (1.0 if vessel.artery else 0.45)
            line = ribbon(vessel.points[3:], 0.30 * vessel.widths[3:])
            layers["reflex"].append((line, round(255 * bright)))
    return layers


def _beaded(points: Floats, widths: Floats, beading: Sequence[int]) -> tuple[Floats, Floats]:
    """Strings of sausages where the vein runs through a beaded quadrant."""
    n = 4 * len(points)
    t, fine = np.arange(len(points)), np.linspace(0, len(points) - 1, n)
    smooth = np.stack([np.interp(fine, t, points[:, k]) for k in (0, 1)], 1)
    where = np.array([quadrant((x, y)) in beading for x, y in smooth.tolist()], float)
    where = np.convolve(where, np.ones(9) / 9, "same")
    wave = 0.32 * np.sin(fine * 2 * np.pi / 3.1 + 2.5 * np.sin(fine / 4.3)) + 0.08
    return smooth.astype(np.float32), (np.interp(fine, t, widths) * (1 + where * wave)).astype(np.float32)


def lesion_shapes(spot: Lesion, eye: EyeModel) -> list[Shape]:
    """Return the shapes of one lesion; they depend on its key only, so they are the same at each visit."""
    rng = np.random.default_rng([spot.key, 2])
    form = spot.form
    if form in {"MA", "dot"}:
        outline = np.array(spot.at, np.float32) + np.float32(spot.radius) * _CIRCLE
        return [(outline, int(rng.integers(150, 256)))]
    if form == "flame":
        return _flame(rng, spot, _fibre_angle(eye, spot.at))
    if form in {"cluster", "ring", "spray"}:
        return _exudates(rng, spot, eye)
    if form == "SE":
        return _cotton(rng, spot, _fibre_angle(eye, spot.at))
    if form in {"NV", "IRMA"}:
        return _tangle(rng, spot)
    if form == "preretinal":
        return _boat(rng, spot)
    rough = 0.12 if form == "drusen" else 0.28
    return [(_blob(rng, spot.at, spot.radius, rough), int(rng.integers(120, 235)))]


def _blob(rng: np.random.Generator, at: Point, radius: float, rough: float) -> Floats:
    """(24, 2) outline: a circle with random low waves."""
    size, phase = rough * rng.normal(size=5) * _WAVE_SIZE, rng.uniform(0, 2 * np.pi, 5)
    r = 1 + size @ np.cos(_WAVES[:, None] * _ROUND + phase[:, None])
    r = radius * np.minimum(np.maximum(r, 0.35), 1.7)
    return np.asarray(np.array(at) + r[:, None] * _CIRCLE, np.float32)


def _fibre_angle(eye: EyeModel, at: Point) -> float:
    """Direction of the nerve fibres: out of the disc, arching around the macula."""
    dx, dy = at[0] - eye.disc[0], at[1] - eye.disc[1]
    arch = 0.5 * math.copysign(1, dy) * min(1.0, math.hypot(dx, dy)) if dx < 0 else 0.0
    return math.atan2(dy, dx) + arch


def _flame(rng: np.random.Generator, spot: Lesion, angle: float) -> list[Shape]:
    """A bundle of streaks along the nerve fibres, frayed at both ends."""
    along = np.array([math.cos(angle), math.sin(angle)])
    across = np.array([-along[1], along[0]])
    t, tone = np.linspace(-1, 1, 9)[:, None], int(rng.integers(130, 230))
    shapes: list[Shape] = []
    for _ in range(6):
        side, shift = rng.normal(0, 0.17) * spot.radius, rng.normal(0, 0.25) * spot.radius
        half = spot.radius * rng.uniform(0.55, 1.0)
        line = np.array(spot.at) + across * side * (1 + 0.3 * t) + along * (shift + half * t)
        widths = spot.radius * rng.uniform(0.16, 0.30) * (1 - t[:, 0] ** 2) ** 0.7
        shapes.append((ribbon(line.astype(np.float32), widths.astype(np.float32)), tone))
    return shapes


def _exudates(rng: np.random.Generator, spot: Lesion, eye: EyeModel) -> list[Shape]:
    """Sharp waxy flecks: in a heap, in a ring around a leak, or in a row towards the fovea."""
    n = int(rng.integers(14, 60))
    angle = math.atan2(eye.fovea[1] - spot.at[1], eye.fovea[0] - spot.at[0])
    open_at, gap = rng.uniform(0, 6.3), rng.uniform(0.5, 2.5)
    shapes: list[Shape] = []
    for _ in range(n):
        if spot.form == "ring":
            a = open_at + rng.uniform(gap, 6.3)
            r = spot.radius * rng.normal(1, 0.08)
        elif spot.form == "spray":
            a, r = angle + rng.normal(0, 0.25), spot.radius * rng.uniform(-1, 1.2)
        else:
            a, r = rng.uniform(0, 6.3), spot.radius * abs(rng.normal(0, 0.5))
        at = (spot.at[0] + r * math.cos(a), spot.at[1] + r * math.sin(a))
        size = 0.0028 + 0.010 * rng.random() ** 4
        if math.hypot(at[0] - eye.fovea[0], at[1] - eye.fovea[1]) > 0.05 and math.hypot(*at) < 0.82:
            shapes.append((_blob(rng, at, size, 0.3), int(rng.integers(170, 256))))
    return shapes


def _cotton(rng: np.random.Generator, spot: Lesion, angle: float) -> list[Shape]:
    """A heap of soft balls, longer across the nerve fibres than along them."""
    shapes: list[Shape] = []
    for _ in range(7):
        side, shift = rng.normal(0, 0.5) * spot.radius, rng.normal(0, 0.3) * spot.radius
        x = spot.at[0] - math.sin(angle) * side + math.cos(angle) * shift
        y = spot.at[1] + math.cos(angle) * side + math.sin(angle) * shift
        radius = spot.radius * rng.uniform(0.3, 0.6)
        shapes.append((_blob(rng, (x, y), radius, 0.15), int(rng.integers(170, 256))))
    return shapes


def _tangle(rng: np.random.Generator, spot: Lesion) -> list[Shape]:
    """Fine vessels that leave one root, wind, and loop back: new vessels, or small IRMA."""
    stems = 9 if spot.kind == "NV" else 3
    width = 0.0060 if spot.kind == "NV" else 0.0042
    step = spot.radius / 11
    base = rng.uniform(0, 6.3)
    shapes: list[Shape] = []
    for k in range(stems):
        heading = base + k * (6.3 / stems) * rng.uniform(0.8, 1.2)
        bend = rng.choice([-1, 1]) * rng.uniform(0.10, 0.30)
        x, y = spot.at
        line = []
        for _ in range(int(rng.integers(10, 20))):
            bend += rng.normal(0, 0.10)
            bend = max(-0.45, min(0.45, bend))
            heading += bend
            x, y = x + step * math.cos(heading), y + step * math.sin(heading)
            line.append((x, y))
        widths = width * np.linspace(1, 0.6, len(line), dtype=np.float32)
        shapes.append((ribbon(np.array(line, np.float32), widths), 220))
    return shapes


def _boat(rng: np.random.Generator, spot: Lesion) -> list[Shape]:
    """A pool of blood in front of the retina: level at the top, rounded below."""
    a = np.linspace(0, math.pi, 40)
    wide, deep = spot.radius, spot.radius * rng.uniform(0.45, 0.75)
    wave = sum(rng.normal(0, 0.08) * np.sin(k * a) for k in (2, 3, 5)) * np.sin(a)
    x = spot.at[0] + wide * np.cos(a) * (0.72 + 0.28 * np.abs(np.cos(a)))
    y = spot.at[1] + deep * (np.sin(a) ** 1.3 * (1 + wave) - 0.35)
    y[[0, -1]] += 0.04 * deep
    return [(np.stack([x, y], 1).astype(np.float32), 250)]


# --- the camera: where it points, what it sees of the eye, and what its pictures look like ---
#
# The camera of a visit is drawn without a look at the disease, so no grade can be told
# from the field of view, the colours or the noise.


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

"""How a vessel or a lesion of each kind is drawn on its canvas."""

import math
from collections.abc import Sequence

import numpy as np

from foveola.phantom.anatomy import EyeModel
from foveola.phantom.drawing import Canvas
from foveola.phantom.lesions import Lesion, quadrant
from foveola.phantom.vessels import Floats, Point, Vessel

_ROUND = np.linspace(0, 2 * np.pi, 28, endpoint=False)


def vessels(
    canvases: dict[bool, Canvas], reflex: Canvas, tree: Sequence[Vessel], beading: Sequence[int]
) -> None:
    """Draw veins and arteries, thinnest first, and the light reflex along wide arteries."""
    for vessel in sorted(tree, key=lambda v: float(v.widths[0])):
        width = float(vessel.widths[0])
        points, widths = vessel.points, vessel.widths
        if not vessel.artery and width > 0.007 and beading:
            points, widths = _beaded(points, widths, beading)
        tone = round(255 * min(1.0, 0.22 + 0.78 * width / 0.015))
        canvases[vessel.artery].ribbon(points, widths, tone)
        if width > 0.009 and len(vessel.points) > 8:
            bright = min(1.0, width / 0.018) * (1.0 if vessel.artery else 0.45)
            reflex.ribbon(vessel.points[3:], 0.30 * vessel.widths[3:], round(255 * bright))


def _beaded(points: Floats, widths: Floats, beading: Sequence[int]) -> tuple[Floats, Floats]:
    """Strings of sausages where the vein runs through a beaded quadrant."""
    n = 4 * len(points)
    t, fine = np.arange(len(points)), np.linspace(0, len(points) - 1, n)
    smooth = np.stack([np.interp(fine, t, points[:, k]) for k in (0, 1)], 1)
    where = np.array([quadrant((x, y)) in beading for x, y in smooth.tolist()], float)
    where = np.convolve(where, np.ones(9) / 9, "same")
    wave = 0.42 * np.sin(fine * 2 * np.pi / 2.9 + 1.5 * np.sin(fine / 5.3)) + 0.12
    return smooth.astype(np.float32), (np.interp(fine, t, widths) * (1 + where * wave)).astype(
        np.float32
    )


def draw(canvas: Canvas, lesion: Lesion, eye: EyeModel) -> None:
    """Draw one lesion; its shape depends on its key only, so it is the same at each visit."""
    rng = np.random.default_rng([lesion.key, 2])
    form = lesion.form
    if form in {"MA", "dot"}:
        canvas.spot(*lesion.at, lesion.radius, int(rng.integers(190, 256)))
    elif form == "flame":
        _flame(rng, canvas, lesion, _fibre_angle(eye, lesion.at))
    elif form in {"cluster", "ring", "spray"}:
        _exudates(rng, canvas, lesion, eye)
    elif form == "SE":
        _cotton(rng, canvas, lesion, _fibre_angle(eye, lesion.at))
    elif form in {"NV", "IRMA"}:
        _tangle(rng, canvas, lesion)
    elif form == "preretinal":
        _boat(rng, canvas, lesion)
    elif form == "drusen":
        canvas.polygon(_blob(rng, lesion.at, lesion.radius, 0.12), int(rng.integers(120, 230)))
    else:
        value = int(rng.integers(150, 240))
        canvas.polygon(_blob(rng, lesion.at, lesion.radius, 0.28), value)


def _blob(rng: np.random.Generator, at: Point, radius: float, rough: float) -> Floats:
    """(28, 2) outline: a circle with random low waves."""
    r = np.ones_like(_ROUND)
    for k in range(1, 6):
        r += rough * rng.normal() / k**0.7 * np.cos(k * _ROUND + rng.uniform(0, 6.3))
    r = radius * np.clip(r, 0.35, 1.7)
    return np.stack([at[0] + r * np.cos(_ROUND), at[1] + r * np.sin(_ROUND)], 1).astype(np.float32)


def _fibre_angle(eye: EyeModel, at: Point) -> float:
    """Direction of the nerve fibres: out of the disc, arching around the macula."""
    dx, dy = at[0] - eye.disc[0], at[1] - eye.disc[1]
    arch = 0.5 * math.copysign(1, dy) * min(1.0, math.hypot(dx, dy)) if dx < 0 else 0.0
    return math.atan2(dy, dx) + arch


def _flame(rng: np.random.Generator, canvas: Canvas, lesion: Lesion, angle: float) -> None:
    """A bundle of streaks along the nerve fibres, frayed at both ends."""
    along = np.array([math.cos(angle), math.sin(angle)])
    across = np.array([-along[1], along[0]])
    t = np.linspace(-1, 1, 9)[:, None]
    for _ in range(6):
        side, shift = rng.normal(0, 0.17) * lesion.radius, rng.normal(0, 0.25) * lesion.radius
        half = lesion.radius * rng.uniform(0.55, 1.0)
        line = np.array(lesion.at) + across * side * (1 + 0.3 * t) + along * (shift + half * t)
        widths = lesion.radius * rng.uniform(0.16, 0.30) * (1 - t[:, 0] ** 2) ** 0.7
        canvas.ribbon(line.astype(np.float32), widths.astype(np.float32), 215)


def _exudates(rng: np.random.Generator, canvas: Canvas, lesion: Lesion, eye: EyeModel) -> None:
    """Sharp waxy flecks: in a heap, in a ring around a leak, or in a row towards the fovea."""
    n = int(rng.integers(8, 30))
    angle = math.atan2(eye.fovea[1] - lesion.at[1], eye.fovea[0] - lesion.at[0])
    open_at, gap = rng.uniform(0, 6.3), rng.uniform(0.5, 2.5)
    for _ in range(n):
        if lesion.form == "ring":
            a = open_at + rng.uniform(gap, 6.3)
            r = lesion.radius * rng.normal(1, 0.08)
        elif lesion.form == "spray":
            a, r = angle + rng.normal(0, 0.25), lesion.radius * rng.uniform(-1, 1.2)
        else:
            a, r = rng.uniform(0, 6.3), lesion.radius * abs(rng.normal(0, 0.5))
        at = (lesion.at[0] + r * math.cos(a), lesion.at[1] + r * math.sin(a))
        size = 0.0035 + 0.012 * rng.random() ** 3
        if math.hypot(at[0] - eye.fovea[0], at[1] - eye.fovea[1]) > 0.05 and math.hypot(*at) < 0.82:
            canvas.polygon(_blob(rng, at, size, 0.3), int(rng.integers(170, 256)))


def _cotton(rng: np.random.Generator, canvas: Canvas, lesion: Lesion, angle: float) -> None:
    """A heap of soft balls, longer across the nerve fibres than along them."""
    for _ in range(7):
        side, shift = rng.normal(0, 0.5) * lesion.radius, rng.normal(0, 0.3) * lesion.radius
        x = lesion.at[0] - math.sin(angle) * side + math.cos(angle) * shift
        y = lesion.at[1] + math.cos(angle) * side + math.sin(angle) * shift
        radius = lesion.radius * rng.uniform(0.3, 0.6)
        canvas.polygon(_blob(rng, (x, y), radius, 0.15), int(rng.integers(170, 256)))


def _tangle(rng: np.random.Generator, canvas: Canvas, lesion: Lesion) -> None:
    """Fine vessels that leave one root, wind, and loop back: new vessels, or small IRMA."""
    stems = 9 if lesion.kind == "NV" else 3
    width = 0.0052 if lesion.kind == "NV" else 0.0042
    step = lesion.radius / 11
    base = rng.uniform(0, 6.3)
    for k in range(stems):
        heading = base + k * (6.3 / stems) * rng.uniform(0.8, 1.2)
        bend = rng.choice([-1, 1]) * rng.uniform(0.10, 0.30)
        x, y = lesion.at
        line = []
        for _ in range(int(rng.integers(10, 20))):
            bend += rng.normal(0, 0.10)
            bend = max(-0.45, min(0.45, bend))
            heading += bend
            x, y = x + step * math.cos(heading), y + step * math.sin(heading)
            line.append((x, y))
        widths = width * np.linspace(1, 0.6, len(line), dtype=np.float32)
        canvas.ribbon(np.array(line, np.float32), widths, 220)


def _boat(rng: np.random.Generator, canvas: Canvas, lesion: Lesion) -> None:
    """A pool of blood in front of the retina: level at the top, rounded below."""
    a = np.linspace(0, math.pi, 24)
    wide, deep = lesion.radius, lesion.radius * rng.uniform(0.35, 0.6)
    skew = rng.uniform(-0.2, 0.2)
    x = lesion.at[0] + wide * np.cos(a) + skew * wide * np.sin(a)
    y = lesion.at[1] + deep * np.sin(a) ** 0.8 * (1 + 0.08 * np.sin(5 * a)) - deep / 3
    canvas.polygon(np.stack([x, y], 1).astype(np.float32), 250)

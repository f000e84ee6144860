"""One phantom photograph: the eye, its disease, the camera of the visit, and the truth.

The fundus without vessels (pigment, choroid, nerve fibres, macula and disc) is painted once for an
eye, in the eye's own frame, then seen by the camera at every visit.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from foveola.phantom.anatomy import RETINA, EyeModel, Floats, make_eye, make_subject
from foveola.phantom.drawing import Bytes, Shot, View, aim, aperture, expose, fill, lesion_shapes, soften, vessel_shapes
from foveola.phantom.lesions import Disease, progress

KINDS: Final = ("MA", "HE", "EX", "SE", "NV", "drusen", "disc", "vessels")
_DEFAULT_SIZE: Final = 512


@dataclass(frozen=True)
class Phantom:
    """A photograph with its truth.

    Attributes:
        image: (S, S, 3) uint8 RGB, black around the field of view.
        masks: each of KINDS -> (S, S) bool, inside the field of view. HE includes
            preretinal blood; vessels includes IRMA and leaves out new vessels (NV).
        disease: what was drawn, lesion by lesion.
        shot: the camera and how it was held.
        view: from the eye's frame to pixels.
    """

    image: Bytes
    masks: dict[str, NDArray[np.bool_]]
    disease: Disease
    shot: Shot
    view: View


def render(
    eye: EyeModel,
    history: Sequence[int],
    *,
    months: Sequence[int] | None = None,
    size: int = _DEFAULT_SIZE,
    ground: Floats | None = None,
) -> Phantom:
    """Photograph an eye at the last of its visits.

    Args:
        eye: from make_eye.
        history: ICDR grade at each visit up to this one; may stay or rise.
        months: since the first visit, one for each; 12 apart if None.
        size: side of the square image in pixels, 128 to 2048.
        ground: from paint_ground, to share it between the visits of one eye.

    Raises:
        ValueError: size or history is out of range.

    >>> eye = make_eye(make_subject(seed=0, number=1), "left")
    >>> phantom = render(eye, [0, 2], size=256)
    >>> phantom.image.shape, phantom.disease.grade, bool(phantom.masks["disc"].any())
    ((256, 256, 3), 2, True)
    """
    if not 128 <= size <= 2048:
        raise ValueError(f"expected a size of 128 to 2048 pixels, got {size}")
    disease = progress(eye, history, months)
    visit = len(history) - 1
    shot = aim(eye, visit)
    view = shot.view(eye, size)
    ground = paint_ground(eye, size) if ground is None else ground
    image, layers = _seen(ground, view), _layers(eye, disease, view)
    _apply_vessels(image, layers, size)
    apply_lesions(image, layers, size)
    inside = aperture(shot.camera, size) > 0.5
    masks = {kind: mask & inside for kind, mask in _masks(eye, layers, view).items()}
    return Phantom(expose(image, shot, eye, visit), masks, disease, shot, view)


def paint_ground(eye: EyeModel, size: int = _DEFAULT_SIZE) -> Floats:
    """Paint the eye's fundus without vessels and lesions, in the resolution that `size` needs."""
    return _fundus(eye, int(0.9 * size))


def _seen(ground: Floats, view: View) -> Floats:
    """The ground as the camera sees it, (S, S, 3)."""
    step = 2 * EXTENT / (len(ground) - 1)
    corner = view.pixels(np.full((1, 2), -EXTENT, np.float32))[0]
    matrix = np.column_stack([view.matrix[:, :2] * step, corner])
    size = (view.size, view.size)
    return np.asarray(cv2.warpAffine(ground, matrix, size, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _layers(eye: EyeModel, disease: Disease, view: View) -> dict[str, Floats]:
    """Density of each kind of vessel and lesion that is there, (S, S) in 0 to 1."""
    shapes = vessel_shapes(eye.vessels, disease.beading)
    for spot in disease.lesions:
        shapes.setdefault(spot.kind, []).extend(lesion_shapes(spot, eye))
    return {name: fill(view, outlines) for name, outlines in shapes.items()}


def _absorb(image: Floats, density: Floats, share: tuple[float, float, float]) -> None:
    """Take away up to these shares of red, green and blue."""
    for k in range(3):
        image[..., k] *= 1 - share[k] * density


def _cover(image: Floats, density: Floats, colour: tuple[float, float, float]) -> None:
    """Lay a colour over the image."""
    for k in range(3):
        image[..., k] += density * (colour[k] - image[..., k])


def _apply_vessels(image: Floats, layers: dict[str, Floats], size: int) -> None:
    unit = size / 512
    vein, artery = (soften(layers[k], 0.65 * unit) for k in ("vein", "artery"))
    _absorb(image, soften(np.maximum(vein, artery), 3.5 * unit), (0.05, 0.09, 0.06))
    _absorb(image, vein, (0.32, 0.55, 0.42))
    _absorb(image, artery * (1 - 0.6 * vein), (0.20, 0.44, 0.38))
    shine = soften(layers["reflex"], 0.7 * unit)
    for k, light in enumerate((0.138, 0.100, 0.070)):
        image[..., k] += light * shine
    if "IRMA" in layers:
        _absorb(image, soften(layers["IRMA"], 0.6 * unit), (0.16, 0.46, 0.40))


def apply_lesions(image: Floats, layers: dict[str, Floats], size: int) -> None:
    """Lay lesions over an image of 0 to 1, in place; layers by kind, densities of 0 to 1."""
    unit = size / 512
    if "drusen" in layers:
        _cover(image, 0.50 * soften(layers["drusen"], 1.4 * unit), (0.95, 0.74, 0.40))
    if "SE" in layers:
        _cover(image, 0.80 * soften(layers["SE"], 3.2 * unit), (1.08, 0.86, 0.68))
    if "HE" in layers:
        _absorb(image, soften(layers["HE"], 1.4 * unit), (0.34, 0.66, 0.52))
    if "MA" in layers:
        _absorb(image, soften(layers["MA"], 0.7 * unit), (0.26, 0.62, 0.50))
    if "EX" in layers:
        _cover(image, 0.92 * soften(layers["EX"], 0.45 * unit), (1.15, 0.93, 0.46))
    if "NV" in layers:
        haze = soften(layers["NV"], 5 * unit)
        _absorb(image, haze, (0.02, 0.18, 0.14))
        _absorb(image, soften(layers["NV"], 0.6 * unit), (0.12, 0.60, 0.52))
    if "preretinal" in layers:
        _absorb(image, 0.94 * soften(layers["preretinal"], 2.2 * unit), (0.40, 0.80, 0.74))


def _masks(eye: EyeModel, layers: dict[str, Floats], view: View) -> dict[str, NDArray[np.bool_]]:
    none = np.zeros((view.size, view.size), np.float32)
    masks = {kind: layers.get(kind, none) > 0.25 for kind in KINDS[:6]}
    masks["HE"] |= layers.get("preretinal", none) > 0.25
    masks["SE"] = soften(layers.get("SE", none), 3.2 * view.size / 512) > 0.3
    t = np.linspace(0, 2 * np.pi, 48)
    u, v = eye.disc_axes[0] * np.cos(t), eye.disc_axes[1] * np.sin(t)
    c, s = np.cos(eye.disc_tilt), np.sin(eye.disc_tilt)
    outline = np.stack([eye.disc[0] + c * u - s * v, eye.disc[1] + s * u + c * v], 1)
    masks["disc"] = fill(view, [(outline.astype(np.float32), 255)]) > 0.5
    tree = np.maximum(layers["vein"], layers["artery"])
    masks["vessels"] = np.maximum(tree, layers.get("IRMA", none)) > 0.15
    return masks


# --- the fundus without vessels ---


EXTENT = 1.3  # half the side of the map, in radii of the field of view


def _fundus(eye: EyeModel, side: int) -> Floats:
    """(side, side, 3) reflectance, RGB, about 0 to 1, over [-EXTENT, EXTENT] squared."""
    rng = eye.stream(0, RETINA)
    axis = np.linspace(-EXTENT, EXTENT, side, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    dark = eye.subject.pigment
    colour = np.array([0.86 - 0.20 * dark, 0.45 - 0.15 * dark, 0.24 - 0.07 * dark], np.float32)
    shade = _choroid(rng, eye, x, y)
    shade += 0.05 * _clouds(rng, side, (4, 9)) + 0.035 * _clouds(rng, side, (45, side // 3))
    layers = [np.exp(shade * k) * c for c, k in zip(colour, (0.55, 1.0, 1.1), strict=True)]
    retina = np.dstack(layers).astype(np.float32)
    _nerve_fibres(rng, eye, x, y, retina)
    _macula(rng, eye, x, y, retina)
    _disc(rng, eye, x, y, retina)
    return retina


def _clouds(rng: np.random.Generator, side: int, cells: tuple[int, ...]) -> Floats:
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
    bend = 0.03 * _clouds(rng, side, (7, 23)), 0.03 * _clouds(rng, side, (7, 23))
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
    wave = 0.03 * _clouds(rng, len(x), (18,))
    r = np.sqrt(u * u + v * v) + wave
    retina *= 1 + 0.12 * np.exp(-np.clip(r - 1, 0, None) * 1.6)[..., None]
    crescent = np.sqrt((u + 0.22) ** 2 + v * v) + 2 * wave  # scleral crescent, temporal
    _blend(retina, (0.97, 0.75, 0.48), 0.55 * eye.crescent * (1 - _step(crescent, 0.97, 1.12)))
    rim = 1 - _step(r, 0.90, 1.08 + 0.05 * np.clip(u, 0, 1).mean())
    tone = 0.03 * _clouds(rng, len(x), (30, 60))
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


# --- lesions in a photograph of a real retina ---
#
# What matching has to survive is disease that comes between two visits, and there is no public set of one eye
# before and after with known truth. So the phantom's lesions are laid over a photograph: their number and kinds
# follow the grade, their places the phantom eye's own landmarks, not those of the photographed one. The result
# tests matching; it is no picture of a disease.


_RED = 0.75  # 90th percentile of a phantom's red before the camera, which lesions' colours suit


def paint_lesions(square: Bytes, *, seed: int, grade: int) -> Bytes:
    """Paint the lesions of a grade over a field of view.

    Args:
        square: (S, S, 3) uint8 RGB, a prepared field of view that fills the square, black outside.
        seed: of the lesions' places and shapes; from 0.
        grade: ICDR, 0 paints nothing new but drusen of age.

    Returns:
        (S, S, 3) uint8. What was black stays black.

    Raises:
        ValueError: the image is no square of bytes, or the grade out of range.
    """
    if square.dtype != np.uint8 or square.ndim != 3 or square.shape != (len(square),) * 2 + (3,):
        raise ValueError(f"expected (S, S, 3) uint8, got {square.dtype} {square.shape}")
    size = len(square)
    eye = make_eye(make_subject(seed, 0), "right" if seed % 2 else "left")
    scale = size / 2
    matrix = np.array([[1.0 if eye.eye == "right" else -1.0, 0, 1], [0, 1, 1]]) * scale
    view = View(matrix, scale, size)
    shapes: dict[str, list[tuple[NDArray[np.float32], int]]] = {}
    for spot in progress(eye, [grade]).lesions:
        shapes.setdefault(spot.kind, []).extend(lesion_shapes(spot, eye))
    layers = {kind: fill(view, outlines) for kind, outlines in shapes.items()}
    image = square.astype(np.float32) / np.float32(255)
    seen = square.max(axis=2) > 12
    if not seen.any():
        return square.copy()
    light = float(np.percentile(image[..., 0][seen], 90)) / _RED
    light = max(light, 1e-3)
    image = (image / np.float32(light)).astype(np.float32)
    apply_lesions(image, layers, size)
    painted: Bytes = np.clip(255 * image * light, 0, 255).astype(np.uint8)
    painted[~seen] = square[~seen]
    return painted

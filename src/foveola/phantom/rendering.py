"""One phantom photograph: the eye, its disease, the camera of the visit, and the truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from foveola.phantom import camera, retina, strokes
from foveola.phantom.anatomy import EyeModel
from foveola.phantom.camera import Shot
from foveola.phantom.drawing import Bytes, View, fill, soften
from foveola.phantom.lesions import Disease, progress
from foveola.phantom.vessels import Floats

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
    """
    if not 128 <= size <= 2048:
        raise ValueError(f"expected a size of 128 to 2048 pixels, got {size}")
    disease = progress(eye, history, months)
    visit = len(history) - 1
    shot = camera.aim(eye, visit)
    view = shot.view(eye, size)
    ground = paint_ground(eye, size) if ground is None else ground
    image, layers = _seen(ground, view), _layers(eye, disease, view)
    _apply_vessels(image, layers, size)
    apply_lesions(image, layers, size)
    inside = camera.aperture(shot.camera, size) > 0.5
    masks = {kind: mask & inside for kind, mask in _masks(eye, layers, view).items()}
    return Phantom(camera.expose(image, shot, eye, visit), masks, disease, shot, view)


def paint_ground(eye: EyeModel, size: int = _DEFAULT_SIZE) -> Floats:
    """The eye's fundus without vessels and lesions, in the resolution that `size` needs."""
    return retina.paint(eye, int(0.9 * size))


def _seen(ground: Floats, view: View) -> Floats:
    """The ground as the camera sees it, (S, S, 3)."""
    step = 2 * retina.EXTENT / (len(ground) - 1)
    corner = view.pixels(np.full((1, 2), -retina.EXTENT, np.float32))[0]
    matrix = np.column_stack([view.matrix[:, :2] * step, corner])
    size = (view.size, view.size)
    return np.asarray(cv2.warpAffine(ground, matrix, size, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _layers(eye: EyeModel, disease: Disease, view: View) -> dict[str, Floats]:
    """Density of each kind of vessel and lesion that is there, (S, S) in 0 to 1."""
    shapes = strokes.vessels(eye.vessels, disease.beading)
    for spot in disease.lesions:
        shapes.setdefault(spot.kind, []).extend(strokes.lesion(spot, eye))
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

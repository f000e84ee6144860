"""A hard second visit made of a photograph: what a follow-up years later may look like.

Public photographs of one eye were mostly taken minutes apart, so that nearly anything finds them.
`harden` takes away what such pairs share for no good reason: framing, angle, light, focus,
colours, and the healthy background. What it leaves is what does not change: vessels and disc.
The protocol is ours; it is no model of ageing.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from foveola.images.fundus import Contract, find_field_of_view, prepare
from foveola.phantom.rendering import paint_lesions

Pixels = NDArray[np.uint8]

SIDE = 512  # pixels of the result
FIELD = 0.6  # of the field's diameter is left
TURN = 30.0  # degrees at most
_ALIKE = 12  # grey level up to which a pixel is outside the field of view


def harden(photograph: Pixels, seed: int, *, field: float = FIELD, disease: bool = True) -> Pixels:
    """Another visit of the same eye.

    The phantom's lesions of grade 3 or 4 are painted in; a round part of the field is cut out
    somewhere and turned by up to 30 degrees; gamma, contrast and the balance of colours change;
    light falls unevenly; the picture is blurred or sharpened, and compressed.

    Args:
        photograph: (H, W, 3) uint8 RGB as decoded.
        seed: of all that is random, from 0.
        field: share of the diameter that is left, above 0 and up to 1.
        disease: whether lesions are painted in.

    Returns:
        (SIDE, SIDE, 3) uint8, black around the field.

    Raises:
        ValueError: the share is out of range.
    """
    if not 0 < field <= 1:
        raise ValueError(f"field is {field}; expected above 0 and up to 1")
    rng = np.random.default_rng([seed, 60])
    square = prepare(photograph, Contract(size=SIDE), view=find_field_of_view(photograph))
    if disease:
        square = paint_lesions(square, seed=seed, grade=int(rng.integers(3, 5)))
    cut = _cut(square, field, rng)
    lit = _light(cut, rng)
    return _develop(lit, cut.max(axis=2) > _ALIKE, rng)


def _cut(square: Pixels, field: float, rng: np.random.Generator) -> Pixels:
    """A round part of the field, turned, as large as the whole was."""
    middle = SIDE / 2
    away = middle * (1 - field) * np.sqrt(rng.random())  # evenly over the disc of centres
    angle = rng.uniform(0, 2 * np.pi)
    centre = middle + away * np.array([np.cos(angle), np.sin(angle)])
    turn = cv2.getRotationMatrix2D((0, 0), rng.uniform(-TURN, TURN), 1 / field)[:, :2]
    matrix = np.column_stack([turn, middle - turn @ centre])
    moved = cv2.warpAffine(square, matrix, (SIDE, SIDE), flags=cv2.INTER_CUBIC)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.circle(mask, (SIDE // 2, SIDE // 2), SIDE // 2 - 4, 1, -1)
    return (moved * mask[..., None]).astype(np.uint8)


def _light(image: Pixels, rng: np.random.Generator) -> NDArray[np.float32]:
    """(SIDE, SIDE, 3) in 0 to 1: uneven light, gamma, contrast, balance of colours."""
    axis = np.linspace(-1, 1, SIDE, dtype=np.float32)
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.6)
    slope = np.cos(angle) * axis[None] + np.sin(angle) * axis[:, None]
    x = image.astype(np.float32) / 255 * (1 + strength * slope)[..., None]
    x = np.clip(x, 0, 1) ** np.exp(rng.uniform(-0.35, 0.35))
    x = x * np.exp(rng.uniform(-0.3, 0.3, 3))
    lit: NDArray[np.float32] = (0.35 + rng.uniform(0.7, 1.3) * (x - 0.35)).astype(np.float32)
    return lit


def _develop(lit: NDArray[np.float32], seen: NDArray[np.bool_], rng: np.random.Generator) -> Pixels:
    """Focus, grain and compression; black outside."""
    sigma = rng.uniform(0.6, 2.2)
    soft = cv2.GaussianBlur(lit, (0, 0), sigma)
    focused = soft if rng.random() < 0.6 else lit + rng.uniform(0.4, 1.2) * (lit - soft)
    grain = rng.normal(0, rng.uniform(0, 0.02), lit.shape)
    image = np.clip(255 * (focused + grain), 0, 255).astype(np.uint8)
    image[~seen] = 0
    quality = int(rng.integers(55, 90))
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if decoded is None:  # can't happen: the bytes are OpenCV's own
        raise RuntimeError("OpenCV could not read its own JPEG")
    return np.ascontiguousarray(decoded[..., ::-1]).astype(np.uint8)

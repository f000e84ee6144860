"""Diabetic lesions of the phantom, painted into a photograph of a real retina.

What matching has to survive is disease that comes between two visits, and there is no public set
of one eye before and after with known truth. So the phantom's lesions are laid over a photograph:
their number and kinds follow the grade, their places the phantom eye's own landmarks, not those
of the photographed one. The result tests matching; it is no picture of a disease.
"""

import numpy as np
from numpy.typing import NDArray

from foveola.phantom.anatomy import make_eye, make_subject
from foveola.phantom.drawing import Bytes, View, fill
from foveola.phantom.lesions import progress
from foveola.phantom.rendering import apply_lesions
from foveola.phantom.strokes import lesion

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
        shapes.setdefault(spot.kind, []).extend(lesion(spot, eye))
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

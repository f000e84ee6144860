"""Bring out detail in a prepared photograph: the first step of paper 3, as methods.md reads it."""

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

CLIP = 2.0
TILES = 8


def enhance(image: Pixels) -> Pixels:
    """Contrast-limited adaptive equalisation of the lightness (3.1): clip 2.0, 8 x 8 tiles.

    Colours keep their hue; what is black, such as the surround, stays so.

    Args:
        image: (S, S, 3) uint8 RGB, the field of view.

    Returns:
        (S, S, 3) uint8.
    """
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    equalised = cv2.createCLAHE(CLIP, (TILES, TILES)).apply(np.ascontiguousarray(lab[..., 0]))
    lab[..., 0] = np.where(lab[..., 0] > 0, equalised, 0)
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB).astype(np.uint8)

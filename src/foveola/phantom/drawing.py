"""Canvases seen through the camera: outlines given on the retina, filled in pixels.

A canvas has twice the image's resolution and is averaged down, so that a capillary may
be thinner than a pixel. Drawing uses OpenCV's fixed-point coordinates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from foveola.phantom.vessels import Floats

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
        """(P, 2) on the retina -> (P, 2) pixel coordinates."""
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
    """Outline (2 P, 2) of a line (P, 2) of changing width (P,); P is at least 2."""
    step = points[1:] - points[:-1]
    along = np.concatenate([step[:1], step[1:] + step[:-1], step[-1:]])
    along /= np.maximum(np.sqrt((along**2).sum(1, keepdims=True)), 1e-9)
    half = 0.5 * widths[:, None] * np.stack([-along[:, 1], along[:, 0]], 1)
    return np.concatenate([points + half, (points - half)[::-1]]).astype(np.float32, copy=False)


def soften(density: Floats, sigma: float) -> Floats:
    """Gaussian blur, sigma in pixels; the kernel ends at 2.5 sigma."""
    if sigma <= 0.05:
        return density
    side = 2 * max(1, round(2.5 * sigma)) + 1
    return np.asarray(cv2.GaussianBlur(density, (side, side), sigma), np.float32)

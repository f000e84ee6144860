"""Canvases seen through the camera: shapes given on the retina, drawn in pixels.

A canvas has twice the image's resolution and is averaged down, so that a capillary may
be thinner than a pixel. Drawing uses OpenCV's fixed-point coordinates.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from foveola.phantom.vessels import Floats

Bytes = NDArray[np.uint8]
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


class Canvas:
    """One grey layer, 0 to 255."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._layer = np.zeros((view.size * _FINE, view.size * _FINE), np.uint8)

    def polygon(self, points: Floats, value: int) -> None:
        """Fill a closed outline (P, 2)."""
        fixed = self._fixed(self._view.pixels(points))
        cv2.fillPoly(self._layer, [fixed], value, cv2.LINE_AA, _BITS)

    def ribbon(self, points: Floats, widths: Floats, value: int) -> None:
        """Fill a line (P, 2) of changing width (P,)."""
        tangent = np.gradient(points, axis=0)
        tangent /= np.maximum(np.hypot(tangent[:, 0], tangent[:, 1]), 1e-9)[:, None]
        half = 0.5 * widths[:, None] * np.stack([-tangent[:, 1], tangent[:, 0]], 1)
        self.polygon(np.concatenate([points + half, (points - half)[::-1]]), value)

    def spot(self, x: float, y: float, radius: float, value: int) -> None:
        """Fill a circle."""
        centre = self._fixed(self._view.pixels(np.array([[x, y]], np.float32)))[0]
        r = round(radius * self._view.scale * _FINE * 2**_BITS)
        cv2.circle(self._layer, centre.tolist(), r, value, -1, cv2.LINE_AA, _BITS)

    def density(self) -> Floats:
        """(S, S) float32, 0 to 1."""
        size = (self._view.size, self._view.size)
        small = cv2.resize(self._layer, size, interpolation=cv2.INTER_AREA)
        return small.astype(np.float32) * np.float32(1 / 255)

    @staticmethod
    def _fixed(pixels: NDArray[np.float64]) -> NDArray[np.int32]:
        # A fine pixel's centre lies at half its width: (p + .5) * 2 - .5.
        fine = (pixels + 0.5) * _FINE - 0.5
        return np.asarray(np.round(fine * 2**_BITS), np.int32)


def soften(density: Floats, sigma: float) -> Floats:
    """Gaussian blur, sigma in pixels."""
    if sigma <= 0.05:
        return density
    return np.asarray(cv2.GaussianBlur(density, (0, 0), sigma), np.float32)

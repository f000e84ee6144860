"""Whether two photographs show the same retina: their local features, and the pixels.

    features(square) -> Features      of the prepared field of view, small enough to keep
    compare(a, b)    -> Comparison    the pixels under a map: correlation and light

`agreement.agree` finds the map between.

Features are RootSIFT (Arandjelovic and Zisserman, CVPR 2012: the square root of SIFT divided by
its sum) of the green channel, where vessels show best, after CLAHE. Those near the rim of the
field of view are left out: the rim belongs to the camera, and two eyes share it.

A copy and another photograph of the same eye correlate alike when the copy was compressed hard.
The light tells them apart: it moves with the camera, not with the retina. After alignment and
one tone curve for the whole picture, a copy is lit as its original is, another photograph not.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from foveola.images.fundus import Contract, find_field_of_view, prepare

Pixels = NDArray[np.uint8]
Vectors = NDArray[np.float32]

SIDE = 384  # pixels of the prepared field of view; SIFT on 512 takes 1.8 times as long
FEATURES = 400  # strongest of each photograph
_RIM = 10  # pixels left out within the edge of the field of view
_BACKGROUND = 12.0  # pixels, sigma: what is wider is light, what is narrower vessel or lesion
_NOISE = 2.0  # pixels, sigma: what is narrower is grain and compression
_COARSE = 4  # pixels of one for what is blurred widely
_CLIPPED = 4, 251  # grey levels beyond which the sensor, or an editor, cut the light off


@dataclass(frozen=True)
class Features:
    """The local features of one photograph.

    Attributes:
        points: (F, 2) float32, x, y in pixels of the prepared field of view.
        frames: (F, 2) float32, size in pixels and direction in radians, clockwise as y is down.
        vectors: (F, 128) uint8, RootSIFT times 512: a fourth of the memory of float32.
    """

    points: Vectors
    frames: Vectors
    vectors: Pixels


@dataclass(frozen=True)
class Comparison:
    """Two aligned photographs, pixel by pixel, where both show retina.

    Attributes:
        correlation: of vessels and lesions, without grain and illumination, in [-1, 1].
        light: what one tone curve leaves of the difference in illumination, as a multiple of
            the contrast of vessels and lesions, from 0 (lit alike) up.
        overlap: share of the smaller retina that both show, in [0, 1].
    """

    correlation: float
    light: float
    overlap: float


NOTHING = Comparison(0.0, float("inf"), 0.0)


def square(image: Pixels) -> Pixels:
    """(H, W, 3) uint8 RGB as decoded -> (SIDE, SIDE, 3) uint8, its field of view."""
    return prepare(image, Contract(size=SIDE), view=find_field_of_view(image))


def features(prepared: Pixels, most: int = FEATURES) -> Features:
    """The `most` strongest features of a (SIDE, SIDE, 3) uint8 field of view."""
    green = np.ascontiguousarray(prepared[..., 1])
    enhanced = cv2.createCLAHE(clipLimit=3.0, tileGridSize=(8, 8)).apply(green)
    sift = cv2.SIFT.create(nfeatures=most, contrastThreshold=0.02, edgeThreshold=20)
    keypoints, vectors = sift.detectAndCompute(enhanced, _inside(prepared))
    if vectors is None or not len(keypoints):
        empty = np.empty((0, 2), np.float32)
        return Features(empty, empty, np.empty((0, 128), np.uint8))
    root = np.sqrt(vectors / np.maximum(vectors.sum(axis=1, keepdims=True), 1e-9))
    points = np.array([key.pt for key in keypoints], np.float32)
    frames = np.array([(key.size, np.deg2rad(key.angle)) for key in keypoints], np.float32)
    # OpenCV keeps more than asked for where responses tie
    whole = np.minimum(512 * root, 255).astype(np.uint8)
    return Features(points[:most], frames[:most], whole[:most])


def compare(a: Pixels, b: Pixels, affine: Vectors, *, light: bool = True) -> Comparison:
    """Lay b over a and compare; 30 ms on one core.

    Args:
        a: (SIDE, SIDE, 3) uint8 field of view.
        b: the other, of the same shape.
        affine: (2, 3) float32 from b to a, a few pixels off at most; it is refined here.
        light: whether to compare the light, too; without, that is NaN and a third less work.
    """
    mask_a, mask_b = _inside(a), _inside(b)
    green_a, green_b = (np.ascontiguousarray(x[..., 1]).astype(np.float32) for x in (a, b))
    affine = _refined(_flat(green_a, mask_a), _flat(green_b, mask_b), mask_a, affine)
    moved = cv2.warpAffine(green_b, affine, (SIDE, SIDE)).astype(np.float32, copy=False)
    shown = cv2.warpAffine(mask_b, affine, (SIDE, SIDE), flags=cv2.INTER_NEAREST)
    both = (mask_a > 0) & (shown > 0)
    # areas in pixels of a; that of b shrinks or grows with the map
    scale = abs(float(np.linalg.det(affine[:, :2])))
    smaller = max(1.0, min(float(np.count_nonzero(mask_a)), np.count_nonzero(mask_b) * scale))
    shared = np.count_nonzero(both)
    if shared < 0.02 * SIDE * SIDE:
        return NOTHING
    weight = both.astype(np.float32)
    x, y = _smooth(green_a, weight), _smooth(moved, weight)
    wide_x, wide_y = _wide(green_a, weight), _wide(moved, weight)
    even_x, even_y = _even(x - wide_x, weight)[both], _even(y - wide_y, weight)[both]
    correlation, differs = float(np.corrcoef(even_x, even_y)[0, 1]), float("nan")
    if light:
        clear = both & _unclipped(green_a) & _unclipped(moved)
        differs = min(
            _unexplained(wide_x[clear], wide_y[clear]) / _contrast((x - wide_x)[both]),
            _unexplained(wide_y[clear], wide_x[clear]) / _contrast((y - wide_y)[both]),
        )
    return Comparison(correlation, differs, min(1.0, shared / smaller))


def _unclipped(green: Vectors) -> NDArray[np.bool_]:
    """Away from what is clipped, as the light around it is known too low or too high."""
    clipped = ((green < _CLIPPED[0]) | (green > _CLIPPED[1])).astype(np.uint8)
    return np.asarray(cv2.dilate(clipped, np.ones((25, 25), np.uint8)) == 0)


def _contrast(detail: Vectors) -> float:
    return max(float(detail.std()), 0.5)  # grey levels; an even picture has nothing to divide by


def _unexplained(x: Vectors, y: Vectors) -> float:
    """Standard deviation of what a cubic tone curve of y leaves of x, in grey levels."""
    if len(x) < 1000 or float(np.ptp(y)) < 1.0:
        return float("inf")
    curve = np.polynomial.Polynomial.fit(y.astype(np.float64), x.astype(np.float64), 3)
    return float((x - curve(y)).std())


def _inside(square: Pixels) -> Pixels:
    """What is retina: not black, and not within the rim."""
    bright = (square.max(axis=2) > 12).astype(np.uint8) * 255
    closed = cv2.morphologyEx(bright, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
    closed = cv2.copyMakeBorder(closed, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    kernel = np.ones((2 * _RIM + 1, 2 * _RIM + 1), np.uint8)
    return cv2.erode(closed, kernel, borderValue=0)[1:-1, 1:-1].astype(np.uint8)


def _smooth(green: Vectors, weight: Vectors) -> Vectors:
    """Without grain and compression; blind to what has no weight."""
    return _blur(green * weight, _NOISE) / (_blur(weight, _NOISE) + 1e-6)


def _wide(green: Vectors, weight: Vectors) -> Vectors:
    """The light alone: what is wider than vessels and lesions."""
    return _blur(green * weight, _BACKGROUND) / (_blur(weight, _BACKGROUND) + 1e-6)


def _even(detail: Vectors, weight: Vectors) -> Vectors:
    """Detail divided by its local deviation, so that no one bright spot decides."""
    squares = _blur(detail * detail * weight, _BACKGROUND) / (_blur(weight, _BACKGROUND) + 1e-6)
    # 2 grey levels, so that an even patch is not blown up to a texture
    return np.clip(detail / (np.sqrt(squares) + 2.0), -4, 4)


def _flat(green: Vectors, inside: Pixels) -> Vectors:
    weight = (inside > 0).astype(np.float32)
    return _even((green - _wide(green, weight)) * weight, weight)


def _blur(values: Vectors, sigma: float) -> Vectors:
    if sigma < 2 * _COARSE:
        return cv2.GaussianBlur(values, (0, 0), sigma).astype(np.float32, copy=False)
    # what is that wide can be blurred on every fourth pixel: 0.4 ms in place of 4.5
    side = SIDE // _COARSE
    coarse = cv2.resize(values, (side, side), interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(coarse, (0, 0), sigma / _COARSE)
    return cv2.resize(blurred, (SIDE, SIDE)).astype(np.float32, copy=False)


def _refined(a: Vectors, b: Vectors, inside: Pixels, affine: Vectors) -> Vectors:
    """The map that correlates the pixels best, from one that is a pixel or two off.

    Source: Evangelidis and Psarakis, TPAMI 2008 (ECC). Its map leads from a to b, hence the
    inverses.
    """
    # on half the pixels a side: a quarter of the work, and exact to a fifth of a pixel
    half = (SIDE // 2, SIDE // 2)
    small_a, small_b = (cv2.resize(x, half, interpolation=cv2.INTER_AREA) for x in (a, b))
    shown = cv2.resize(inside, half, interpolation=cv2.INTER_NEAREST)
    start = cv2.invertAffineTransform(_scaled(affine, 0.5)).astype(np.float32)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-5)
    try:
        _, found = cv2.findTransformECC(small_a, small_b, start, cv2.MOTION_AFFINE, stop, shown, 5)
    except cv2.error:  # it did not converge: the features' own map stands
        return affine
    return _scaled(cv2.invertAffineTransform(found), 2.0).astype(np.float32)


def _scaled(affine: NDArray[Any], scale: float) -> NDArray[Any]:
    """The same map where both pictures are so much larger; places count from a pixel's centre."""
    offset = np.full(2, (scale - 1) / 2)
    turn = affine[:, :2]
    return np.column_stack([turn, scale * affine[:, 2] + offset - turn @ offset])


def mirrored(of: Features) -> Features:
    """The features that the mirrored photograph would have, without looking for them again.

    A SIFT vector is 4 rows x 4 columns x 8 directions in the frame of its keypoint, along and
    across the dominant gradient. A mirror swaps what lies across: rows, and directions' signs.
    """
    points = of.points.copy()
    points[:, 0] = SIDE - 1 - points[:, 0]
    cells = of.vectors.reshape(-1, 4, 4, 8)[:, ::-1]
    turned = cells[..., (-np.arange(8)) % 8]
    frames = np.column_stack([of.frames[:, 0], np.pi - of.frames[:, 1]]).astype(np.float32)
    return Features(points, frames, np.ascontiguousarray(turned.reshape(-1, 128)))

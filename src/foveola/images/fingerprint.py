"""Which photographs could be one: the nearest by a fingerprint of their coarse structure.

A perceptual hash of the usual kind, kept as numbers rather than bits: the low cosine
frequencies of the field of view's green channel without its illumination, at unit length.
Re-compressing, resizing and brightening hardly move it. Rotating, cropping and mirroring do, so
a photograph asks with rotated, cropped and mirrored versions of its fingerprint as well.
"""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Vectors = NDArray[np.float32]
Indices = NDArray[np.int64]

_SIDE = 64  # pixels on which it is computed
_FREQUENCIES = 16  # cosines along each axis
DIMENSION = _FREQUENCIES**2 - 1  # without the mean
_ANGLES = (-14, -7, 7, 14)  # degrees; between two of them a fingerprint still finds its own
_CROPS = (0.9, 0.8, 0.7)  # share of each side
ASKED = 1 + len(_ANGLES) + len(_CROPS)  # versions that a photograph asks with; the first is plain
SAME = 0.95  # cosine of marks above which two are one picture: fellow eyes have up to .77, copies .97
_BLOCK = 8_000_000  # similarities held at a time: 32 MB


def fingerprints(prepared: Pixels) -> Vectors:
    """Compute fingerprints, (S, S, 3) uint8 field of view -> (2, ASKED, DIMENSION) float32 of unit length.

    The first half as it is, the second mirrored; in each the plain version first.
    """
    green, weight = _shrunk(prepared)
    halves = [(green, weight), (green[:, ::-1].copy(), weight[:, ::-1].copy())]
    return np.stack([np.stack([_one(g, w) for g, w in _versions(*half)]) for half in halves])


def mark(prepared: Pixels) -> Vectors:
    """Compute the mark, (S, S, 3) uint8 field of view -> (2, DIMENSION) float32 unit rows, plain and mirrored."""
    green, weight = _shrunk(prepared)
    return np.stack([_one(green, weight), _one(green[:, ::-1].copy(), weight[:, ::-1].copy())])


def same_picture(one: Vectors, other: Vectors) -> bool:
    """Return whether two marks are of one picture, perhaps saved in another way or mirrored.

    Fellow eyes differ far more. Two photographs of one eye that were taken at once may not.
    """
    return bool((one @ other[0]).max() > SAME)


def nearest(queries: Vectors, gallery: Vectors, k: int, least: float) -> Iterator[tuple[int, int, float]]:
    """Yield the k most similar others of each row: (row, row of the gallery, cosine).

    Row i of the queries is the same photograph as row i of the gallery and never its own
    neighbour. Works on blocks of rows: memory does not grow with the square of their number.

    Args:
        queries: (N, D) float32 of unit length.
        gallery: (N, D) float32 of unit length.
        k: how many, at least 1.
        least: cosine below which a neighbour is left out.
    """
    count = len(gallery)
    k = min(k, count - 1)
    if k < 1:
        return
    step = max(1, _BLOCK // count)
    for start in range(0, count, step):
        similar = queries[start : start + step] @ gallery.T
        rows = np.arange(len(similar))
        similar[rows, rows + start] = -2.0
        best = np.argpartition(similar, count - k, axis=1)[:, count - k :]
        values = np.take_along_axis(similar, best, axis=1)
        for row, at in zip(*np.nonzero(values >= least), strict=True):
            yield start + int(row), int(best[row, at]), float(values[row, at])


def _shrunk(prepared: Pixels) -> tuple[Vectors, Vectors]:
    """Green channel and weight, (64, 64) each."""
    small = cv2.resize(prepared, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return small[..., 1].astype(np.float32), (small.max(axis=2) > 12).astype(np.float32)


def _versions(green: Vectors, weight: Vectors) -> Iterator[tuple[Vectors, Vectors]]:
    """As it is, rotated, and cropped to its middle."""
    yield green, weight
    middle = ((_SIDE - 1) / 2, (_SIDE - 1) / 2)
    maps: list[NDArray[Any]] = [cv2.getRotationMatrix2D(middle, angle, 1.0) for angle in _ANGLES]
    maps += [cv2.getRotationMatrix2D(middle, 0.0, 1.0 / crop) for crop in _CROPS]
    for affine in maps:
        yield _warp(green, affine), _warp(weight, affine)


def _warp(values: Vectors, affine: NDArray[Any]) -> Vectors:
    return cv2.warpAffine(values, affine, (_SIDE, _SIDE)).astype(np.float32, copy=False)


def _one(green: Vectors, weight: Vectors) -> Vectors:
    weight = np.where(weight > 0.5, weight, 0).astype(np.float32)
    light = _blur(green * weight) / (_blur(weight) + 1e-6)
    detail = (green - light) * weight
    # spots of lesions and reflexes must not outweigh vessels and disc
    limit = 3 * float(detail.std()) + 1e-6
    cosines = cv2.dct(np.clip(detail, -limit, limit))[:_FREQUENCIES, :_FREQUENCIES].ravel()[1:]
    unit: Vectors = (cosines / max(float(np.linalg.norm(cosines)), 1e-6)).astype(np.float32)
    return unit


def _blur(values: Vectors) -> Vectors:
    return cv2.GaussianBlur(values, (0, 0), _SIDE / 12).astype(np.float32, copy=False)

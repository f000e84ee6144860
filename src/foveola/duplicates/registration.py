"""Whether two photographs show the same retina: their local features, one map between, the pixels.

    features(square) -> Features      of the prepared field of view, small enough to keep
    agree(a, b)      -> Agreement     one map that many of their local features agree on
    compare(a, b)    -> Comparison    the pixels under a map: correlation and light

Features are RootSIFT (Arandjelovic and Zisserman, CVPR 2012: the square root of SIFT divided by
its sum) of the green channel, where vessels show best, after CLAHE. Those near the rim of the
field of view are left out: the rim belongs to the camera, and two eyes share it.

A feature has a place, a size and a direction. Two that match therefore say by themselves how the
one photograph lies in the other: moved, turned, larger. Every match is taken at its word once, and
the map that most others bear out is kept (after Lowe, IJCV 2004, section 7.3; all pairs of matches
are compared in place of his bins). RANSAC has to draw three right matches at once, so that it needs
matches that are right more often than not, and must throw away the doubtful; here doubtful ones do
no harm, and hard second visits have few others.

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
_SCALES = 0.35, 2.9  # of a believable map
_STRETCH = 1.5  # longer to shorter axis of a believable map: copies may be squeezed a little
_LOOSE = 15.0  # pixels within which another match bears out a single match's own map
_CLOSE = 6.0  # likewise, once the map is fitted to several
_WITHIN = 3.0  # likewise, at the end
_TURN = np.deg2rad(15.0)  # by which a match's own turn may differ from the map's
_GROWTH = np.log(1.3)  # likewise its own scale
_TRIED = 10  # maps that are fitted: those with most support
_FEWEST = 3  # matches below which there is no map
_AFFINE = 6  # matches from which it may stretch, too


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


def square(image: Pixels) -> Pixels:
    """Prepare the field of view: (H, W, 3) uint8 RGB as decoded -> (SIDE, SIDE, 3) uint8."""
    return prepare(image, Contract(size=SIDE), view=find_field_of_view(image))


def features(prepared: Pixels, most: int = FEATURES) -> Features:
    """Find the `most` strongest features of a (SIDE, SIDE, 3) uint8 field of view."""
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
        return Comparison(0.0, float("inf"), 0.0)
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
    """Return the features that the mirrored photograph would have, without looking for them again.

    A SIFT vector is 4 rows x 4 columns x 8 directions in the frame of its keypoint, along and
    across the dominant gradient. A mirror swaps what lies across: rows, and directions' signs.
    """
    points = of.points.copy()
    points[:, 0] = SIDE - 1 - points[:, 0]
    cells = of.vectors.reshape(-1, 4, 4, 8)[:, ::-1]
    turned = cells[..., (-np.arange(8)) % 8]
    frames = np.column_stack([of.frames[:, 0], np.pi - of.frames[:, 1]]).astype(np.float32)
    return Features(points, frames, np.ascontiguousarray(turned.reshape(-1, 128)))


@dataclass(frozen=True)
class Agreement:
    """One map that features agree on.

    Attributes:
        inliers: features that agree, 0 where no believable map was found.
        affine: (2, 3) float32, from the second photograph to the first.
    """

    inliers: int
    affine: Vectors


@dataclass(frozen=True)
class _Matches:
    """Places as complex numbers, x + iy; `own` is each match's turn and scale, as one too."""

    first: NDArray[np.complex64]
    second: NDArray[np.complex64]
    own: NDArray[np.complex64]

    def __len__(self) -> int:
        return len(self.own)

    def where(self, kept: Any) -> "_Matches":
        return _Matches(self.first[kept], self.second[kept], self.own[kept])


def agree(a: Features, b: Features) -> Agreement:
    """Find the map from b to a that most features agree on; 3 ms on one core with 400 each.

    Args:
        a: of the first photograph.
        b: of the second.
    """
    matches = _matched(a, b)
    best = _nowhere()
    if len(matches) < _FEWEST:
        return best
    for supporters in _supported(matches):
        found = _fitted(matches, supporters)
        if found.inliers > best.inliers:
            best = found
    return best


def _nowhere() -> Agreement:
    return Agreement(0, np.eye(2, 3, dtype=np.float32))


def _matched(a: Features, b: Features) -> _Matches:
    """Features that are each other's nearest, of a scale that a map may have."""
    if not len(a.points) or not len(b.points):
        nothing = np.empty(0, np.complex64)
        return _Matches(nothing, nothing, nothing)
    i, j = _mutual(_unit(a.vectors) @ _unit(b.vectors).T)
    scale = a.frames[i, 0] / b.frames[j, 0]
    own = scale * np.exp(1j * (a.frames[i, 1] - b.frames[j, 1]))
    matches = _Matches(_complex(a.points[i]), _complex(b.points[j]), own.astype(np.complex64))
    return matches.where((scale > _SCALES[0]) & (scale < _SCALES[1]))


def _mutual(cosines: Vectors) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns that are each other's largest; of equal rows the first."""
    nearest = cosines.argmax(axis=1)
    # the largest of each column, not where it is: numpy takes 17 times as long for that
    largest = cosines.max(axis=0)[nearest]
    rows = np.flatnonzero(np.take_along_axis(cosines, nearest[:, None], axis=1)[:, 0] == largest)
    rows = rows[np.sort(np.unique(nearest[rows], return_index=True)[1])]
    return rows, nearest[rows]


def _unit(vectors: NDArray[np.uint8]) -> Vectors:
    """Of unit length but for rounding, as RootSIFT is."""
    rows: Vectors = vectors.astype(np.float32)
    lengths: Vectors = np.sqrt((rows * rows).sum(axis=1, keepdims=True)) + np.float32(1e-6)
    return rows / lengths


def _complex(points: NDArray[Any]) -> NDArray[np.complex64]:
    return np.asarray(points[:, 0] + 1j * points[:, 1], dtype=np.complex64)


def _supported(matches: _Matches) -> list[NDArray[np.bool_]]:
    """Who bears out the maps of the matches with most support, (M,) each."""
    moved = matches.first - matches.own * matches.second
    missed = matches.own[:, None] * matches.second + moved[:, None] - matches.first
    near = missed.real**2 + missed.imag**2 < _LOOSE**2
    near &= _alike(matches.own, matches.own[:, None])
    support = near.sum(axis=1)
    first = np.argsort(-support, kind="stable")[:_TRIED]
    # matches that bear each other out mostly have the same supporters: one fit does for all
    apart = {near[h].tobytes(): near[h] for h in first if support[h] >= _FEWEST}
    return list(apart.values())


def _alike(own: NDArray[np.complex64], turn: Any) -> NDArray[np.bool_]:
    """Whether matches' own turn and scale are about those of a map."""
    one, other = np.abs(own), np.abs(turn)
    straight = ((own / one) * np.conj(turn / other)).real > np.cos(_TURN)
    return np.asarray(straight & (np.abs(np.log(one) - np.log(other)) < _GROWTH))


def _fitted(matches: _Matches, kept: NDArray[np.bool_]) -> Agreement:
    """A map fitted to its supporters and to whom it then finds, four times over."""
    affine = np.eye(2, 3)
    for within in (_CLOSE, _CLOSE, _WITHIN, _WITHIN):
        if np.count_nonzero(kept) < _FEWEST:
            return _nowhere()
        affine = _least_squares(matches.where(kept))
        turn = complex(affine[0, 0] + affine[1, 1], affine[1, 0] - affine[0, 1]) / 2
        if not abs(turn) > 1e-6:
            return _nowhere()
        second = np.column_stack([matches.second.real, matches.second.imag])
        error = _complex(second @ affine[:, :2].T + affine[:, 2]) - matches.first
        kept = (np.abs(error) < within) & _alike(matches.own, turn)
    if not _believable(affine):
        return _nowhere()
    agreed = matches.where(kept)
    # places that agree: one that has features in several directions counts once
    places = min(len(np.unique(np.round(z))) for z in (agreed.first, agreed.second))
    return Agreement(places, affine.astype(np.float32))


def _least_squares(matches: _Matches) -> NDArray[np.float64]:
    """(2, 3): an affine map, or one that only moves, turns and scales if there are few."""
    x, y = matches.second.astype(np.complex128), matches.first.astype(np.complex128)
    if len(x) >= _AFFINE:
        columns = np.column_stack([x.real, x.imag, np.ones(len(x))])
        solved = np.linalg.lstsq(columns, np.column_stack([y.real, y.imag]), rcond=None)[0]
        return np.ascontiguousarray(solved.T)
    turn, move = np.linalg.lstsq(np.column_stack([x, np.ones(len(x))]), y, rcond=None)[0]
    return np.array([[turn.real, -turn.imag, move.real], [turn.imag, turn.real, move.imag]])


def _believable(affine: NDArray[Any]) -> bool:
    """Not turned inside out, and neither scaled nor squeezed beyond reason."""
    large, small = np.linalg.svd(affine[:, :2], compute_uv=False)
    turned = float(np.linalg.det(affine[:, :2])) <= 0
    return not turned and _SCALES[0] < small <= large < _SCALES[1] and large / small < _STRETCH

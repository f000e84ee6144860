"""From a photograph to the pixels an encoder sees: one frozen, hashed contract.

In this field a different crop has cost 11 points of accuracy unnoticed, so what is done to
a photograph before it is encoded travels with the weights (`Contract`), and its hash is part
of the encoder's fingerprint and of every archive.

The field of view is the disc that the camera's mask leaves of the retina. It is found as a
circle even where the frame cuts it (at top and bottom in most tabletop cameras), so that one
disc diameter is the same number of pixels whatever the camera.
"""

import hashlib
import json
import math
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from foveola.errors import ImageError
from foveola.records import Eye

Pixels = NDArray[np.uint8]
Circle = tuple[float, float, float]  # x, y, radius

# Part of every contract's hash. Raise it whenever the code below gives other pixels.
ALGORITHM = 2

_THUMBNAIL = 192  # pixels, at most, of the longer side on which the field of view is looked for
_DARK, _BRIGHT = 48, 200  # a frame's corner is black below, white above (0-255)
_SECOND = 0.2  # of the largest part's area: less is an inset or a label and no second eye
_HALF_OF_TWO, _MOST_OF_ONE = 0.3, 0.6  # of an outline's points, that lie on one circle
_MOST_SIDE = 4800  # pixels of a square that is cut at once
_TRIALS = 64  # circles tried; three of five edge points being good, all fail with p < 1e-6
_CLIP, _TILES = 2.0, 8  # of the equalisation of lightness: its limit, and tiles a side
_rng = random.Random(0)  # noqa: S311, as numpy's takes 7 ms to import and nothing is secret here
_DRAWS = np.array([[_rng.random() for _ in range(3)] for _ in range(_TRIALS)])


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What is done to a photograph before it is encoded.

    Attributes:
        size: pixels of each side of the square result.
        crop: cut to the circle of the field of view; otherwise pad the frame to a square.
        mask: blacken what lies outside the circle: labels, notches, white paper.
        orient: mirror images of left eyes, so that the disc lies on the right in all of
            them. Has no effect where the eye is unknown.
        mean, std: of each channel R, G, B on the scale 0 to 1; applied inside the encoder.
    """

    size: int = 256
    crop: bool = True
    mask: bool = True
    orient: bool = False
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        if not 32 <= self.size <= 4096:
            raise ValueError(f"size is {self.size}; expected 32 to 4096 pixels")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ValueError("mean and std need three values each, those of std above 0")

    @property
    def hash(self) -> str:
        """Return 16 hexadecimal digits that change with every setting and with the algorithm."""
        text = json.dumps({"algorithm": ALGORITHM, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def min_side(self) -> int:
        """Return what `decode` must leave of the shorter side before `prepare`: 1.5 times size.

        libjpeg's smaller copies are not the means of pixels that other formats are brought down
        by, and half a pixel of the cut is more in them. Both are hidden by the means that follow
        where these have something to average (benchmarks/stability.py).
        """
        return -(-3 * self.size // 2)

    def to_mapping(self) -> dict[str, Any]:
        """Return plain values for JSON; `Contract.from_mapping` reads it back."""
        return {"algorithm": ALGORITHM, **asdict(self)}

    @classmethod
    def from_mapping(cls, values: dict[str, Any]) -> "Contract":
        """Read what `to_mapping` wrote.

        Raises:
            ValueError: it was written for another algorithm, or a setting is unknown.
        """
        settings = dict(values)
        algorithm = settings.pop("algorithm", None)
        if algorithm != ALGORITHM:
            raise ValueError(
                f"preprocessing algorithm {algorithm}; this program has algorithm {ALGORITHM}: "
                "use an encoder of this version, and index the photographs anew with it"
            )
        try:
            made: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()
            }
            return cls(**made)
        except TypeError as error:
            raise ValueError(f"unknown preprocessing setting: {error}") from None


@dataclass(frozen=True)
class FieldOfView:
    """Where the retina is in a photograph, in pixels from its upper left corner.

    Attributes:
        x, y: centre.
        radius: of the circle; half the longer side of the frame where no circle was found.
        round: whether a circle was found. False means the whole frame is taken.
    """

    x: float
    y: float
    radius: float
    round: bool


def find_field_of_view(image: Pixels) -> FieldOfView:
    """Find the disc of the retina in (H, W, 3) uint8.

    Handles black and white surrounds, a disc cut by the frame on any side, and frames that
    hold nothing but retina (no circle: the whole frame). Deterministic.

    Raises:
        ImageError: there are two discs or more: the eyes of a person, or two visits, in one frame.

    >>> image = np.zeros((200, 240, 3), np.uint8)
    >>> view = find_field_of_view(cv2.circle(image, (120, 100), 80, (180, 90, 40), -1))
    >>> view.round, round(view.x), round(view.y), round(view.radius)
    (True, 120, 100, 81)
    """
    height, width = image.shape[:2]
    circle = None
    shrink = -(-max(height, width) // _THUMBNAIL)
    if min(height, width) >= 2 * shrink:
        circle = _circle(_shrunk(image, shrink))
    if circle is None:
        return _whole(image)
    x, y, radius = circle
    # pixel centres lie at half coordinates: 0.5 in the thumbnail is 0.5 * shrink in the image
    return FieldOfView((x + 0.5) * shrink, (y + 0.5) * shrink, radius * shrink, round=True)


def field_to_show(image: Pixels) -> FieldOfView:
    """Find the same for people who look at the picture: the whole frame where there are two."""
    try:
        return find_field_of_view(image)
    except ImageError:
        return _whole(image)


def _whole(image: Pixels) -> FieldOfView:
    height, width = image.shape[:2]
    return FieldOfView(width / 2, height / 2, max(height, width) / 2, round=False)


def prepare(image: Pixels, contract: Contract, eye: Eye | None = None, view: FieldOfView | None = None) -> Pixels:
    """Bring a photograph into the form an encoder expects.

    Args:
        image: (H, W, 3) uint8 RGB of any size.
        contract: what to do.
        eye: which eye it is, for `contract.orient`.
        view: the field of view if it is known already.

    Returns:
        (size, size, 3) uint8 RGB, not yet normalised: the encoder does that itself.

    Raises:
        ImageError: as from `find_field_of_view`, where the view is not given.
    """
    view = (view or find_field_of_view(image)) if contract.crop else _whole(image)
    square = _cut(image, view)
    if square.shape[0] != contract.size:
        how = cv2.INTER_AREA if square.shape[0] > contract.size else cv2.INTER_CUBIC
        square = cv2.resize(square, (contract.size,) * 2, interpolation=how).astype(np.uint8, copy=False)
    if contract.mask and view.round:
        square = cv2.bitwise_and(square, square, mask=_disc(contract.size))  # type: ignore[assignment]
    if contract.orient and eye == "left":
        square = square[:, ::-1]
    return np.ascontiguousarray(square)


def _shrunk(image: Pixels, by: int) -> Pixels:
    """Means of squares of `by` pixels; a whole number, as OpenCV is 7 times as fast then."""
    height, width = image.shape[0] // by, image.shape[1] // by
    whole = image[: height * by, : width * by]
    return cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _circle(small: Pixels) -> Circle | None:
    """Centre and radius of the retina's disc in pixels of `small`, or None."""
    mask = _foreground(small)
    parts = [] if mask is None else _large_parts(mask)
    if not parts:
        return None
    circle = _circle_of(parts[0], 0.3 * min(small.shape[:2]))
    # Of two in a frame, each may be smaller than one alone would be.
    discs = [_circle_of(part, math.sqrt(part.sum()) / 4) for part in parts if len(parts) > 1]
    if len(discs) - discs.count(None) > 1 or (circle is None and _is_of_two(parts[0])):
        raise ImageError(
            "this picture shows two fields of view or more, such as both eyes in one frame; "
            "cut it into one picture for each"
        )
    return circle


def _circle_of(inside: NDArray[np.bool_], least: float) -> Circle | None:
    """The circle of at least such a radius that one part of a frame is."""
    points = _edge_points(inside)
    if len(points) < 12:
        return None
    fitted = _fit_circle(points, *inside.shape, least=least)
    return fitted if fitted and _plausible([fitted], inside) else None


def _is_of_two(inside: NDArray[np.bool_]) -> bool:
    """Whether a part of no circle is two discs that touch or overlap a little."""
    points, circles = _edge_points(inside), []
    least = math.sqrt(inside.sum()) / 5
    for share in (_HALF_OF_TWO, _MOST_OF_ONE):
        fitted = None
        if len(points) >= 12:
            fitted = _fit_circle(points, *inside.shape, least=least, share=share)
        if fitted is None:
            return False
        circles.append(fitted)
        x, y, radius = np.array(fitted)[:, None]
        points = points[~_near(points, x, y, radius, 2 * _within(*inside.shape))[:, 0]]
    (a, b, r), (c, d, q) = circles
    apart = math.hypot(a - c, b - d) > 0.7 * (r + q) and min(r, q) > 0.4 * max(r, q)
    discs = [_filled(circle, *inside.shape) for circle in circles]
    full = all(float((inside & disc).sum()) > 0.85 * float(disc.sum()) for disc in discs)
    return apart and full and _plausible(circles, inside)


def _foreground(small: Pixels) -> NDArray[np.bool_] | None:
    """What is not surround, by the colour of the frame's corners; None if nothing surrounds it."""
    red, green, blue = cv2.split(small)
    brightest = cv2.max(cv2.max(red, green), blue).astype(np.uint8, copy=False)
    darkest = cv2.min(cv2.min(red, green), blue).astype(np.uint8, copy=False)
    dark = _median(_corners(brightest)) < _DARK
    white = _median(_corners(darkest)) > _BRIGHT
    if white.sum() >= 3:
        mask = darkest < _BRIGHT
    elif dark.sum() >= 2:
        mask = brightest > _threshold(brightest, _corners(brightest)[dark])
    else:
        return None
    return np.asarray(mask)


def _corners(channel: Pixels) -> Pixels:
    """(4, P) values in the frame's four corners."""
    c = max(2, min(channel.shape) // 24)
    rows = channel[:c], channel[-c:]
    return np.stack([row[:, at].ravel() for row in rows for at in (slice(c), slice(-c, None))])


def _threshold(brightest: Pixels, surround: Pixels) -> float:
    """A little above the surround's own noise: retina can be nearly as dark."""
    level = float(_median(surround.reshape(1, -1))[0])
    sample = np.sort(brightest[::3, ::3], axis=None)
    bright = float(sample[round(0.9 * (len(sample) - 1))])
    return level + max(8.0, 0.12 * (bright - level))


def _median(rows: Pixels) -> Pixels:
    """(R, P) -> (R,) middle of each row; numpy's own takes 8 ms at its first call."""
    middle: Pixels = np.sort(rows, axis=1)[:, rows.shape[1] // 2]
    return middle


def _large_parts(mask: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """The largest connected part, and others that are not much smaller.

    None where the largest is a lamp in the dark and no retina.
    """
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    areas = stats[1:, cv2.CC_STAT_AREA]
    order = np.argsort(-areas, kind="stable")
    if not len(order) or areas[order[0]] < 0.1 * mask.size:
        return []
    large = [n for n in order if areas[n] > _SECOND * areas[order[0]]]
    return [np.asarray(labels == n + 1) for n in large]


def _edge_points(inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(P, 2) x, y of the outline, without what the frame itself cuts.

    The first and the last pixel of every row and column rather than a contour: dark retina
    leaves holes in the mask, and these would be followed by a contour.
    """
    height, width = inside.shape
    rows = np.flatnonzero(inside.any(axis=1))
    columns = np.flatnonzero(inside.any(axis=0))
    left, right = inside.argmax(axis=1)[rows], width - 1 - inside[:, ::-1].argmax(axis=1)[rows]
    top, bottom = inside.argmax(axis=0)[columns], height - 1 - inside[::-1].argmax(axis=0)[columns]
    # the outline runs between the last pixel inside and the first outside, half a pixel on
    points = np.concatenate(
        [
            np.stack([left - 0.5, rows], 1),
            np.stack([right + 0.5, rows], 1),
            np.stack([columns, top - 0.5], 1),
            np.stack([columns, bottom + 0.5], 1),
        ]
    ).astype(np.float64)
    x, y = points.T
    uncut: NDArray[np.float64] = points[(x > 1) & (x < width - 2) & (y > 1) & (y < height - 2)]
    return uncut


def _fit_circle(
    points: NDArray[np.float64], height: int, width: int, *, least: float, share: float = _MOST_OF_ONE
) -> Circle | None:
    """The circle most outline points lie on: sampled triples, then least squares on the best.

    Its radius is above `least`, and at least a share of the points lies on it.
    """
    x, y, radius = _circles_through(points[(_DRAWS * len(points)).astype(np.int64)])
    with np.errstate(invalid="ignore"):
        sound = (radius > least) & (radius < 0.9 * max(height, width))
    if not sound.any():
        return None
    x, y, radius = x[sound], y[sound], radius[sound]
    within = _within(height, width)
    # every third point votes: 150 of them tell the circles apart as well as 500
    best = int(_near(points[::3], x, y, radius, within).sum(axis=0).argmax())
    one = slice(best, best + 1)
    chosen = points[_near(points, x[one], y[one], radius[one], within)[:, 0]]
    # A frame squeezed to a square makes an ellipse, of which a circle fits one side: half.
    if len(chosen) < max(12, share * len(points)):
        return None
    return _least_squares(chosen)


def _within(height: int, width: int) -> float:
    """Pixels that a point may lie from a circle and be of it."""
    return max(1.0, 0.015 * max(height, width))


def _near(
    points: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    radius: NDArray[np.float64],
    within: float,
) -> NDArray[np.bool_]:
    """(P, T) whether each of P points lies on each of T circles, to some pixels."""
    # |p - c|^2 as one product of matrices: 4 times as fast as the distances one by one
    squared = (points**2).sum(1)[:, None] - 2 * points @ np.stack([x, y]) + (x**2 + y**2)
    near: NDArray[np.bool_] = (squared < (radius + within) ** 2) & (squared > np.maximum(radius - within, 0) ** 2)
    return near


def _circles_through(
    triples: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Centres and radii of the circles through (T, 3, 2) points; not finite for a line."""
    a = triples[:, 1] - triples[:, 0]
    b = triples[:, 2] - triples[:, 0]
    cross = 2 * (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
    aa, bb = (a**2).sum(1), (b**2).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        dx = (b[:, 1] * aa - a[:, 1] * bb) / cross
        dy = (a[:, 0] * bb - b[:, 0] * aa) / cross
    return triples[:, 0, 0] + dx, triples[:, 0, 1] + dy, np.hypot(dx, dy)


def _least_squares(points: NDArray[np.float64]) -> tuple[float, float, float]:
    """Kasa's algebraic fit: x^2 + y^2 = 2ax + 2by + c, about the points' own centre."""
    centre = points.mean(axis=0)
    x, y = (points - centre).T
    squared = x * x + y * y
    # c falls out of the normal equations, as x and y have no mean: two are left
    xx, xy, yy, xz, yz = x @ x, x @ y, y @ y, x @ squared / 2, y @ squared / 2
    determinant = max(xx * yy - xy * xy, 1e-9)
    a, b = (xz * yy - yz * xy) / determinant, (yz * xx - xz * xy) / determinant
    radius = np.sqrt(squared.mean() + a * a + b * b)
    return float(a + centre[0]), float(b + centre[1]), float(radius)


def _plausible(circles: Sequence[Circle], inside: NDArray[np.bool_]) -> bool:
    """Whether circles hold nearly all of the retina found, and are not mostly empty."""
    discs = np.logical_or.reduce([_filled(circle, *inside.shape) for circle in circles])
    both = float((inside & discs).sum())
    return both > 0.93 * float(inside.sum()) and both > 0.5 * float(discs.sum())


def _filled(circle: Circle, height: int, width: int) -> NDArray[np.bool_]:
    """(height, width), true inside."""
    x, y, radius = circle
    rows, columns = np.ogrid[:height, :width]
    return np.asarray((columns - x) ** 2 + (rows - y) ** 2 <= (radius + 1) ** 2)


def _cut(image: Pixels, view: FieldOfView) -> Pixels:
    """The square around the field of view; black where it reaches beyond the frame."""
    if (by := -(-2 * view.radius // _MOST_SIDE)) > 1:
        # Of what is longer the square would take far more memory than the picture does.
        size = (max(1, round(image.shape[1] / by)), max(1, round(image.shape[0] / by)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        view = FieldOfView(view.x / by, view.y / by, view.radius / by, view.round)
    height, width = image.shape[:2]
    side = max(2, round(2 * view.radius))
    left, top = round(view.x - side / 2), round(view.y - side / 2)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    if (x1 - x0, y1 - y0) == (side, side):
        return image[y0:y1, x0:x1]
    square = np.zeros((side, side, 3), np.uint8)
    square[y0 - top : y1 - top, x0 - left : x1 - left] = image[y0:y1, x0:x1]
    return square


@lru_cache(maxsize=8)
def _disc(size: int) -> Pixels:
    """(size, size) uint8, 255 inside the inscribed circle."""
    axis = np.arange(size) - (size - 1) / 2
    inside = axis[:, None] ** 2 + axis**2 <= (size / 2) ** 2
    return inside.astype(np.uint8) * 255


def enhance(image: Pixels) -> Pixels:
    """Equalise the lightness with limited contrast (3.1), the first step of paper 3: clip 2.0, 8 x 8 tiles.

    Colours keep their hue; what is black, such as the surround, stays so.

    Args:
        image: (S, S, 3) uint8 RGB, the field of view.

    Returns:
        (S, S, 3) uint8.
    """
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    equalised = cv2.createCLAHE(_CLIP, (_TILES, _TILES)).apply(np.ascontiguousarray(lab[..., 0]))
    lab[..., 0] = np.where(lab[..., 0] > 0, equalised, 0)
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB).astype(np.uint8)

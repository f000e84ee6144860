"""Whether a photograph of the retina is good enough to be graded, from its pixels alone.

Six numbers of the field of view, at a fixed size so that the camera's resolution does not count,
go into a logistic regression:

    vessels   how much of the field lies in long dark lines
    lines     how much of what is dark and narrow does: vessels, not dust or grain
    detail    contrast of the finest structures
    dim       brightness of the dimmest tenth
    shadow    the darkest part against the usual one
    redness   red against green: retina is red, haze and stray light are not

The weights lie beside this file and were fitted to what people said of photographs
(benchmarks/gradability.py; docs/explanation/gradability.md has the figures). The value says nothing of disease;
a bleeding that hides the retina makes it low as a bad exposure does. The numbers and the rule are
ours; the labels that they were fitted to are EyeQ's (Fu et al., MICCAI 2019).
"""

import json
import math
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from foveola.files import write_whole
from foveola.images.fundus import Contract, FieldOfView, prepare

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]
Image = NDArray[np.float32]

WARN_BELOW = 0.5  # more likely not gradable than gradable, among photographs like EyeQ's
MEASURES = ("vessels", "lines", "detail", "dim", "shadow", "redness")
WEIGHTS = Path(__file__).with_name("gradability.json")

_SIZE = 160  # pixels of the field's diameter; at 224 it costs twice the time and tells no more
_BLOCKS = 8  # a side; light and colour are judged by blocks
_RIM = 0.9  # of the radius that is looked at: the rim may be bright or dark, and is an edge
_BLACK = 8  # levels of 255: not retina, but what surrounds it
_LEAST_SEEN = 0.5  # of the field; less than that is not a photograph to be graded
_SMOOTH, _COARSER = 0.7, 1.1  # pixels; between them lie the finest structures
_WIDEST = 7  # pixels, of a vessel
_DEPTH = 7  # levels by which a vessel is darker than what surrounds it
_LONG = 20  # pixels, an eighth of the field
_TEXTURE = 0.4  # of the field in long dark lines; 0.32 is the most of 6,149 photographs
_GRAIN = 1.8  # of detail; 1.42 is the most of these
_SPECKLE = -3.0  # of lines; -2.07 is the least of these
_FLOOR = 0.005  # of the field; added before its logarithm is taken
_PLAIN = -1.08  # of detail, with no dark line: a plain disc. -1.04 is the least of 194 photographs
_BLIND = 0.05  # times the chance of such: good light must not make up for a retina
_REDDER = 0.01  # log of red over blue; 0 for a grey picture
_CONTRACT = Contract(size=2 * _SIZE)  # what the shipped encoders see: it need not be made twice


@dataclass(frozen=True, kw_only=True)
class Rule:
    """The regression.

    Attributes:
        constant: log odds of gradable at the means.
        weights: of the MEASURES, in their deviations.
        mean, deviation: of the photographs it was fitted to.
        low, high: a measure outside these counts as if it lay there. High is what is usual of
            gradable photographs: more of one does not make up for another.
        data: what it was fitted to, with the terms of use.
        command: that fits it.
    """

    constant: float
    weights: tuple[float, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    data: str
    command: str

    def chance(self, measures: Floats) -> Floats:
        """Return the chance, (..., 6) -> (...), from 0 to 1."""
        scaled = (np.clip(measures, self.low, self.high) - self.mean) / np.array(self.deviation)
        return np.asarray(1 / (1 + np.exp(-self.constant - scaled @ np.array(self.weights))))

    def save(self, path: Path) -> None:
        """Write as JSON."""
        write_whole(path, (json.dumps(asdict(self), indent=1) + "\n").encode())

    @classmethod
    def load(cls, path: Path) -> "Rule":
        """Read what `save` wrote."""
        values = json.loads(path.read_text(encoding="utf-8"))
        made: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return cls(**made)


def gradability(pixels: Pixels, view: FieldOfView | None = None) -> float:
    """Estimate the chance that a fundus photograph is of sufficient quality to be graded.

    0 for what shows no field in colour: a black frame, a grey picture, noise. Below 0.05 for a
    plain disc, and for a photograph that is blurred till it is one.

    Args:
        pixels: (H, W, 3) uint8 RGB, as decoded or as prepared for an encoder.
        view: the field of view if it is known already.

    Returns:
        From 0 to 1; `warning` says what to tell a user of it.
    """
    found = measure(pixels, view)
    if found is None:
        return 0.0
    vessels, lines, detail = found[:3]
    plain = vessels == math.log(_FLOOR) and lines == 0 and detail < _PLAIN
    return float(_shipped().chance(found)) * (_BLIND if plain else 1)


def warning(value: float) -> str | None:
    """Return what to tell a user of a photograph, to follow its name; None where all is well."""
    if value >= WARN_BELOW:
        return None
    return f"may be too dark, blurred or hazy to be graded (gradability {value:.2f}); look at it, or take it again"


def measure(pixels: Pixels, view: FieldOfView | None = None) -> Floats | None:
    """Compute the (6,) MEASURES of a photograph; None where there is no field in colour."""
    square = prepare(pixels, _CONTRACT, view=view)
    image = cv2.resize(square, (_SIZE, _SIZE), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    red, green, blue = (np.asarray(channel, np.uint8) for channel in cv2.split(image))
    brightest = cv2.blur(cv2.max(cv2.max(red, green), blue), (5, 5))
    inside = _inside() & (brightest > _BLACK)
    if inside.sum() < _LEAST_SEEN * _inside().sum():
        return None
    colours = _block_means(image, inside)
    reds, _, blues = np.log(colours + 5).T
    if not np.median(reds - blues) > _REDDER:  # a retina has more red than blue; a grey picture as much
        return None
    lines = _lines(green, inside)
    return None if lines is None else np.array([*lines, *_light(colours)])


def _lines(green: Pixels, inside: NDArray[np.bool_]) -> tuple[float, float, float] | None:
    """The first three MEASURES; None where all is texture or speckle."""
    smooth = cv2.GaussianBlur(green.astype(np.float32), (0, 0), _SMOOTH)
    widest = np.ones((_WIDEST, _WIDEST), np.uint8)
    dark = (cv2.morphologyEx(smooth, cv2.MORPH_CLOSE, widest) - smooth > _DEPTH) & inside
    long = _long_parts(dark)
    whole = float(inside.sum())
    if long / whole > _TEXTURE:
        return None
    vessels = math.log(long / whole + _FLOOR)
    lines = vessels - math.log((dark.sum() - long) / whole + _FLOOR)
    fine = smooth - cv2.GaussianBlur(smooth, (0, 0), _COARSER)
    contrast = 0.5 * np.log(_block_means((fine * fine)[..., None], inside) + 0.05)
    detail = float(contrast.mean())
    return (vessels, lines, detail) if lines > _SPECKLE and detail < _GRAIN else None


def _long_parts(dark: NDArray[np.bool_]) -> float:
    """Pixels of the connected parts that are long and fill less than half of their box."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(dark.astype(np.uint8))
    _, _, width, height, area = stats[1:].T
    chosen = (np.maximum(width, height) >= _LONG) & (2 * area < width * height)
    return float(area[chosen].sum())


def _light(colours: Floats) -> tuple[float, float, float]:
    """The last three MEASURES, of (N, 3) blocks."""
    light = np.sort(np.log(colours.max(axis=1) + 5))
    red, green, _ = np.log(colours + 5).T
    # The third darkest block: one or two may be a fovea or the end of an eyelash.
    shadow = light[2] - np.median(light)
    return float(light[len(light) // 10]), float(shadow), float((red - green).mean())


def _block_means(image: Pixels | Image, inside: NDArray[np.bool_]) -> Floats:
    """(S, S, C) -> (N, C): means of blocks, of those that lie in the field for the most part."""
    seen = inside.astype(np.float32)
    size = (_BLOCKS, _BLOCKS)
    share = cv2.resize(seen, size, interpolation=cv2.INTER_AREA)
    total = cv2.resize(image * seen[..., None], size, interpolation=cv2.INTER_AREA)
    use = share > 0.6
    return np.asarray(total.reshape(_BLOCKS, _BLOCKS, -1)[use] / share[use][:, None], np.float64)


@cache
def _inside() -> NDArray[np.bool_]:
    axis = np.arange(_SIZE) - (_SIZE - 1) / 2
    return np.asarray(np.hypot(axis[:, None], axis) <= _RIM * _SIZE / 2)


@cache
def _shipped() -> Rule:
    return Rule.load(WEIGHTS)

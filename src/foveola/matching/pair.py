"""Whether two photographs show one eye, from their pixels alone.

    match("first.jpg", "later.jpg").probability

Nothing is looked up and nothing is logged: who may ask this of whom is for the caller to decide,
as it is for the command line and the service.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from foveola.duplicates import registration
from foveola.duplicates.registration import Agreement, Features, agree
from foveola.encoders.encoder import UNUSABLE, Encoder
from foveola.encoders.release import MATCHER
from foveola.errors import ImageError
from foveola.images.decode import Photograph, as_file, decode, naming
from foveola.images.fingerprint import mark, same_picture
from foveola.images.pictures import jpeg
from foveola.labels import percent
from foveola.looks import check_retina, shipped_looker
from foveola.matching.probability import CALIBRATION, PRIOR, Calibration, Evidence, posterior
from foveola.notebook import Picture, html_lines, html_table

Pixels = NDArray[np.uint8]

FEATURES = 1500  # of each photograph: duplicates need fewer, hard second visits find more here
_SEEN = 4  # features that agree, from which the pixels are compared too
_PLACES = ("the first photograph", "the second photograph")
FIELDS = 8  # of the chessboard, along each side
_GREY = 128


@dataclass(frozen=True, eq=False, repr=False)
class EyeMatch:
    """Whether two photographs show one eye.

    Attributes:
        probability: that they do, 0 to 1.
        evidence: what that rests on.
        affine: float32 (2, 3), from the second's prepared square to the first's.
        prior: the chance before looking.
        most: probability that the strongest evidence would have; the calibration shows no more.
        encoder: name of the matching encoder.
        squares: uint8 (384, 384, 3) twice, the prepared fields of view.
    """

    probability: float
    evidence: Evidence
    affine: NDArray[np.float32]
    prior: float
    most: float
    encoder: str
    squares: tuple[Pixels, Pixels] = field(repr=False)

    @property
    def sentences(self) -> list[str]:
        """Say what is to be known of the answer."""
        seen = self.evidence
        return [
            f"The probability that both show one eye is {percent(self.probability)}, where it was "
            f"{percent(self.prior)} before looking.",
            f"{seen.inliers} local features agree; cosine {seen.cosine:.2f}, correlation "
            f"{seen.correlation:.2f}, overlap {seen.overlap:.2f}.",
        ]

    def __repr__(self) -> str:
        return "\n".join(self.sentences)

    def _repr_html_(self) -> str:
        first, second = self.squares
        shown = (first, second, chessboard(first, second, self.affine))
        head = ["first", "second", "in turn, the second laid over the first"]
        return html_lines(self.sentences) + html_table([head, [Picture(jpeg(x)) for x in shown]])


def match(first: Photograph, second: Photograph, *, prior: float = PRIOR, encoder: Encoder | None = None) -> EyeMatch:
    """Compare two photographs: how probable is it that they show the same eye?

    Args:
        first: the path of a file (text or Path), its bytes, pixels (H, W, 3) uint8 RGB upright, or
            a PIL image.
        second: another, likewise.
        prior: the chance before looking, above 0 and below 1.
        encoder: one for matching, calibrated; None is the shipped one, which is loaded once.

    Raises:
        ImageError: a photograph can't be used, shows no retina, or both are one picture.
        MatchingError: the encoder was not calibrated.
        ValueError: the prior is out of range, or something is no photograph.
    """
    encoder = encoder or _shipped()
    calibration = Calibration.load(encoder.release.folder / CALIBRATION, encoder.fingerprint)
    described, squares = [], []
    for place, photograph in zip(_PLACES, (first, second), strict=True):
        vector, square = _seen(photograph, place, encoder)
        described.append(vector)
        squares.append(square)
    if same_picture(mark(squares[0]), mark(squares[1])):
        raise ImageError("both are the very same photograph, which says nothing of an eye; give another of it")
    agreed = agree(local_features(squares[0]), local_features(squares[1]))
    cosine = float(np.clip(described[0] @ described[1], -1, 1))
    evidence = compared(cosine, agreed, lambda: (squares[0], squares[1]))
    ratios = [float(calibration.log_ratio([evidence])[0]), float(np.log(calibration.pairs[1]))]
    found, most = (float(posterior([ratio], 1, prior)[0][0]) for ratio in ratios)
    return EyeMatch(found, evidence, agreed.affine, prior, most, encoder.name, (squares[0], squares[1]))


@cache
def _shipped() -> Encoder:
    return Encoder.load(MATCHER)


def _seen(photograph: Photograph, place: str, encoder: Encoder) -> tuple[NDArray[np.float32], Pixels]:
    """Descriptor and prepared square of a photograph that shows a retina."""
    file = as_file(photograph)
    pixels = decode(file.data, min_side=registration.SIDE, name=file.name)
    with naming(file.name):
        square = registration.square(pixels)
        check_retina(shipped_looker().look(pixels)[1], place)
        return encoder.encode_photograph(pixels), square


def local_features(square: Pixels) -> Features:
    """Find as many local features of a prepared field of view as matching compares."""
    return registration.features(square, FEATURES)


def compared(cosine: float, agreed: Agreement, squares: Callable[[], tuple[Pixels, Pixels]]) -> Evidence:
    """Return the evidence of two photographs; their pixels are asked for only if features agree."""
    if agreed.inliers < _SEEN:
        return Evidence(cosine, agreed.inliers)
    seen = registration.compare(*squares(), agreed.affine, light=False)
    return Evidence(cosine, agreed.inliers, seen.correlation, seen.overlap)


def read_square(path: Path) -> Pixels | None:
    """Read the prepared field of view, (384, 384, 3) uint8; None where the file can't be read."""
    try:
        return registration.square(decode(path, min_side=registration.SIDE))
    except UNUSABLE:
        return None


def chessboard(first: Pixels, second: Pixels, affine: NDArray[np.float32]) -> Pixels:
    """Show fields of the one and of the other in turn: vessels go on across them if the map is right.

    Args:
        first: (S, S, 3) uint8.
        second: likewise.
        affine: (2, 3), from the second to the first.

    Returns:
        (S, S, 3) uint8; grey where the second shows nothing.
    """
    size = first.shape[0]
    border = (_GREY, _GREY, _GREY)
    moved = cv2.warpAffine(second, affine, (size, size), borderValue=border)
    at = np.arange(size) * FIELDS // size
    return np.where(((at[:, None] + at) % 2 == 0)[..., None], first, moved).astype(np.uint8)

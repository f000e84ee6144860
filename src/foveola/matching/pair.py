"""Whether two photographs show one eye, from their pixels alone.

    match("first.jpg", "later.jpg").probability

Nothing is looked up and nothing is logged: who may ask this of whom is for the caller to decide,
as it is for the command line and the service.

A calibration turns the evidence of a pair into a likelihood ratio LR: how many times as often such
evidence is seen on two photographs of one eye than on those of two. What that makes probable
depends on how many others there are: with a chance `prior` that the query's eye is in the archive
at all, spread evenly over its N photographs, q = prior / N and

    P(candidate i) = LR_i q / (LR_i q + 1 - q)
    P(none)        = (1 - prior) / (1 - prior + q sum_j LR_j)

Logistic regression on pairs whose truth is known gives log LR. It is bounded by the number of
those pairs: no experiment with n pairs of two eyes shows a ratio above n, or with m pairs of one
eye a ratio below 1 / m.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveola import files
from foveola.duplicates import registration
from foveola.duplicates.registration import Agreement, Features, agree
from foveola.encoders.encoder import UNUSABLE, Encoder
from foveola.encoders.release import MATCHER
from foveola.errors import ImageError, MatchingError
from foveola.images.decode import Photograph, as_file, decode, naming
from foveola.images.fingerprint import mark, same_picture
from foveola.images.pictures import jpeg
from foveola.labels import percent
from foveola.looks import check_retina, shipped_looker
from foveola.notebook import Picture, html_lines, html_table
from foveola.relevance.linear import logistic

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]

CALIBRATION = "calibration.json"  # in the folder of an encoder
CHANCE = 5  # features that agree between photographs of two eyes: up to here they say nothing
MANY = 60  # beyond which more say no more
_PENALTY = 0.0, 1e-6, 1e-6, 1e-6  # bounds the weights where the evidence tells all
PRIOR = 0.5  # that the eye is in the archive, where nothing else is known


@dataclass(frozen=True)
class Evidence:
    """What speaks for two photographs showing one eye.

    Attributes:
        cosine: of their descriptors.
        inliers: local features that agree on one map between them.
        correlation: of vessels and lesions under that map; 0 where there is none.
        overlap: share of the smaller retina that both show under it.
    """

    cosine: float
    inliers: int = 0
    correlation: float = 0.0
    overlap: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What evidence is worth.

    Attributes:
        encoder: fingerprint of the encoder whose cosines were calibrated.
        weights: of 1, cosine, log(inliers / CHANCE) and correlation, natural logarithms.
        pairs: of one eye and of two that it was fitted to, which bound it.
    """

    encoder: str
    weights: tuple[float, float, float, float]
    pairs: tuple[int, int]

    def log_ratio(self, evidence: Sequence[Evidence]) -> Floats:
        """Compute the natural logarithm of the likelihood ratio, (N,), bounded by the pairs it rests on."""
        low, high = -math.log(self.pairs[0]), math.log(self.pairs[1])
        return np.asarray(np.clip(self.score(evidence), low, high))

    def score(self, evidence: Sequence[Evidence]) -> Floats:
        """Compute the same (N,) without bounds: for an order, not for a probability."""
        return np.asarray(_columns(evidence) @ np.array(self.weights))

    def save(self, path: Path) -> None:
        """Write as JSON."""
        files.write_json(path, asdict(self), indent=2)

    @classmethod
    def load(cls, path: Path, encoder: str) -> "Calibration":
        """Read from JSON.

        Raises:
            MatchingError: it can't be read, or belongs to another encoder.
        """
        if not path.exists():
            raise MatchingError(
                f"{path.parent} has no {path.name}: what its evidence is worth is unknown; make it "
                "with: foveola matching calibrate ENCODER MANIFEST"
            )
        try:
            values = files.read_json(path)
            weights = tuple(map(float, values["weights"]))
            pairs = tuple(map(int, values["pairs"]))
            if len(weights) != 4 or len(pairs) != 2 or not all(map(math.isfinite, weights)) or min(pairs) < 1:
                raise ValueError("expected 4 finite weights and 2 numbers of pairs")
            made = cls(encoder=str(values["encoder"]), weights=weights, pairs=pairs)
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise MatchingError(f"the calibration {path} can't be used: {error}") from None
        if made.encoder != encoder:
            raise MatchingError(
                f"the calibration {path.name} belongs to another encoder ({made.encoder[:12]}) "
                f"than this archive's ({encoder[:12]})"
            )
        return made


def fit(evidence: Sequence[Evidence], same: ArrayLike, encoder: str) -> Calibration:
    """Fit to pairs whose truth is known, both kinds counting alike.

    Args:
        evidence: of each pair.
        same: bool (N,), whether it is of one eye.
        encoder: fingerprint of the encoder of the cosines.

    Raises:
        ValueError: there is no pair of a kind.
    """
    truth = np.asarray(same, dtype=bool)
    counts = int(truth.sum()), int((~truth).sum())
    if min(counts) < 1 or len(truth) != len(evidence):
        raise ValueError(f"expected pairs of both kinds, got {counts}")
    share = np.where(truth, 0.5 / counts[0], 0.5 / counts[1])
    weights = logistic(_columns(evidence), truth.astype(np.float64), share, _PENALTY).tolist()
    return Calibration(encoder=encoder, weights=(weights[0], weights[1], weights[2], weights[3]), pairs=counts)


def posterior(log_ratios: ArrayLike, gallery: int, prior: float = PRIOR, others: float = 0.0) -> tuple[Floats, float]:
    """Compute the probability of each of K candidates, (K,), and that none in the gallery is the eye.

    Args:
        log_ratios: (K,) natural logarithms.
        gallery: N photographs, at least K.
        prior: that the eye is in the gallery, above 0 and below 1.
        others: natural logarithm of the ratio of each photograph that was not compared; 0 speaks
            neither for nor against.

    Raises:
        ValueError: a number is out of range.

    >>> chances, none = posterior([np.log(10_000)], gallery=100)  # one strong candidate of 100
    >>> print(chances.round(3), round(none, 3))
    [0.98] 0.01
    """
    ratios = np.exp(np.asarray(log_ratios, dtype=np.float64))
    if not 0 < prior < 1 or gallery < max(1, len(ratios)):
        raise ValueError(f"prior is {prior}, {len(ratios)} candidates of {gallery} photographs")
    each = prior / gallery
    some = each * (float(ratios.sum()) + (gallery - len(ratios)) * math.exp(others))
    return np.asarray(ratios * each / (ratios * each + 1 - each)), (1 - prior) / (1 - prior + some)


def _columns(evidence: Sequence[Evidence]) -> Floats:
    """(N, 4)."""
    rows = [
        (1.0, e.cosine, math.log(min(max(e.inliers, CHANCE), MANY) / CHANCE), max(e.correlation, 0.0)) for e in evidence
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


# --- two photographs ---


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

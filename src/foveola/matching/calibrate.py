"""Fit the calibration, and the rule for left and right, to photographs whose eye is known.

Public photographs of one eye were mostly taken minutes apart, so that nearly anything finds them.
`harden` makes a hard second visit of a photograph: what a follow-up years later may look like. It
takes away what such pairs share for no good reason: framing, angle, light, focus, colours, and the
healthy background. What it leaves is what does not change: vessels and disc. The protocol is ours;
it is no model of ageing.
"""

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from foveola.duplicates import registration
from foveola.duplicates.find import FeatureStore
from foveola.duplicates.registration import agree
from foveola.encoders.encoder import UNUSABLE, Encoder
from foveola.errors import MatchingError
from foveola.images.decode import decode
from foveola.images.fundus import Contract, find_field_of_view, prepare
from foveola.laterality import Laterality, fit_laterality, read_views
from foveola.matching.evaluation import Protocol
from foveola.matching.pair import FEATURES, Calibration, Evidence, compared, fit, local_features
from foveola.phantom.rendering import paint_lesions
from foveola.records import Case

Pixels = NDArray[np.uint8]
Vectors = NDArray[np.float32]
SIDE = 512  # pixels of the result
FIELD = 0.6  # of the field's diameter is left
TURN = 30.0  # degrees at most
_ALIKE = 12  # grey level up to which a pixel is outside the field of view


@dataclass(frozen=True, eq=False)
class Views:
    """Photographs as they are and, of some, as a hard second visit.

    Attributes:
        plain: (N, D) descriptors; a row of zeros where the photograph can't be read.
        hard: (N, D) likewise; zeros where none was made.
        features: of the plain ones at i, of the hard ones at N + i.
        identities: N; None where unknown.
    """

    cases: Sequence[Case]
    plain: Vectors
    hard: Vectors
    features: FeatureStore
    identities: Sequence[object]

    def descriptor(self, i: int) -> Vectors:
        """Return the descriptor (D,) of photograph i, or of the hard visit of i - N."""
        count = len(self.cases)
        row: Vectors = self.plain[i] if i < count else self.hard[i - count]
        return row

    def square(self, i: int) -> Pixels:
        """Return the field of view (S, S, 3) of photograph i, or of the hard visit of i - N."""
        count = len(self.cases)
        image = decode(Path(self.cases[i % count].path), min_side=registration.SIDE)
        return registration.square(image if i < count else harden(image, i - count))


def calibrate(
    encoder: Encoder,
    cases: Sequence[Case],
    *,
    hard: int = 1000,
    impostors: int = 50_000,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Calibration:
    """Fit what evidence is worth to photographs of known eyes.

    Pairs of one eye are all there are, and a hard second visit of some photographs with another
    photograph of that eye, or where there is none with the photograph itself. Pairs of two eyes are
    drawn at random; fellow eyes are among them.

    Args:
        encoder: of the cosines.
        cases: photographs whose subject and eye are known; others are left out.
        hard: photographs of which a hard second visit is made.
        impostors: pairs of two eyes; they bound how much evidence can ever say.
        seed: of what is drawn.
        progress: called with 1 for each photograph and for each thousand pairs.

    Raises:
        MatchingError: fewer than two eyes are known.
    """
    protocol = Protocol()
    known = [case for case in cases if protocol.identity_of(case) is not None]
    if len({protocol.identity_of(case) for case in known}) < 2:
        raise MatchingError(
            f"{len(known)} of {len(cases)} photographs say whose eye they show; expected at least "
            "two eyes, in the columns subject and eye"
        )
    rng = np.random.default_rng(seed)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # ours each take a photograph
    try:
        with tempfile.TemporaryDirectory(prefix="foveola-") as folder:
            views = look(encoder, known, rng.permutation(len(known))[:hard], Path(folder), progress)
            same = list(genuine_pairs(views))
            other = list(impostor_pairs(views, impostors, rng))
            evidence = _evidence(views, [*same, *other], progress)
    finally:
        cv2.setNumThreads(threads)
    truth = np.arange(len(evidence)) < len(same)
    return fit(evidence, truth, encoder.fingerprint)


def learn_sides(encoder: Encoder, cases: Sequence[Case]) -> Laterality:
    """Fit the rule that tells left from right, to photographs whose eye is known.

    Raises:
        MatchingError: none can be used.
    """
    known = [case for case in cases if case.eye is not None]

    def read(case: Case) -> Vectors | None:
        return read_views(encoder, Path(case.path))

    with ThreadPoolExecutor() as pool:
        made = [
            (views, case.eye)
            for views, case in zip(pool.map(read, known), known, strict=True)
            if views is not None and case.eye is not None
        ]
    if not made:
        raise MatchingError(f"none of the {len(cases)} photographs has a known eye and can be read")
    views, eyes = zip(*made, strict=True)
    return fit_laterality(np.stack(views), eyes, encoder.fingerprint)


def look(
    encoder: Encoder,
    cases: Sequence[Case],
    hard: NDArray[np.int64],
    folder: Path,
    progress: Callable[[int], None] | None = None,
    *,
    features: bool = True,
) -> Views:
    """Describe photographs and hard visits of some of them, with local features if `features`."""
    count, chosen = len(cases), set(hard.tolist())
    store = FeatureStore(folder, 2 * count, FEATURES)
    plain, made = (np.zeros((count, encoder.dimension), np.float32) for _ in range(2))

    def work(i: int) -> None:
        try:
            image = decode(Path(cases[i].path), min_side=encoder.contract.min_side)
        except UNUSABLE:
            return
        visits = [(i, image, plain)]
        if i in chosen:
            visits.append((count + i, harden(image, i), made))
        for at, of, rows in visits:
            rows[i] = encoder.encode_photograph(of)
            if features:
                store.put(at, local_features(registration.square(of)))

    with ThreadPoolExecutor() as pool:
        for _ in pool.map(work, range(count)):
            if progress:
                progress(1)
    identities = [Protocol().identity_of(case) for case in cases]
    return Views(cases, plain, made, store, identities)


def genuine_pairs(views: Views) -> Iterator[tuple[int, int]]:
    """Yield pairs of one eye: of photographs, and of a hard visit and a photograph."""
    count = len(views.cases)
    eyes: dict[object, list[int]] = defaultdict(list)
    for i in np.flatnonzero(views.plain.any(axis=1)).tolist():
        eyes[views.identities[i]].append(i)
    for members in eyes.values():
        yield from combinations(members, 2)
        for i in members:
            if views.hard[i].any():
                others = [j for j in members if j != i] or [i]
                yield from ((count + i, j) for j in others)


def impostor_pairs(views: Views, wanted: int, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Yield random pairs of two eyes; every fourth of a hard visit and a photograph, if there are."""
    count = len(views.cases)
    plain = np.flatnonzero(views.plain.any(axis=1))
    hard = np.flatnonzero(views.hard.any(axis=1))
    first = rng.choice(plain, wanted)
    if len(hard):
        first[::4] = count + rng.choice(hard, len(first[::4]))
    for i, j in zip(first.tolist(), rng.choice(plain, wanted).tolist(), strict=True):
        if views.identities[i % count] != views.identities[j]:
            yield i, j


def _evidence(views: Views, pairs: Sequence[tuple[int, int]], progress: Callable[[int], None] | None) -> list[Evidence]:
    def work(pair: tuple[int, int]) -> Evidence:
        i, j = pair
        cosine = float(views.descriptor(i) @ views.descriptor(j))
        agreed = agree(views.features.get(i), views.features.get(j))
        return compared(cosine, agreed, lambda: (views.square(i), views.square(j)))

    found: list[Evidence] = []
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(pairs), 1000):
            found += pool.map(work, pairs[start : start + 1000])
            if progress:
                progress(1)
    return found


def harden(photograph: Pixels, seed: int, *, field: float = FIELD, disease: bool = True) -> Pixels:
    """Make another visit of the same eye.

    The phantom's lesions of grade 3 or 4 are painted in; a round part of the field is cut out
    somewhere and turned by up to 30 degrees; gamma, contrast and the balance of colours change;
    light falls unevenly; the picture is blurred or sharpened, and compressed.

    Args:
        photograph: (H, W, 3) uint8 RGB as decoded.
        seed: of all that is random, from 0.
        field: share of the diameter that is left, above 0 and up to 1.
        disease: whether lesions are painted in.

    Returns:
        (SIDE, SIDE, 3) uint8, black around the field.

    Raises:
        ValueError: the share is out of range.
    """
    if not 0 < field <= 1:
        raise ValueError(f"field is {field}; expected above 0 and up to 1")
    rng = np.random.default_rng([seed, 60])
    square = prepare(photograph, Contract(size=SIDE), view=find_field_of_view(photograph))
    if disease:
        square = paint_lesions(square, seed=seed, grade=int(rng.integers(3, 5)))
    cut = _cut(square, field, rng)
    lit = _light(cut, rng)
    return _develop(lit, cut.max(axis=2) > _ALIKE, rng)


def _cut(square: Pixels, field: float, rng: np.random.Generator) -> Pixels:
    """A round part of the field, turned, as large as the whole was."""
    middle = SIDE / 2
    away = middle * (1 - field) * np.sqrt(rng.random())  # evenly over the disc of centres
    angle = rng.uniform(0, 2 * np.pi)
    centre = middle + away * np.array([np.cos(angle), np.sin(angle)])
    turn = cv2.getRotationMatrix2D((0, 0), rng.uniform(-TURN, TURN), 1 / field)[:, :2]
    matrix = np.column_stack([turn, middle - turn @ centre])
    moved = cv2.warpAffine(square, matrix, (SIDE, SIDE), flags=cv2.INTER_CUBIC)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.circle(mask, (SIDE // 2, SIDE // 2), SIDE // 2 - 4, 1, -1)
    return (moved * mask[..., None]).astype(np.uint8)


def _light(image: Pixels, rng: np.random.Generator) -> NDArray[np.float32]:
    """(SIDE, SIDE, 3) in 0 to 1: uneven light, gamma, contrast, balance of colours."""
    axis = np.linspace(-1, 1, SIDE, dtype=np.float32)
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.6)
    slope = np.cos(angle) * axis[None] + np.sin(angle) * axis[:, None]
    x = image.astype(np.float32) / 255 * (1 + strength * slope)[..., None]
    x = np.clip(x, 0, 1) ** np.exp(rng.uniform(-0.35, 0.35))
    x = x * np.exp(rng.uniform(-0.3, 0.3, 3))
    lit: NDArray[np.float32] = (0.35 + rng.uniform(0.7, 1.3) * (x - 0.35)).astype(np.float32)
    return lit


def _develop(lit: NDArray[np.float32], seen: NDArray[np.bool_], rng: np.random.Generator) -> Pixels:
    """Focus, grain and compression; black outside."""
    sigma = rng.uniform(0.6, 2.2)
    soft = cv2.GaussianBlur(lit, (0, 0), sigma)
    focused = soft if rng.random() < 0.6 else lit + rng.uniform(0.4, 1.2) * (lit - soft)
    grain = rng.normal(0, rng.uniform(0, 0.02), lit.shape)
    image = np.clip(255 * (focused + grain), 0, 255).astype(np.uint8)
    image[~seen] = 0
    quality = int(rng.integers(55, 90))
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if decoded is None:  # can't happen: the bytes are OpenCV's own
        raise RuntimeError("OpenCV could not read its own JPEG")
    return np.ascontiguousarray(decoded[..., ::-1]).astype(np.uint8)

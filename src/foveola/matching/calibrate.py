"""Pairs whose truth is known, and the calibration fitted to them."""

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
from foveola.duplicates.agreement import agree
from foveola.duplicates.find import FeatureStore
from foveola.encoders.encoder import UNUSABLE, Encoder
from foveola.errors import MatchingError
from foveola.images.decode import decode
from foveola.laterality import Laterality, fit_laterality, read_views
from foveola.matching.hard import harden
from foveola.matching.pair import FEATURES, compared, local_features
from foveola.matching.probability import Calibration, Evidence, fit
from foveola.matching.protocol import Protocol
from foveola.records import Case

Pixels = NDArray[np.uint8]
Vectors = NDArray[np.float32]


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
        """Of photograph i, or of the hard visit of i - N."""
        count = len(self.cases)
        row: Vectors = self.plain[i] if i < count else self.hard[i - count]
        return row

    def square(self, i: int) -> Pixels:
        """(S, S, 3) of photograph i, or of the hard visit of i - N."""
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
    """The rule that tells left from right, from photographs whose eye is known.

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
    """Describe photographs and hard visits of some of them; with local features unless told."""
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
    """Pairs of one eye: of photographs, and of a hard visit and a photograph."""
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
    """Random pairs of two eyes; every fourth of a hard visit and a photograph, where there are."""
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

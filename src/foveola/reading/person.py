"""Both eyes in, findings out: what a reader says of a person, with all that limits it.

    reader = Reader.load()
    reading = read_person(reader, left=Path("l.jpg"), right=Path("r.jpg"))
    reading.probabilities, reading.found, reading.eyes["left"].evidence, reading.warnings

Probabilities of findings for whoever looks at the photographs, never a diagnosis.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foveola.cases import Case, Eye
from foveola.encoders.ahead import in_order
from foveola.encoders.encoder import UNUSABLE, Failed
from foveola.encoders.reader import Reader
from foveola.errors import ImageError, ManifestError
from foveola.images.decode import decode
from foveola.images.given import File, Photograph, as_file
from foveola.images.gradability import gradability, warning
from foveola.people import EYES, NORMAL, people_of

Pixels = NDArray[np.uint8]

TWICE = "both eyes show the very same photograph; give each eye's own, or one eye alone"
_AHEAD = 8  # people a core may be ahead of whoever takes the results


class Prepared(NamedTuple):
    """A photograph made ready to be read, as either eye: which it is may be said later.

    Attributes:
        squares: (S, S, 3) uint8 by the eye it is read as.
        gradability: the chance that it can be graded, 0 to 1.
    """

    squares: Mapping[Eye, Pixels]
    gradability: float


@dataclass(frozen=True, eq=False)
class EyeReading:
    """What is said of one eye.

    Attributes:
        image: name of the file.
        path: of the file; of what has none, as bytes, which eye it is.
        probabilities: (L,), of this eye by itself.
        evidence: (L, h, w) what each position adds to the label's logit.
        gradability: the chance that the photograph can be graded, 0 to 1.
    """

    image: str
    path: Path
    probabilities: NDArray[np.float32]
    evidence: NDArray[np.float32]
    gradability: float


@dataclass(frozen=True, eq=False)
class Reading:
    """What is said of one person.

    Attributes:
        labels: L names.
        probabilities: (L,), of the person by both eyes; of one alone as `encoders.reader.Said`.
        thresholds: (L,), above which a label counts as found.
        eyes: of each eye that was given.
        feature: (F,), the fused feature.
        reader: name of the reader.
        fingerprint: of the reader.
        milliseconds: from reading the files to the probabilities.
    """

    labels: tuple[str, ...]
    probabilities: NDArray[np.float32]
    thresholds: tuple[float, ...]
    eyes: Mapping[Eye, EyeReading]
    feature: NDArray[np.float32]
    reader: str
    fingerprint: str
    milliseconds: float

    @property
    def found(self) -> tuple[str, ...]:
        """Labels above their thresholds."""
        at = zip(self.labels, self.probabilities, self.thresholds, strict=True)
        return tuple(label for label, p, threshold in at if p > threshold)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user must know before trusting it; empty where there is nothing."""
        said = []
        if len(self.eyes) == 1:
            only = next(iter(self.eyes))
            said.append(
                f"only the {only} eye was given, so this says nothing of the other and is less "
                "sure than with both"
            )
        for eye, of in self.eyes.items():
            if (doubt := warning(of.gradability)) is not None:
                said.append(f"the photograph of the {eye} eye {doubt}")
        both = NORMAL in self.found and len(self.found) > 1
        if both:
            said.append("normal and a finding are both above their thresholds; look closely")
        return tuple(said)


def read_person(reader: Reader, left: Photograph | None, right: Photograph | None) -> Reading:
    """Read the photographs of one person.

    Args:
        reader: loaded.
        left: of the left eye: the path of a file, its bytes, or pixels (H, W, 3) uint8 RGB;
            None where there is none.
        right: likewise.

    Raises:
        ImageError: a file is no photograph that can be used, or both are one file.
        ValueError: neither is given.
    """
    start = time.perf_counter()
    files: dict[Eye, File] = {
        eye: as_file(of) for eye, of in zip(EYES, (left, right), strict=True) if of is not None
    }
    with ThreadPoolExecutor(len(EYES)) as pool:  # somebody waits for this one person
        found = pool.map(lambda eye: _seen(reader, files[eye], eye), files)
        seen = dict(zip(files, found, strict=True))
    if len(seen) == 2 and np.array_equal(seen["left"].pixels, seen["right"].pixels):
        raise ImageError(TWICE)
    paths = {eye: Path(file.path or f"{eye} eye") for eye, file in files.items()}
    return _reading(reader, paths, seen, start)


def prepare_eye(reader: Reader, pixels: Pixels) -> Prepared:
    """(H, W, 3) uint8 RGB as decoded -> what is kept of it to be read."""
    square = reader.prepare(pixels)
    turned = reader.release.contract.orient
    squares = {eye: reader.prepare(pixels, eye) if turned else square for eye in EYES}
    return Prepared(squares, gradability(pixels))


def read_prepared(reader: Reader, eyes: Mapping[Eye, Prepared]) -> Reading:
    """Read photographs that have no files, as those sent over a network; see `read_person`.

    Raises:
        ImageError: both are one photograph.
        ValueError: neither is given.
    """
    start = time.perf_counter()
    if not eyes:
        raise ValueError("neither eye is given; expected one or both")
    squares = {eye: of.squares[eye] for eye, of in eyes.items()}
    first, *more = [of.squares["left"] for of in eyes.values()]
    if any(np.array_equal(first, other) for other in more):
        raise ImageError(TWICE)
    quality = {eye: of.gradability for eye, of in eyes.items()}
    nowhere = {eye: Path(f"{eye} eye") for eye in eyes}
    return _said(reader, nowhere, squares, quality, start)


class _Seen(NamedTuple):
    """A photograph as decoded, as the network sees it, and the chance that it can be graded."""

    pixels: Pixels
    square: Pixels
    gradability: float


def _seen(reader: Reader, file: File, eye: Eye) -> _Seen:
    pixels = decode(file.data, min_side=reader.release.contract.min_side, name=file.name)
    return _Seen(pixels, reader.prepare(pixels, eye), gradability(pixels))


def _reading(
    reader: Reader, files: Mapping[Eye, Path], seen: Mapping[Eye, _Seen], start: float
) -> Reading:
    squares = {eye: of.square for eye, of in seen.items()}
    quality = {eye: of.gradability for eye, of in seen.items()}
    return _said(reader, files, squares, quality, start)


def _said(
    reader: Reader, files: Mapping[Eye, Path], squares: Mapping[Eye, Pixels],
    quality: Mapping[Eye, float], start: float,
) -> Reading:  # fmt: skip
    said = reader.read(squares.get("left"), squares.get("right"))
    eyes = {
        eye: EyeReading(
            files[eye].name, files[eye], said.eyes[side], said.evidence[side], quality[eye]
        )
        for side, eye in enumerate(EYES)
        if eye in squares
    }
    return Reading(
        reader.labels, said.probabilities, said.thresholds, eyes, said.feature,
        reader.release.name, reader.release.fingerprint, (time.perf_counter() - start) * 1000,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class ReadPerson:
    """One person of a manifest.

    Attributes:
        case: the first of the person's photographs, for subject, collection and visit.
        reading: what is said; None where no photograph of theirs can be used.
        failed: photographs that can't be used, with the reason.
    """

    case: Case
    reading: Reading | None
    failed: tuple[Failed, ...]


def read_people(reader: Reader, cases: Sequence[Case]) -> Iterator[ReadPerson]:
    """Read people in bulk, on all cores, in the order in which they come up.

    Photographs are paired by subject and visit; of several of one eye the first is read. Where
    one eye's photograph can't be used, the other is read alone.

    Args:
        reader: loaded.
        cases: photographs with subject and eye.

    Raises:
        ManifestError: no photograph has an eye.
    """
    people = people_of(cases, reader.labels)
    if not len(people.photographs):
        raise ManifestError(
            f"none of the {len(cases)} photographs says which eye it shows; expected a column "
            "'eye' with left and right"
        )
    pairs = (
        {eye: cases[i] for eye, i in zip(EYES, pair, strict=True) if i >= 0}
        for pair in people.photographs.tolist()
    )
    return in_order(lambda of: _read_one(reader, of), pairs, reader.threads, _AHEAD)


def _read_one(reader: Reader, of: Mapping[Eye, Case]) -> ReadPerson:
    """Both eyes, or the one whose file can be used."""
    start, first = time.perf_counter(), next(iter(of.values()))
    seen: dict[Eye, _Seen] = {}
    failed = []
    for eye, case in of.items():
        try:
            seen[eye] = _seen(reader, as_file(case.path), eye)
        except UNUSABLE as error:
            failed.append(Failed.of(case, error))
    if not seen:
        return ReadPerson(first, None, tuple(failed))
    files = {eye: Path(case.path) for eye, case in of.items()}
    return ReadPerson(first, _reading(reader, files, seen, start), tuple(failed))

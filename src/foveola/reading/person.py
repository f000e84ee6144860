"""Both eyes in, findings out: what a reader says of a person, with all that limits it.

    reading = read("l.jpg", "r.jpg")
    reading.probabilities, reading.found, reading.eyes["left"].evidence, reading.warnings

Probabilities of findings for whoever looks at the photographs, never a diagnosis.
"""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foveola.encoders.compiling import WAITED_FOR, in_order
from foveola.encoders.encoder import UNUSABLE, Failed
from foveola.encoders.reading_model import ReadingModel
from foveola.errors import ImageError, ManifestError, PairError
from foveola.images.decode import File, Photograph, as_file, decode, stated
from foveola.images.fingerprint import mark, same_picture
from foveola.laterality import TWICE, Side, Sides, check_eye, check_sides, shipped_sides
from foveola.looks import Looker, refused, shipped_looker
from foveola.people import EYES, people_of
from foveola.reading.result import EyeReading, Reading
from foveola.records import Case, Eye
from foveola.trust import Looks
from foveola.trust.sentences import of_doubt

Pixels = NDArray[np.uint8]

_AHEAD = 8  # people a core may be ahead of whoever takes the results


class Prepared(NamedTuple):
    """A photograph made ready to be read, as either eye: which it is may be said later.

    Attributes:
        squares: (S, S, 3) uint8 by the eye it is read as.
        gradability: the chance that it can be graded, 0 to 1.
        looks: whether it shows a retina at all.
        side: which eye it seems to show; None where there is no other to be taken for.
    """

    squares: Mapping[Eye, Pixels]
    gradability: float
    looks: Looks
    side: Side | None = None


@cache
def shipped_reader() -> ReadingModel:
    """Load the shipped reader, once."""
    return ReadingModel.load(together=WAITED_FOR)


def read(
    left: Photograph | None = None, right: Photograph | None = None, *, model: ReadingModel | str | Path | None = None
) -> Reading:
    """Read both eyes of a person, or one: how probable findings are. No diagnosis.

    Of two photographs of which one shows no retina, or too little of it, the other is read alone,
    and the reading says so.

    Args:
        left: photograph of the left eye: the path of a file (text or Path), its bytes, pixels
            (H, W, 3) uint8 RGB upright, or a PIL image; None where there is none.
        right: of the right eye, likewise.
        model: name of a shipped reader, the folder of one, or one that is loaded; None is the
            shipped one, which is loaded once.

    Returns:
        The reading: `probabilities` (L,) float32 in [0, 1] of its `labels`, and what limits it.

    Raises:
        ImageError: a photograph can't be used, none shows a retina, or both are one picture.
        EncoderError: the model can't be used.
        ValueError: neither eye is given.
    """
    if isinstance(model, str | Path):
        model = ReadingModel.load(model, together=WAITED_FOR)
    reading = read_person(model or shipped_reader(), left, right)
    given = dict(zip(EYES, (left, right), strict=True))
    return replace(reading, photographs={eye: of for eye in reading.eyes if (of := given[eye]) is not None})


def read_person(
    reader: ReadingModel, left: Photograph | None, right: Photograph | None, looker: Looker | None = None
) -> Reading:
    """Read the photographs of one person.

    Of two photographs of which one shows no retina, or too little of it, the other is read alone.

    Args:
        reader: loaded.
        left: of the left eye: the path of a file, its bytes, pixels (H, W, 3) uint8 RGB, or a PIL
            image; None where there is none.
        right: likewise.
        looker: tells whether a photograph shows a retina; None takes the shipped one.

    Raises:
        ImageError: a file is no photograph that can be used, none shows a retina, or both are one
            picture or surely of one side.
        ValueError: neither is given.
    """
    start = time.perf_counter()
    files: dict[Eye, File] = {eye: as_file(of) for eye, of in zip(EYES, (left, right), strict=True) if of is not None}
    with ThreadPoolExecutor(len(EYES)) as pool:  # somebody waits for this one person
        sides = shipped_sides() if len(files) == len(EYES) else None
        found = pool.map(lambda eye: _prepared(reader, eye, files[eye], looker, sides), files)
        eyes = dict(zip(files, found, strict=True))
    paths = {eye: Path(file.path or f"{eye} eye") for eye, file in files.items()}
    return _read(reader, paths, eyes, start)


def prepare_eye(
    reader: ReadingModel, pixels: Pixels, looker: Looker | None = None, sides: Sides | None = None
) -> Prepared:
    """Make a photograph ready: (H, W, 3) uint8 RGB as decoded; see `read_person`."""
    square = reader.prepare(pixels)
    turned = reader.release.contract.orient
    squares = {eye: reader.prepare(pixels, eye) if turned else square for eye in EYES}
    seen, looks = (looker or shipped_looker()).look(pixels)
    return Prepared(squares, seen.gradability, looks, sides and sides.of(pixels))


def read_prepared(reader: ReadingModel, eyes: Mapping[Eye, Prepared]) -> Reading:
    """Read photographs that have no files, as those sent over a network; see `read_person`.

    Raises:
        ImageError: none shows a retina, or both are one picture or surely of one side.
        ValueError: neither is given.
    """
    start = time.perf_counter()
    return _read(reader, {eye: Path(f"{eye} eye") for eye in eyes}, eyes, start)


def check_twice(eyes: Collection[Prepared]) -> None:
    """Refuse one picture for both eyes, whatever file it is in, and two that are as alike.

    Raises:
        PairError: they are.
    """
    first, *more = [mark(of.squares["left"]) for of in eyes]
    if any(same_picture(first, other) for other in more):
        raise PairError(TWICE)


def _prepared(reader: ReadingModel, eye: Eye, file: File, looker: Looker | None, sides: Sides | None) -> Prepared:
    check_eye(stated(file.data).eye, eye, file.name)
    pixels = decode(file.data, min_side=reader.release.contract.min_side, name=file.name)
    return prepare_eye(reader, pixels, looker, sides)


def _read(reader: ReadingModel, files: Mapping[Eye, Path], eyes: Mapping[Eye, Prepared], start: float) -> Reading:
    if not eyes:
        raise ValueError("neither eye is given; expected one or both")
    check_twice(eyes.values())
    why = refused({eye: of.looks for eye, of in eyes.items()})
    exchanged = check_sides({eye: of.side for eye, of in eyes.items() if eye not in why})
    squares = {eye: of.squares[eye] for eye, of in eyes.items() if eye not in why}
    said = reader.read(squares.get("left"), squares.get("right"))
    read = {
        eye: EyeReading(
            files[eye].name,
            files[eye],
            said.eyes[side],
            said.evidence[side],
            eyes[eye].gradability,
            of_doubt(eyes[eye].looks, eyes[eye].gradability),
        )
        for side, eye in enumerate(EYES)
        if eye in squares
    }
    return Reading(
        reader.labels,
        said.probabilities,
        said.thresholds,
        read,
        said.feature,
        reader.release.name,
        reader.release.fingerprint,
        (time.perf_counter() - start) * 1000,
        why,
        exchanged,
    )


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


def read_people(reader: ReadingModel, cases: Sequence[Case], looker: Looker | None = None) -> Iterator[ReadPerson]:
    """Read people in bulk, on all cores, in the order in which they come up.

    Photographs are paired by subject and visit; of several of one eye the first is read. Where
    one eye's photograph can't be used or shows no retina, the other is read alone.

    Args:
        reader: loaded.
        cases: photographs with subject and eye.
        looker: as for `read_person`.

    Raises:
        ManifestError: no photograph has an eye.
    """
    people = people_of(cases, reader.labels)
    if not len(people.photographs):
        raise ManifestError(
            f"none of the {len(cases)} photographs says which eye it shows; expected a column 'eye' with left and right"
        )
    pairs = (
        {eye: cases[i] for eye, i in zip(EYES, pair, strict=True) if i >= 0} for pair in people.photographs.tolist()
    )
    looker = looker or shipped_looker()
    return in_order(lambda of: _read_one(reader, of, looker), pairs, reader.threads, _AHEAD)


def _read_one(reader: ReadingModel, of: Mapping[Eye, Case], looker: Looker) -> ReadPerson:
    """Both eyes, or the one whose file can be used."""
    start, first = time.perf_counter(), next(iter(of.values()))
    sides = shipped_sides() if len(of) == len(EYES) else None
    eyes: dict[Eye, Prepared] = {}
    failed = []
    for eye, case in of.items():
        try:
            eyes[eye] = _prepared(reader, eye, as_file(case.path), looker, sides)
        except UNUSABLE as error:
            failed.append(Failed.of(case, error))
    if not eyes:
        return ReadPerson(first, None, tuple(failed))
    files = {eye: Path(case.path) for eye, case in of.items()}
    try:
        reading = _read(reader, files, eyes, start)
    except ImageError as error:  # no retina in any, or not two eyes
        failed += [Failed.of(of[eye], error) for eye in eyes]
        return ReadPerson(first, None, tuple(failed))
    failed += [Failed(of[eye], f"{words} and was left out") for eye, words in reading.refused.items()]
    return ReadPerson(first, reading, tuple(failed))

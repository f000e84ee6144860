"""What the shipped reader says of the people held back, of both eyes, of one, and exchanged."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveola.datasets.manifest import mark
from foveola.encoders.card import render_reader_card
from foveola.encoders.reading_model import DEFAULT_READER, ReaderRelease, ReadingModel, read_reader, write_reader
from foveola.errors import ImageError
from foveola.images.decode import decode
from foveola.metrics.multilabel import ODIR, THRESHOLD, evaluate_reading
from foveola.people import EYES, people_of
from foveola.records import Case
from foveola.training.config import PeopleConfig
from foveola.training.prepared import HELD, JUDGED, parted_cases
from foveola.training.reading import alone_thresholds

Arrays = dict[str, NDArray[np.float64]]
Prepared = NDArray[np.uint8] | None
OTHER = "O"  # ODIR's label of what has none of its own


def shipped(config: PeopleConfig, base: Path, out: Path) -> dict[str, Arrays]:
    """As runs of `reading.py` keep it: as shipped, and "fused", were one eye told by the fusion.

    Raises:
        SystemExit: the reader was trained on some of these people.
    """
    reader = ReadingModel.load()
    held = [parts[HELD] for _, parts in parted_cases(config, base, out)]
    own = {entry["mark"] for entry in reader.release.card["data"] if entry["part"] == HELD}
    if own != {mark(cases) for cases in held}:
        raise SystemExit(f"{reader.release.name} held back other people than the rows do")
    cases = [case for of in held for case in of]
    people = people_of(cases, reader.labels)
    people = people.of(np.flatnonzero(~np.isnan(people.truth).any(axis=1)))
    with ThreadPoolExecutor(reader.threads) as pool:
        eyes = list(pool.map(lambda pair: seen(reader, cases, pair), people.photographs.tolist()))
    known = {"truth": people.truth, "present": people.present, "thresholds": np.array(reader.release.thresholds)}
    fused = ReadingModel(replace(reader.release, alone=None))
    return {"shipped": viewed(reader, eyes) | known, "fused": viewed(fused, eyes) | known}


def viewed(reader: ReadingModel, eyes: list[tuple[Prepared, Prepared]]) -> Arrays:
    """What is said of both eyes, of one, and of the two exchanged."""
    of = {
        "both": eyes,
        "left": [(left, None) for left, _ in eyes],
        "right": [(None, right) for _, right in eyes],
        "exchanged": [(right, left) for left, right in eyes],
    }
    with ThreadPoolExecutor(reader.threads) as pool:
        return {name: np.array(list(pool.map(lambda pair: said(reader, *pair), pairs))) for name, pairs in of.items()}


def single(config: PeopleConfig, base: Path, out: Path) -> tuple[int, float, float]:
    """How many people have one photograph, and the share with OTHER of them and of the others."""
    parted = (parts.values() for _, parts in parted_cases(config, base, out))
    cases = [case for parts in parted for of in parts for case in of]
    people = people_of(cases, ODIR)
    has = people.truth[:, ODIR.index(OTHER)]
    both = people.present.all(axis=1)
    return int((~both).sum()), float(np.nanmean(has[~both])), float(np.nanmean(has[both]))


def alone_again(config: PeopleConfig, base: Path, out: Path) -> None:
    """Choose the shipped reader's thresholds for one eye alone on the people for validation."""
    reader = ReadingModel.load()
    cases = [case for _, parts in parted_cases(config, base, out) for case in parts[JUDGED]]
    people = people_of(cases, reader.labels)
    told = np.full(people.eyes.shape, np.nan, np.float32)
    for row, pair in enumerate(people.photographs.tolist()):
        left, right = seen(reader, cases, pair)
        if left is not None or right is not None:
            told[row] = reader.read(left, right).eyes
    chosen = alone_thresholds(people.eyes, told)
    written(replace(reader.release, alone=None if chosen is None else tuple(chosen.tolist())))


def write_card(found: Arrays) -> None:
    """Put what was measured on the shipped network into its card, in place of the training's."""
    release = read_reader(DEFAULT_READER)
    truth, said_of_both = found["truth"] > 0, found["both"]
    ways = {"official": THRESHOLD, "chosen": np.array(release.thresholds)}
    evaluation = {
        name: evaluate_reading(truth, said_of_both, labels=release.labels, thresholds=thresholds).to_dict()
        for name, thresholds in ways.items()
    }
    made = written(replace(release, card=dict(release.card) | {"evaluation": evaluation}))
    (release.folder / "CARD.md").write_text(render_reader_card(made), encoding="utf-8")


def written(release: ReaderRelease) -> ReaderRelease:
    """Beside the network that is there already, with the fingerprint it then has."""
    return write_reader(
        release.folder,
        name=release.name,
        labels=release.labels,
        thresholds=release.thresholds,
        contract=release.contract,
        enhance=release.enhance,
        alone=release.alone,
        card=release.card,
    )


def seen(reader: ReadingModel, cases: list[Case], pair: list[int]) -> tuple[Prepared, Prepared]:
    """The photographs of a person as the network sees them."""
    left, right = (prepared(reader, cases[i], eye) if i >= 0 else None for eye, i in zip(EYES, pair, strict=True))
    return left, right


def prepared(reader: ReadingModel, case: Case, eye: str) -> Prepared:
    """None where the file can't be read."""
    try:
        return reader.prepare(decode(Path(case.path)), eye)
    except ImageError:
        return None


def said(reader: ReadingModel, left: Prepared, right: Prepared) -> NDArray[np.float32]:
    """Probabilities; NaN where neither eye is seen."""
    if left is None and right is None:
        return np.full(len(reader.labels), np.nan, np.float32)
    return reader.read(left, right).probabilities

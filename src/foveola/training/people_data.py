"""What a reader is trained on: manifests read, people held back, photographs prepared once."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveola.cases import Case
from foveola.datasets.summary import summarise
from foveola.images.enhance import enhance
from foveola.images.fundus import Contract
from foveola.people import People, people_of
from foveola.training.data import pack
from foveola.training.prepared import Report, collections_of, parts_of
from foveola.training.reading_config import PeopleConfig

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class PreparedPeople:
    """Prepared photographs, and people by part.

    Attributes:
        images: (N, S, S, 3) uint8.
        people: of all parts; `photographs` are rows of images.
        parts: (P,) TRAINED, JUDGED or HELD.
        data: what each part of each data set holds, for the card.
    """

    images: Pixels
    people: People
    parts: tuple[str, ...]
    data: list[dict[str, object]]

    def part(self, name: str) -> People:
        """The people of one part whose labels are known."""
        known = ~np.isnan(self.people.truth).any(axis=1)
        return self.people.of(np.flatnonzero((np.array(self.parts) == name) & known))


def prepare_people(
    config: PeopleConfig, size: int, base: Path, out: Path, report: Report
) -> PreparedPeople:
    """Read the manifests, hold people back, prepare the photographs of all.

    Args:
        config: of the run.
        size: pixels of the network's input.
        base: folder that paths are relative to.
        out: of the run; manifests of the people held back are written there.
        report: receives a line for each photograph that can't be used.
    """
    cases: list[Case] = []
    named: dict[tuple[str, str], str] = {}
    data: list[dict[str, object]] = []
    for path, collection in collections_of(config.manifests, config.collections, base).items():
        for part, of in parts_of(config, path, collection, out).items():
            if of:
                data.append({"collection": collection, "part": part} | summarise(of))
            cases += of
            named |= {case.identity: part for case in of}
    cases.sort(key=lambda case: case.path)  # whatever the fold, for what is cached of them
    contract = Contract(size=round(size * config.margin))
    report(f"preparing {len(cases)} images at {contract.size} px")
    images, rows, faults = pack(cases, contract, base / config.cache)
    for fault in faults:
        report(f"left out: {fault}")
    people = people_of([cases[i] for i in rows], config.labels)
    parts = tuple(named[who] for who in people.identities)
    return PreparedPeople(_enhanced(images) if config.enhance else images, people, parts, data)


def _enhanced(images: Pixels) -> Pixels:
    """2 ms each: not worth a file of its own."""
    with ThreadPoolExecutor() as pool:
        return np.stack(list(pool.map(enhance, images)))

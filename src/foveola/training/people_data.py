"""What a reader is trained on: manifests read, people held back, photographs prepared once."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

from foveola.datasets.summary import summarise
from foveola.images.fundus import Contract, enhance
from foveola.models.binocular import BinocularModel
from foveola.models.trunk import ReaderTrunk
from foveola.people import People, people_of
from foveola.records import Case
from foveola.training.augment import augment, centre
from foveola.training.data import pack
from foveola.training.maps import Maps, pack_maps
from foveola.training.prepared import Report, parted_cases
from foveola.training.ranks import EvenRows, SharedBatches, rank
from foveola.training.reading_config import PeopleConfig, ReaderConfig, ReadingConfig

Pixels = NDArray[np.uint8]

_PLAIN_BATCH = 32  # people


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


def prepare_people(config: PeopleConfig, size: int, base: Path, out: Path, report: Report) -> PreparedPeople:
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
    for collection, parted in parted_cases(config, base, out):
        for part, of in parted.items():
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


class PeopleImages(Dataset[tuple[Tensor, Tensor, Tensor, Tensor]]):
    """Both photographs of people, varied or as they are; a missing one is black."""

    def __init__(self, images: Pixels, people: People, size: int, *, kind: str = "none", seed: int = 0) -> None:
        self.images, self.people, self.size, self.kind = images, people, size, kind
        self._seed, self._rng = seed, np.random.default_rng(seed)

    def __len__(self) -> int:
        return len(self.people.photographs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """-> (2, S, S, 3) uint8, present (2,), truth (L,), eyes (2, L)."""
        pair = np.zeros((2, self.size, self.size, 3), np.uint8)
        for side, place in enumerate(self.people.photographs[index]):
            if place >= 0:
                pair[side] = self._varied(np.asarray(self.images[place]))
        return torch.from_numpy(pair), *_told(self.people, index)

    def _varied(self, image: Pixels) -> Pixels:
        if self.kind == "none":
            return centre(image, self.size)
        return augment(image, self.size, self._rng, self.kind)


class PeopleMaps(Dataset[tuple[Tensor, Tensor, Tensor, Tensor]]):
    """Like PeopleImages, of kept maps (N, V, 1, c, h, w): a random variant of each photograph."""

    def __init__(self, maps: Maps, people: People, *, seed: int = 0) -> None:
        self.maps, self.people = maps, people
        self._rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        return len(self.people.photographs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """-> (2, c, h, w) float16, present (2,), truth (L,), eyes (2, L)."""
        pair = np.zeros((2, *self.maps.shape[3:]), np.float16)
        for side, place in enumerate(self.people.photographs[index]):
            if place >= 0:
                pair[side] = self.maps[place, self._rng.integers(self.maps.shape[1]), 0]
        return torch.from_numpy(pair), *_told(self.people, index)


def _told(people: People, index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Who is there, and what is known of a person."""
    of = (people.present, people.truth, people.eyes)
    present, truth, eyes = (torch.from_numpy(np.asarray(each[index])) for each in of)
    return present, truth, eyes


class Feed:
    """People as the network is shown them: photographs, or kept maps of its frozen stages.

    Args:
        config: of the run.
        model: with its frozen stages.
        prepared: what there is.
        cache: folder that keeps maps.
        report: receives a line when maps are made.
    """

    def __init__(
        self, config: ReadingConfig, model: BinocularModel, prepared: PreparedPeople, cache: Path, report: Report
    ) -> None:
        self.config, self.images = config, prepared.images
        self.maps: dict[str, Maps] = {}
        if config.data.variants:
            contract = contract_of(config.model)
            for kind, variants in ((config.data.augment, config.data.variants), ("none", 1)):
                self.maps[kind] = pack_maps(
                    ReaderTrunk(model), prepared.images, contract, cache, kind=kind, variants=variants, report=report
                )

    def varied(self, people: People) -> "DataLoader[Any]":
        """In random order, augmented; of several processes each has its part of a batch."""
        config = self.config
        dataset = self._dataset(people, config.data.augment)
        batches = BatchSampler(RandomSampler(range(len(people.photographs))), config.batch, drop_last=True)
        return DataLoader(dataset, batch_sampler=SharedBatches(batches), num_workers=config.workers)

    def judged(self, people: People) -> "DataLoader[Any]":
        """As they are, parted among the processes; see `ranks.in_order`."""
        rows = EvenRows(people.photographs)
        return DataLoader(self._dataset(people, "none"), batch_size=_PLAIN_BATCH, sampler=rows)

    def plain(self, people: People) -> "DataLoader[Any]":
        """In order, as they are."""
        return DataLoader(self._dataset(people, "none"), batch_size=_PLAIN_BATCH)

    def _dataset(self, people: People, kind: str) -> "Dataset[Any]":
        size, seed = self.config.model.image_size, self.config.seed + rank()
        if self.maps:
            return PeopleMaps(self.maps[kind], people, seed=seed)
        return PeopleImages(self.images, people, size, kind=kind, seed=seed)


def contract_of(model: ReaderConfig) -> Contract:
    """What is done to a photograph before a reader sees it."""
    return Contract(size=model.image_size, mean=model.mean, std=model.std)

"""What a run trains on: manifests read, subjects held back, photographs prepared once."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

from foveola.datasets.manifest import Manifest, summarise
from foveola.datasets.splits import folds_by_subject, split_by_subject
from foveola.errors import ManifestError
from foveola.images.fundus import Contract, enhance
from foveola.models.binocular import BinocularModel, ReaderTrunk
from foveola.people import People, people_of
from foveola.records import Case
from foveola.training.augment import augment, centre
from foveola.training.config import (
    ModelConfig,
    NetworkConfig,
    PeopleConfig,
    PhotographsConfig,
    ReadingConfig,
    TrainConfig,
)
from foveola.training.data import LEAST_IMAGES, Labels, finding_labels, pack, training_labels
from foveola.training.maps import Maps, pack_maps
from foveola.training.ranks import EvenRows, SharedBatches, rank

Pixels = NDArray[np.uint8]
Report = Callable[[str], None]


TRAINED, JUDGED, HELD = "trained", "judged", "held"  # the parts of a data set


@dataclass(frozen=True)
class Prepared:
    """Everything a run trains on and chooses its epoch by."""

    images: Pixels  # (N, S, S, 3)
    cases: list[Case]  # of the images
    labels: Labels  # codes are -1 for images that are not trained on
    grades: NDArray[np.int64]  # -1 where unknown
    findings: NDArray[np.int64]  # (N, F), see finding_labels
    counts: dict[str, int]  # images trained on, by collection
    validation: NDArray[np.int64]  # rows of images
    held: NDArray[np.int64]  # likewise; empty without folds
    data: list[dict[str, Any]]  # what each part of each data set holds, for the card

    @property
    def subjects(self) -> list[tuple[str, str]]:
        """Return whose each image is."""
        return [case.identity for case in self.cases]

    def codes_by_collection(self) -> NDArray[np.int64]:
        """Return (N,) a code for each label of each collection, -1 where not trained on."""
        names = sorted({case.collection for case in self.cases})
        collections = np.array([names.index(case.collection) for case in self.cases], np.int64)
        codes = self.labels.codes
        return np.where(codes < 0, -1, codes * len(names) + collections)

    @property
    def trained(self) -> list[Path]:
        """Return the files of the photographs that are trained on."""
        return [Path(self.cases[i].path) for i in np.flatnonzero(self.labels.codes >= 0)]


def contract_of(model: NetworkConfig) -> Contract:
    """Return what is done to a photograph before the network sees it, once it is trained."""
    size, field = model.image_size, True
    if isinstance(model, ModelConfig):
        size, field = model.encoded_size or size, model.field_of_view
    return Contract(size=size, crop=field, mask=field, mean=model.mean, std=model.std)


def prepare_data(config: TrainConfig, base: Path, out: Path, report: Report) -> Prepared:
    """Read the manifests, hold subjects back, prepare the labelled images of the others.

    Where the held-out subjects are one fold of several, their images are prepared too, so that
    the runs of all folds share one cache.
    """
    found, data = _read(config.data, base, out)
    wanted = [(case, part) for case, part in found if part != HELD or config.data.fold is not None]
    cases, parts = [case for case, _ in wanted], [part for _, part in wanted]
    every = training_labels(cases, config.data.label, single=config.data.single_image_identities)
    _kept(config, np.where(np.array(parts) == TRAINED, every.codes, -1), every.names)
    # in one order whatever the fold, for what is cached of them
    kept = np.array(sorted(np.flatnonzero(every.codes >= 0), key=lambda i: cases[i].path), dtype=np.int64)
    size = round(config.model.image_size * config.data.margin)
    # packed without the channels' mean and deviation, which are the network's
    contract = Contract(size=size, crop=config.model.field_of_view, mask=config.model.field_of_view)
    images, rows = _packed([cases[i] for i in kept], contract, base / config.data.cache, report)
    read = kept[rows]
    return _prepared(config, images, [cases[i] for i in read], [parts[i] for i in read], data, report)


def _read(config: PhotographsConfig, base: Path, out: Path) -> tuple[list[tuple[Case, str]], list[dict[str, Any]]]:
    """Return every case with its part, and what each part of each data set holds, for the card."""
    found: list[tuple[Case, str]] = []
    data: list[dict[str, Any]] = []
    for collection, by_part in parted_cases(config, base, out):
        for part, cases in by_part.items():
            if cases:
                data.append({"collection": collection, "part": part} | summarise(cases))
            found += [(case, part) for case in cases]
    return found, data


def _packed(cases: Sequence[Case], contract: Contract, cache: Path, report: Report) -> tuple[Pixels, list[int]]:
    report(f"preparing {len(cases)} images at {contract.size} px")
    images, rows, faults = pack(cases, contract, cache)
    for fault in faults:
        report(f"left out: {fault}")
    return images, rows


def _prepared(
    config: TrainConfig, images: Pixels, cases: list[Case], parts: list[str], data: list[dict[str, Any]], report: Report
) -> Prepared:
    every = training_labels(cases, config.data.label, single=config.data.single_image_identities)
    part = np.array(parts)
    codes = np.where(part == TRAINED, every.codes, -1)
    kept = _kept(config, codes, every.names)
    counts: dict[str, int] = {}
    for case, code in zip(cases, codes, strict=True):
        if code >= 0:
            counts[case.collection] = counts.get(case.collection, 0) + 1
    if config.data.label in ("subject", "eye"):
        report(f"{sum(n > 0 for n in kept)} of {config.data.label}, {sum(kept)} images")
    else:
        report(", ".join(f"{n}: {k}" for n, k in zip(every.names, kept, strict=True)))
    return Prepared(
        images=images,
        cases=cases,
        labels=Labels(codes, every.names, every.targets),
        grades=np.array([-1 if case.grade is None else case.grade for case in cases], np.int64),
        findings=finding_labels(cases, codes >= 0)[0],
        counts=counts,
        validation=np.flatnonzero(part == JUDGED),
        held=np.flatnonzero(part == HELD),
        data=data,
    )


def _kept(config: TrainConfig, codes: NDArray[np.int64], names: tuple[str, ...]) -> list[int]:
    """Images trained on by label; fewer than two labels are refused."""
    kept = [int((codes == i).sum()) for i in range(len(names))]
    if sum(n > 0 for n in kept) < 2:
        least = 2 if config.data.label in ("subject", "eye") else LEAST_IMAGES
        raise ManifestError(
            f"{sum(n > 0 for n in kept)} labels have {least} images or more; training needs at "
            "least 2: give more photographs, or fill in the column that the label "
            f"{config.data.label!r} is read from"
        )
    return kept


def collections_of(manifests: Sequence[str], collections: Sequence[str], base: Path) -> dict[Path, str]:
    """Return each manifest with its collection: as named, else after its folder."""
    paths = [base / name for name in manifests]
    names = collections or [path.resolve().parent.name for path in paths]
    return dict(zip(paths, names, strict=True))


def parted_cases(data: PhotographsConfig, base: Path, out: Path) -> Iterator[tuple[str, dict[str, list[Case]]]]:
    """Yield each manifest's collection, and its cases by part: TRAINED, JUDGED and HELD.

    Those held out are written to out/held_out/ besides.
    """
    for path, collection in collections_of(data.manifests, data.collections, base).items():
        yield collection, parted(data, Manifest.read(path, collection=collection), out)


def parted(split: PhotographsConfig, manifest: Manifest, out: Path | None = None) -> dict[str, list[Case]]:
    """Return the cases of a manifest by part; those held out are written to out/held_out/."""
    rest, held = _divided(manifest, held_back(manifest, split))
    if held is not None and out is not None:
        folder = out / "held_out"
        folder.mkdir(parents=True, exist_ok=True)
        held.write(folder / f"{manifest.collection}.csv")
    share, seed = split.validation, split.split_seed + 1
    trained, judged = _divided(rest, _share(rest, share, seed))
    parts = {TRAINED: trained, JUDGED: judged, HELD: held}
    return {name: [] if of is None else list(of.cases()) for name, of in parts.items()}


def held_back(manifest: Manifest, data: PhotographsConfig) -> NDArray[np.bool_]:
    """Tell which rows of a manifest are of subjects that training never sees: (N,) bool."""
    if data.fold is None:
        return _share(manifest, data.held_out, data.split_seed)
    folds = folds_by_subject(manifest, round(1 / data.held_out), seed=data.split_seed)
    return np.asarray(folds == data.fold)


def _share(manifest: Manifest, share: float, seed: int) -> NDArray[np.bool_]:
    if share == 0:
        return np.zeros(len(manifest.table), bool)
    split = split_by_subject(manifest, {"rest": 1 - share, "aside": share}, seed=seed)
    return np.asarray(split == "aside")


def _divided(manifest: Manifest, aside: NDArray[np.bool_]) -> tuple[Manifest, Manifest | None]:
    """The manifest without some rows, and these."""
    if not aside.any():
        return manifest, None
    parts = (manifest.table[mask].reset_index(drop=True) for mask in (~aside, aside))
    first, second = (Manifest(part, manifest.root, manifest.collection) for part in parts)
    return first, second


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
        """Return the people of one part whose labels are known."""
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
    found, data = _read(config, base, out)
    cases = sorted((case for case, _ in found), key=lambda case: case.path)  # whatever the fold, for the cache
    images, rows = _packed(cases, Contract(size=round(size * config.margin)), base / config.cache, report)
    people = people_of([cases[i] for i in rows], config.labels)
    named = {case.identity: part for case, part in found}
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
        return torch.from_numpy(pair), *_known_of(self.people, index)

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
        return torch.from_numpy(pair), *_known_of(self.people, index)


def _known_of(people: People, index: int) -> tuple[Tensor, Tensor, Tensor]:
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
        """Load in random order, augmented; of several processes each has its part of a batch."""
        config = self.config
        dataset = self._dataset(people, config.data.augment)
        batches = BatchSampler(RandomSampler(range(len(people.photographs))), config.batch, drop_last=True)
        return DataLoader(dataset, batch_sampler=SharedBatches(batches), num_workers=config.workers)

    def judged(self, people: People) -> "DataLoader[Any]":
        """Load as they are, parted among the processes; see `ranks.in_order`."""
        rows = EvenRows(people.photographs)
        return DataLoader(self._dataset(people, "none"), batch_size=_PLAIN_BATCH, sampler=rows)

    def plain(self, people: People) -> "DataLoader[Any]":
        """Load in order, as they are."""
        return DataLoader(self._dataset(people, "none"), batch_size=_PLAIN_BATCH)

    def _dataset(self, people: People, kind: str) -> "Dataset[Any]":
        size, seed = self.config.model.image_size, self.config.seed + rank()
        if self.maps:
            return PeopleMaps(self.maps[kind], people, seed=seed)
        return PeopleImages(self.images, people, size, kind=kind, seed=seed)

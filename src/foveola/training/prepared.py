"""What a run trains on: manifests read, subjects held back, photographs prepared once."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from foveola.datasets.manifest import Manifest
from foveola.datasets.splits import folds_by_subject, split_by_subject
from foveola.datasets.summary import summarise
from foveola.errors import ManifestError
from foveola.images.fundus import Contract
from foveola.records import Case
from foveola.training.config import TrainConfig
from foveola.training.data import LEAST_IMAGES, Labels, finding_labels, pack, training_labels

Report = Callable[[str], None]


TRAINED, JUDGED, HELD = "trained", "judged", "held"  # the parts of a data set


@dataclass(frozen=True)
class Prepared:
    """Everything a run trains on and chooses its epoch by."""

    images: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]"  # (N, S, S, 3)
    cases: list[Case]  # of the images
    labels: Labels  # codes are -1 for images that are not trained on
    grades: "np.ndarray[tuple[int], np.dtype[np.int64]]"  # -1 where unknown
    findings: "np.ndarray[tuple[int, ...], np.dtype[np.int64]]"  # (N, F), see finding_labels
    counts: dict[str, int]  # images trained on, by collection
    validation: "np.ndarray[tuple[int], np.dtype[np.int64]]"  # rows of images
    held: "np.ndarray[tuple[int], np.dtype[np.int64]]"  # likewise; empty without folds
    data: list[dict[str, Any]]  # what each part of each data set holds, for the card

    @property
    def subjects(self) -> list[tuple[str, str]]:
        """Whose each image is."""
        return [case.identity for case in self.cases]

    def codes_by_collection(self) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        """Return (N,) a code for each label of each collection, -1 where not trained on."""
        names = sorted({case.collection for case in self.cases})
        collections = np.array([names.index(case.collection) for case in self.cases], np.int64)
        codes = self.labels.codes
        return np.where(codes < 0, -1, codes * len(names) + collections)

    @property
    def trained(self) -> list[Path]:
        """Files of the photographs that are trained on."""
        return [Path(self.cases[i].path) for i in np.flatnonzero(self.labels.codes >= 0)]


def contract_of(config: TrainConfig) -> Contract:
    """What the configuration does to a photograph before the network sees it."""
    model = config.model
    return Contract(
        size=model.encoded_size or model.image_size,
        crop=model.field_of_view,
        mask=model.field_of_view,
        mean=model.mean,
        std=model.std,
    )


def prepare_data(config: TrainConfig, base: Path, out: Path, report: Report) -> Prepared:
    """Read the manifests, hold subjects back, prepare the labelled images of the others.

    Where the held-out subjects are one fold of several, their images are prepared too, so that
    the runs of all folds share one cache.
    """
    cases: list[Case] = []
    parts: list[str] = []
    data: list[dict[str, Any]] = []
    for collection, parted in parted_cases(config.data, base, out):
        for part, of in parted.items():
            if of:
                data.append({"collection": collection, "part": part} | summarise(of))
            if part != HELD or config.data.fold is not None:
                cases += of
                parts += [part] * len(of)
    every = training_labels(cases, config.data.label, single=config.data.single_image_identities)
    _kept(config, np.where(np.array(parts) == TRAINED, every.codes, -1), every.names)
    # in one order whatever the fold, for what is cached of them
    kept = np.array(sorted(np.flatnonzero(every.codes >= 0), key=lambda i: cases[i].path), dtype=np.int64)
    size = round(config.model.image_size * config.data.margin)
    report(f"preparing {len(kept)} images at {size} px")
    # packed without the channels' mean and deviation, which are the network's
    contract = Contract(size=size, crop=config.model.field_of_view, mask=config.model.field_of_view)
    images, rows, faults = pack([cases[i] for i in kept], contract, base / config.data.cache)
    for fault in faults:
        report(f"left out: {fault}")
    read = kept[rows]
    return _prepared(config, images, [cases[i] for i in read], [parts[i] for i in read], data, report)


def _prepared(
    config: TrainConfig,
    images: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]",
    cases: list[Case],
    parts: list[str],
    data: list[dict[str, Any]],
    report: Report,
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


def _kept(
    config: TrainConfig, codes: "np.ndarray[tuple[int], np.dtype[np.int64]]", names: tuple[str, ...]
) -> list[int]:
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
    """Each manifest and its collection: as named, else after its folder."""
    paths = [base / name for name in manifests]
    names = collections or [path.resolve().parent.name for path in paths]
    return dict(zip(paths, names, strict=True))


class Split(Protocol):
    """Whose photographs, and who is held back; both kinds of training have it under [data]."""

    @property
    def manifests(self) -> Sequence[str]:
        """Their paths."""

    @property
    def collections(self) -> Sequence[str]:
        """Their names, or none."""

    @property
    def held_out(self) -> float:
        """Share of the subjects that training never sees."""

    @property
    def fold(self) -> int | None:
        """Of 1 / held_out, which these are; None draws them."""

    @property
    def split_seed(self) -> int:
        """Of the draw."""

    @property
    def validation(self) -> float:
        """Share of the others that the epoch is chosen by."""


def parted_cases(data: Split, base: Path, out: Path) -> Iterator[tuple[str, dict[str, list[Case]]]]:
    """Each manifest's collection, and its cases by part: TRAINED, JUDGED and HELD.

    Those held out are written to out/held_out/ besides.
    """
    for path, collection in collections_of(data.manifests, data.collections, base).items():
        yield collection, parted(data, Manifest.read(path, collection=collection), out)


def parted(split: Split, manifest: Manifest, out: Path | None = None) -> dict[str, list[Case]]:
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


def held_back(manifest: Manifest, data: Split) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Which rows of a manifest are of subjects that training never sees: (N,) bool."""
    if data.fold is None:
        return _share(manifest, data.held_out, data.split_seed)
    folds = folds_by_subject(manifest, round(1 / data.held_out), seed=data.split_seed)
    return np.asarray(folds == data.fold)


def _share(manifest: Manifest, share: float, seed: int) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    if share == 0:
        return np.zeros(len(manifest.table), bool)
    split = split_by_subject(manifest, {"rest": 1 - share, "aside": share}, seed=seed)
    return np.asarray(split == "aside")


def _divided(
    manifest: Manifest, aside: "np.ndarray[tuple[int], np.dtype[np.bool_]]"
) -> tuple[Manifest, Manifest | None]:
    """The manifest without some rows, and these."""
    if not aside.any():
        return manifest, None
    parts = (manifest.table[mask].reset_index(drop=True) for mask in (~aside, aside))
    first, second = (Manifest(part, manifest.root, manifest.collection) for part in parts)
    return first, second

"""Photographs for training: read once, prepared once, drawn in batches, augmented each time.

Decoding and finding the field of view cost more than a training step on a small network, so
both are done once and kept as one array of prepared images on disk (`pack`), which is a cache:
it is keyed by the contract and by every file's size and time, and can be deleted at any time.

A batch is P x K: groups of one label, and in a group never twice the same subject if avoidable.
Two photographs of one person look alike for reasons that have nothing to do with disease; as
positives they would teach identity, and a model would look better than it is.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from foveola.encoders.encoder import UNUSABLE, Failed
from foveola.errors import FoveolaError, ImageError
from foveola.files import stamp_of
from foveola.images.decode import decode
from foveola.images.fundus import Contract, prepare
from foveola.records import Case
from foveola.resources import beside
from foveola.training.augment import augment, centre
from foveola.training.ranks import share

Pixels = NDArray[np.uint8]
Map = np.memmap[Any, Any]

# A label of fewer images than this teaches those images, not the disease.
LEAST_IMAGES = 12


class Labels(NamedTuple):
    """What the cases of a training set are labelled with."""

    codes: NDArray[np.int64]  # (N,), -1 for a case that is not trained on
    names: tuple[str, ...]  # of the codes
    targets: NDArray[np.int64] | NDArray[np.bool_]  # (N,) codes, or (N, L) sets of findings

    @property
    def number(self) -> int:
        """Return L, of the labels that a target is one or a set of."""
        return self.targets.shape[1] if self.targets.ndim == 2 else len(self.names)


def training_labels(cases: Sequence[Case], kind: str = "disease", *, single: bool = False) -> Labels:
    """Return what makes two cases alike; see `DataConfig.label`.

    A disease of fewer than LEAST_IMAGES cases is not trained on, nor a subject or an eye of
    one image unless `single` ones count too, nor a case whose label is unknown. With "findings" the
    codes are the rarest findings, by which batches are drawn, and the targets the sets.
    """
    if kind in ("subject", "eye"):
        return _identities(cases, with_eye=kind == "eye", least=1 if single else 2)
    counts = Counter(f for case in cases for f in _findings(case))
    if kind == "grade":
        texts = ["" if case.grade is None else f"grade {case.grade}" for case in cases]
    elif kind == "findings":
        texts = [_rarest(case, counts) for case in cases]
    else:
        texts = [_rarest(case, counts) if case.grade is None else f"grade {case.grade}" for case in cases]
    codes, names = _numbered(texts, LEAST_IMAGES)
    if kind != "findings":
        return Labels(codes, names, codes)
    column = {name: i for i, name in enumerate(sorted(counts))}
    sets = np.zeros((len(cases), len(column)), bool)
    for row, case in enumerate(cases):
        sets[row, [column[f] for f in _findings(case)]] = True
    return Labels(codes, names, sets)


def finding_labels(cases: Sequence[Case], trained: NDArray[np.bool_]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Tell which findings each case has, as far as its data set says.

    A finding that a data set never names is unknown there, not absent. One that fewer than
    LEAST_IMAGES of the cases trained on have is left out.

    Args:
        cases: of every part.
        trained: (N,), which of them are trained on.

    Returns:
        (N, F): 1 there, 0 not there, -1 unknown; and the names of the F findings.
    """
    counts = Counter(f for case, of in zip(cases, trained, strict=True) if of for f in _findings(case))
    names = tuple(sorted(f for f, count in counts.items() if count >= LEAST_IMAGES))
    told: dict[str, set[str]] = {case.collection: set() for case in cases}
    for case in cases:
        told[case.collection].update(_findings(case))
    table = np.full((len(cases), len(names)), -1, np.int64)
    for row, case in zip(table, cases, strict=True):
        if case.findings is not None:
            known = told[case.collection]
            row[:] = [(name in case.findings) if name in known else -1 for name in names]
    return table, names


def _identities(cases: Sequence[Case], *, with_eye: bool, least: int) -> Labels:
    texts = []
    for case in cases:
        known = case.subject is not None and (case.eye is not None or not with_eye)
        parts = (case.collection, case.subject or "", (case.eye or "") if with_eye else "")
        texts.append("\0".join(parts) if known else "")
    codes, names = _numbered(texts, least)
    return Labels(codes, tuple(str(i) for i in range(len(names))), codes)  # no names in logs


def _numbered(texts: Sequence[str], least: int) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    sizes = Counter(texts)
    names = tuple(sorted(text for text in sizes if text and sizes[text] >= least))
    index = {name: i for i, name in enumerate(names)}
    return np.array([index.get(text, -1) for text in texts], np.int64), names


def _rarest(case: Case, counts: Counter[str]) -> str:
    return min(_findings(case), key=lambda f: (counts[f], f), default="")


def _findings(case: Case) -> list[str]:
    """Image quality is written among the findings of some sets and is no disease."""
    return [f for f in case.findings or () if not f.startswith("quality:")]


def pack(
    cases: Sequence[Case], contract: Contract, cache: Path, progress: Callable[[int, int], None] | None = None
) -> tuple[Pixels, list[int], list[str]]:
    """Prepare every photograph once.

    Args:
        cases: the photographs.
        contract: what to do to each.
        cache: folder that keeps the result.
        progress: called with the number done and the number of all.

    Returns:
        images (N, S, S, 3) uint8, mapped from disk; the indices of cases that could be read,
        in order, one a row of images; and one sentence for each that could not.
    """
    key = _cache_key(cases, contract)
    images_file, rows_file = cache / f"{key}.npy", cache / f"{key}-rows.npy"
    if images_file.exists() and rows_file.exists():
        rows = np.load(rows_file)
        lost = sorted(set(range(len(cases))) - set(rows.tolist()))
        return (
            np.load(images_file, mmap_mode="r"),
            rows.tolist(),
            [f"{cases[i].image}: could not be read when the cache was made" for i in lost],
        )
    cache.mkdir(parents=True, exist_ok=True)
    shape = (len(cases), contract.size, contract.size, 3)
    with beside(images_file) as partial, beside(rows_file) as partial_rows:
        images = new_map(partial, np.uint8, shape)
        rows_read, faults = _fill(images, cases, contract, progress)
        if not rows_read:
            raise ImageError(f"none of the {len(cases)} photographs can be read; first: {faults[0]}")
        images.flush()
        with partial_rows.open("wb") as file:
            np.save(file, np.array(rows_read))
        partial.rename(images_file)
        partial_rows.rename(rows_file)  # last: its presence says all is there
    return np.load(images_file, mmap_mode="r"), rows_read, faults


def new_map(path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> Map:
    """Map a new .npy file into memory, of which the disk has all room already.

    Were it taken as it is written, a full disk would end the process by a signal.

    Raises:
        OSError: there is no room.
    """
    made: Map = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return made


def _fill(
    images: Pixels, cases: Sequence[Case], contract: Contract, progress: Callable[[int, int], None] | None
) -> tuple[list[int], list[str]]:
    rows: list[int] = []
    faults: list[str] = []
    with ThreadPoolExecutor() as pool:
        for i, result in enumerate(pool.map(lambda c: _prepared(c, contract), cases)):
            if isinstance(result, str):
                faults.append(result)
            else:
                images[len(rows)] = result
                rows.append(i)
            if progress:
                progress(i + 1, len(cases))
    return rows, faults


def _prepared(case: Case, contract: Contract) -> Pixels | str:
    try:
        pixels = decode(Path(case.path), min_side=contract.min_side)
        return prepare(pixels, contract, case.eye)
    except UNUSABLE as error:
        if isinstance(error, FoveolaError):  # begins with the name
            return str(error)
        return f"{case.image}: {Failed.of(case, error).reason}"


def _cache_key(cases: Sequence[Case], contract: Contract) -> str:
    # how small photographs are decoded is not of the contract, and changes what is cached
    digest = hashlib.sha256(f"{contract.hash} {contract.min_side}".encode())
    for case in cases:
        try:
            size, mtime_ns = stamp_of(Path(case.path))
        except OSError:  # gone: it is told when it is to be read
            size, mtime_ns = -1, -1
        line = f"{case.path}\0{size}\0{mtime_ns}\n"
        digest.update(line.encode(errors="surrogatepass"))
    return digest.hexdigest()[:16]


class PackedImages(Dataset[tuple[Tensor, Any, Any]]):
    """Augmented images with what the loss compares them by, and their grades.

    Args:
        images: (N, S, S, 3) uint8.
        targets: (N,) int, or (N, L) bool.
        grades: (N,) int, -1 where unknown; or (N, 1 + F) with the findings, see finding_labels.
        size: pixels of each side of what comes out.
        seed: of the augmentation.
        kind: of the augmentation, see `augment`.
    """

    def __init__(
        self,
        images: Pixels,
        targets: NDArray[np.int64] | NDArray[np.bool_],
        grades: NDArray[np.int64],
        size: int,
        seed: int = 0,
        kind: str = "fundus",
    ) -> None:
        self.images, self.targets, self.grades = images, targets, grades
        self.size, self.kind = size, kind
        self._seed = seed
        self._rng: np.random.Generator | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, Any, Any]:
        """-> (size, size, 3) uint8, the target and the grade (and findings)."""
        if self._rng is None:  # in the worker, so that no two workers draw the same
            worker = torch.utils.data.get_worker_info()
            self._rng = np.random.default_rng([self._seed, worker.id if worker else 0])
        image = augment(np.asarray(self.images[index]), self.size, self._rng, self.kind)
        return torch.from_numpy(image), self.targets[index], self.grades[index]


class PlainImages(Dataset[tuple[Tensor, int]]):
    """Images as they are judged, without augmentation, with their row.

    Args:
        images: (N, S, S, 3) uint8.
        rows: which of them.
        size: pixels of each side of what comes out.
    """

    def __init__(self, images: Pixels, rows: NDArray[np.int64], size: int) -> None:
        self.images, self.rows, self.size = images, rows, size

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """-> (size, size, 3) uint8 and its number in `rows`."""
        image = centre(np.asarray(self.images[self.rows[index]]), self.size)
        return torch.from_numpy(image.copy()), index


class SubjectSampler(Sampler[list[int]]):
    """Batches of P groups; each has K images of one label from K different subjects.

    Of several processes each is given its part of the batch, see `ranks`.

    Labels are drawn with probability count ** power, with replacement, so a frequent one may
    fill more than one group; but where the labels are subjects or eyes (`distinct`), each once
    in a batch. A label of fewer than K subjects repeats subjects, and images only when all of
    a subject's are taken.

    Args:
        labels: (N,) int, -1 for images that are not to be drawn.
        subjects: (N,) any hashable; equal for images of one person.
        groups: P.
        images_per_group: K.
        batches: number of batches in an epoch.
        power: 1 draws labels as often as they occur, 0 all alike.
        distinct: no label twice in a batch, as far as there are P of them.
        both_eyes: draw subjects instead, all alike, and all labels of each.
        seed: of the first epoch; `set_epoch` moves on from there.
    """

    def __init__(
        self,
        labels: Sequence[int] | NDArray[np.int64],
        subjects: Sequence[object],
        *,
        groups: int,
        images_per_group: int,
        batches: int,
        power: float = 0.5,
        distinct: bool = False,
        both_eyes: bool = False,
        seed: int = 0,
    ) -> None:
        self.groups, self.images_per_group, self.batches = groups, images_per_group, batches
        self.seed, self.epoch = seed, 0
        self._images = _by_label_and_subject(labels, subjects)
        if len(self._images) < 2:
            raise ValueError(f"expected images of at least 2 labels, got {len(self._images)}")
        self._labels = sorted(self._images)
        counts = [sum(map(len, self._images[label].values())) for label in self._labels]
        weights = np.array(counts, float) ** power
        self._chance = weights / weights.sum()
        self._distinct = distinct and len(self._labels) >= groups
        self._fellows = _by_first_subject(self._images, self._labels) if both_eyes else []

    def set_epoch(self, epoch: int) -> None:
        """Draw other batches in each epoch, and the same ones again when a run is resumed."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        for _ in range(self.batches):
            yield share(self._batch(rng))

    def _batch(self, rng: np.random.Generator) -> list[int]:
        chosen = self._choose(rng)
        while len(set(chosen)) < 2:  # a batch of one label has no triplet
            chosen = self._choose(rng)
        labels, times = np.unique(chosen, return_counts=True)
        batch: list[int] = []
        for label, n in zip(labels, times, strict=True):
            batch += self._draw(self._labels[label], int(n) * self.images_per_group, rng)
        return batch

    def _choose(self, rng: np.random.Generator) -> NDArray[np.int64]:
        if self._fellows:
            order = rng.permutation(len(self._fellows))
            chosen = [label for person in order for label in self._fellows[person]]
            return np.array(chosen[: self.groups])
        many = len(self._labels)
        return rng.choice(many, self.groups, replace=not self._distinct, p=self._chance)

    def _draw(self, label: int, count: int, rng: np.random.Generator) -> list[int]:
        """Count images of a label, passing through its subjects before any comes again."""
        people = list(self._images[label].values())
        left: list[list[int]] = [[] for _ in people]  # images of each not drawn yet
        order: list[int] = []
        while len(order) < count:
            order += rng.permutation(len(people)).tolist()
        drawn = []
        for person in order[:count]:
            if not left[person]:
                left[person] = rng.permutation(people[person]).tolist()
            drawn.append(left[person].pop())
        return drawn


def _by_first_subject(images: dict[int, dict[object, list[int]]], labels: Sequence[int]) -> list[list[int]]:
    """Places of the labels of each subject, where a label is of one subject only."""
    found: dict[object, list[int]] = {}
    for place, label in enumerate(labels):
        found.setdefault(next(iter(images[label])), []).append(place)
    return list(found.values())


def _by_label_and_subject(
    labels: Sequence[int] | NDArray[np.int64], subjects: Sequence[object]
) -> dict[int, dict[object, list[int]]]:
    images: dict[int, dict[object, list[int]]] = {}
    for index, (label, subject) in enumerate(zip(labels, subjects, strict=True)):
        if label >= 0:
            images.setdefault(int(label), {}).setdefault(subject, []).append(index)
    return images

"""Photographs for training: read once, prepared once, augmented each time.

Decoding and finding the field of view cost more than a training step on a small network, so
both are done once and kept as one array of prepared images on disk (`pack`), which is a cache:
it is keyed by the contract and by every file's size and time, and can be deleted at any time.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from foveola.cases import Case
from foveola.errors import FoveolaError, ImageError
from foveola.images.decode import decode
from foveola.images.fundus import Contract, prepare
from foveola.training.augment import augment

Pixels = NDArray[np.uint8]

# A label of fewer images than this teaches those images, not the disease.
LEAST_IMAGES = 12


def training_labels(cases: Sequence[Case]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """One label for each case, and the labels' names.

    The label is the grade where there is one; else the rarest of the findings, since it is
    the one that sets the case apart. A case with neither, or with a label of fewer than
    LEAST_IMAGES, has -1 and is not trained on.
    """
    counts = Counter(f for case in cases for f in case.findings or ())
    texts = [_label(case, counts) for case in cases]
    sizes = Counter(texts)
    names = tuple(sorted(text for text in sizes if text and sizes[text] >= LEAST_IMAGES))
    index = {name: i for i, name in enumerate(names)}
    return np.array([index.get(text, -1) for text in texts], np.int64), names


def _label(case: Case, counts: Counter[str]) -> str:
    if case.grade is not None:
        return f"grade {case.grade}"
    # image quality is written among the findings of some sets and is no disease
    findings = [f for f in case.findings or () if not f.startswith("quality:")]
    return min(findings, key=lambda f: (counts[f], f)) if findings else ""


def pack(
    cases: Sequence[Case],
    contract: Contract,
    cache: Path,
    progress: Callable[[int, int], None] | None = None,
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
    partial = cache / f"{key}.partial.npy"
    shape = (len(cases), contract.size, contract.size, 3)
    images = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
    rows_read, faults = _fill(images, cases, contract, progress)
    if not rows_read:
        raise ImageError(f"none of the {len(cases)} photographs can be read; first: {faults[0]}")
    images.flush()
    partial.rename(images_file)
    np.save(rows_file, np.array(rows_read))  # written last: its presence says all is there
    return np.load(images_file, mmap_mode="r"), rows_read, faults


def _fill(
    images: Pixels,
    cases: Sequence[Case],
    contract: Contract,
    progress: Callable[[int, int], None] | None,
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
        pixels = decode(Path(case.path), min_side=contract.size)
    except FoveolaError as error:
        return str(error)
    return prepare(pixels, contract, case.eye)


def _cache_key(cases: Sequence[Case], contract: Contract) -> str:
    digest = hashlib.sha256(contract.hash.encode())
    for case in cases:
        stat = Path(case.path).stat()
        digest.update(f"{case.path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


class PackedImages(Dataset[tuple[Tensor, int]]):
    """Augmented images with their labels.

    Args:
        images: (N, S, S, 3) uint8.
        labels: (N,) int.
        size: pixels of each side of what comes out.
        seed: of the augmentation.
    """

    def __init__(self, images: Pixels, labels: NDArray[np.int64], size: int, seed: int = 0) -> None:
        self.images, self.labels, self.size = images, labels, size
        self._seed = seed
        self._rng: np.random.Generator | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """-> (size, size, 3) uint8 and the label."""
        if self._rng is None:  # in the worker, so that no two workers draw the same
            worker = torch.utils.data.get_worker_info()
            self._rng = np.random.default_rng([self._seed, worker.id if worker else 0])
        image = augment(np.asarray(self.images[index]), self.size, self._rng)
        return torch.from_numpy(image), int(self.labels[index])

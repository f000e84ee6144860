"""What the frozen stages make of the training images, computed once and kept on disk.

Decoding, augmenting and the first stages take most of a training step on a processor, and for
frozen stages their result never changes. So some variants of each image go through them once.
The file is a cache: named after all that went into it, it can be deleted at any time.
"""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from foveola.images.fundus import Contract
from foveola.models.descriptor import Described, DescriptorModel, Trunk, normalise
from foveola.resources import beside
from foveola.training.augment import augment
from foveola.training.data import new_map

Pixels = NDArray[np.uint8]
Maps = NDArray[np.float16]

BATCH = 32


class Stem(Protocol):
    """The frozen part of a network, such as `Trunk`."""

    @property
    def module(self) -> nn.Module:
        """Return the whole; its mode is set to evaluation while maps are made."""

    @property
    def signature(self) -> str:
        """Return what the maps depend on beside weights and pixels."""

    def weights(self) -> Iterator[Tensor]:
        """Return all of them, in a fixed order."""

    def __call__(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) normalised images -> (B, U, c, h, w)."""


def pack_maps(
    stem: Stem,
    images: Pixels,
    contract: Contract,
    cache: Path,
    *,
    kind: str,
    variants: int,
    report: Callable[[str], None] = print,
) -> Maps:
    """Run variants of every image through the frozen stages.

    Args:
        stem: of the network.
        images: (N, S, S, 3) uint8, prepared.
        contract: the model's, for size and normalisation.
        cache: folder that keeps the result.
        kind: of the augmentation, see `augment`. The same variants are drawn every time.
        variants: V, of each image.
        report: receives a line when there is something to do.

    Returns:
        (N, V, U, c, h, w) float16, mapped from disk; for U see `Trunk`.
    """
    kept = cache / f"{_key(stem, images, contract, kind, variants)}-maps.npy"
    if not kept.exists():
        report(f"frozen stages: {variants} variants of {len(images)} images")
        was_training = stem.module.training
        stem.module.eval()  # statistics of the frozen stages stay; so must those of the rest
        _fill(kept, stem, images, contract, kind, variants)
        stem.module.train(was_training)
    maps: Maps = np.load(kept, mmap_mode="r")
    return maps


def _key(stem: Stem, images: Pixels, contract: Contract, kind: str, variants: int) -> str:
    digest = hashlib.blake2b(f"{contract.hash} {kind} {variants} {stem.signature}".encode())
    digest.update(f"{images.shape}".encode())
    for value in stem.weights():
        digest.update(value.numpy().tobytes())
    for image in images:
        digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()[:16]


def _fill(path: Path, stem: Stem, images: Pixels, contract: Contract, kind: str, variants: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    one = _run(stem, np.zeros((1, contract.size, contract.size, 3), np.uint8), contract)
    shape = (len(images), variants, *one.shape[1:])
    with beside(path) as partial:
        maps = new_map(partial, np.float16, shape)
        flat, row = maps.reshape(-1, *one.shape[1:]), 0
        for batch in _batches(images, contract.size, kind, variants):
            flat[row : row + len(batch)] = _run(stem, batch, contract)
            row += len(batch)
        maps.flush()
        partial.rename(path)


def _batches(images: Pixels, size: int, kind: str, variants: int) -> Iterator[Pixels]:
    """(B, size, size, 3) variants, image by image; each is drawn by its own number alone."""

    def drawn(number: int) -> Pixels:
        image = np.asarray(images[number // variants])
        return augment(image, size, np.random.default_rng([number, variants]), kind)

    count = len(images) * variants
    with ThreadPoolExecutor() as pool:
        for start in range(0, count, BATCH):
            yield np.stack(list(pool.map(drawn, range(start, min(start + BATCH, count)))))


def _run(stem: Stem, pixels: Pixels, contract: Contract) -> Maps:
    mean, std = torch.tensor(contract.mean), torch.tensor(contract.std)
    x = normalise(torch.from_numpy(pixels), mean, std)
    with _autocast():
        maps = stem(x.contiguous(memory_format=torch.channels_last))
    made: Maps = maps.half().numpy()
    return made


def _autocast(half: bool = True) -> torch.autocast:
    """bf16 where it pays, as in training: what is kept is rounded to half precision anyhow."""
    pays = half and torch.cpu._is_avx512_bf16_supported()
    return torch.autocast("cpu", torch.bfloat16, enabled=pays)


class PackedMaps(Dataset[tuple[Tensor, Any, Any]]):
    """Maps of a random variant of an image, with its target and grade, as `PackedImages`.

    Args:
        maps: (N, V, U, c, h, w) float16.
        targets: (N,) int, or (N, L) bool.
        grades: (N,) int, -1 where unknown; or (N, 1 + F) with the findings.
        seed: of the choice of variants.
    """

    def __init__(
        self, maps: Maps, targets: NDArray[np.int64] | NDArray[np.bool_], grades: NDArray[np.int64], seed: int = 0
    ) -> None:
        self.maps, self.targets, self.grades = maps, targets, grades
        self._rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, Any, Any]:
        """-> (U, c, h, w) float16, the target and the grade (and findings)."""
        variant = int(self._rng.integers(self.maps.shape[1]))
        chosen = np.array(self.maps[index, variant])
        return torch.from_numpy(chosen), self.targets[index], self.grades[index]


def describe_all(
    model: DescriptorModel,
    images: Pixels,
    contract: Contract,
    cache: Path | None = None,
    report: Callable[[str], None] = print,
) -> NDArray[np.float32]:
    """Compute descriptors of prepared images, scaled down but not augmented.

    Args:
        model: trained.
        images: (N, S, S, 3) uint8, prepared.
        contract: the model's.
        cache: keep the maps of the frozen stages there; None computes all anew.
        report: receives a line when there is something to do.

    Returns:
        (N, D) float32, unit length.
    """
    parts = _described(model, images, contract, cache, report)
    return np.concatenate([part.descriptor.float().numpy() for part in parts])


def pool_all(
    model: DescriptorModel,
    images: Pixels,
    contract: Contract,
    cache: Path | None = None,
    report: Callable[[str], None] = print,
) -> Tensor:
    """Compute what the model's heads see, (N, C), else as `describe_all`, in single precision.

    What is fitted to them closely would miss the very same images by the noise of bf16.
    """
    parts = _described(model, images, contract, cache, report, half=False)
    return torch.cat([part.pooled for part in parts])


def _described(
    model: DescriptorModel,
    images: Pixels,
    contract: Contract,
    cache: Path | None,
    report: Callable[[str], None],
    *,
    half: bool = True,
) -> Iterator[Described]:
    model.eval()
    mean, std = torch.tensor(contract.mean), torch.tensor(contract.std)
    with torch.inference_mode(), _autocast(half):
        if cache is None:
            for batch in _batches(images, contract.size, "none", 1):
                x = normalise(torch.from_numpy(batch), mean, std)
                yield model(x.contiguous(memory_format=torch.channels_last))
            return
        trunk = Trunk(model)
        maps = pack_maps(trunk, images, contract, cache, kind="none", variants=1, report=report)
        for start in range(0, len(maps), BATCH):
            some = torch.from_numpy(np.array(maps[start : start + BATCH, 0]))
            yield trunk.describe(some.float())

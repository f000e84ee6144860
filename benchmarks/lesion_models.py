"""The models that benchmarks/lesions.py asks where they look, and their maps."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from lesion_photos import Photo, prepared
from numpy.typing import NDArray
from safetensors.torch import load_file

from foveola.encoders.encoder import Encoder
from foveola.explain import Head, similarity_map
from foveola.images.fundus import Contract
from foveola.models.descriptor import DescriptorModel, attention_maps, head_arrays, normalise
from foveola.training.config import TrainConfig
from foveola.training.loop import BEST
from foveola.training.run import build_model

PARITY = 0.999  # the least cosine between the checkpoint's descriptor and the run's encoder's
FLAT = 1e-4  # a map that varies less, beside its size, says nothing: attention as the identity

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]


class Gallery(NamedTuple):
    """Photographs that may be the hit."""

    paths: list[Path]
    grades: NDArray[np.int64]
    same: NDArray[np.bool_]  # (photographs, gallery) that show one picture


def states(run: Path, config: TrainConfig, base: Path) -> Iterator[tuple[str, DescriptorModel]]:
    """The run's model, and the rivals that tell what its training did."""
    model = made(config, base)
    model.load_state_dict(weights_of(run, config))
    yield "trained", model.eval()
    if config.model.attention != "none":
        fresh = copy.deepcopy(model)
        fresh.attention = made(config, base).attention
        yield "trained, fresh attention", fresh.eval()
    if config.model.weights:
        yield "pretrained backbone", made(config, base, pretrained=True).eval()
    yield "random backbone", made(config, base).eval()


def made(config: TrainConfig, base: Path, *, pretrained: bool = False) -> DescriptorModel:
    """A new model, drawn by the run's seed."""
    torch.manual_seed(config.seed)
    if not pretrained:
        config = replace(config, model=replace(config.model, weights=None))
    return build_model(config, base)


def weights_of(run: Path, config: TrainConfig) -> dict[str, torch.Tensor]:
    """The weights that were released: of the best epoch, or the newest.

    Where the run keeps a running mean of its weights, a checkpoint's state_dict is that mean.
    """
    kept = run / "model.safetensors"  # of a run of benchmarks/evidence.py
    if kept.exists():
        return load_file(kept)
    found = sorted((run / "checkpoints").glob("epoch=*.ckpt"))
    file = run / "checkpoints" / BEST if config.data.validation else (found or [run / "none"])[-1]
    if not file.exists():
        raise SystemExit(f"{run.name} has no checkpoint; expected a finished run")
    state = torch.load(file, map_location="cpu", weights_only=True)["state_dict"]
    return {k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")}


def check_released(model: DescriptorModel, run: Path, pixels: NDArray[np.uint8]) -> None:
    """The model is that of the run's encoder, where there is one."""
    if not (run / "encoder").is_dir():
        return
    encoder = Encoder.load(run / "encoder", threads=1)
    ours = described(model, pixels, encoder.contract)
    least = float((ours * encoder.encode(pixels)).sum(1).min())
    if not least >= PARITY:
        raise SystemExit(f"{run.name}: checkpoint and encoder differ, cosine {least:.4f}")


def network_input(pixels: NDArray[np.uint8], contract: Contract) -> torch.Tensor:
    mean, std = torch.tensor(contract.mean), torch.tensor(contract.std)
    return normalise(torch.from_numpy(pixels), mean, std)


@torch.no_grad()
def described(model: DescriptorModel, pixels: NDArray[np.uint8], contract: Contract) -> Vectors:
    """(B, S, S, 3) -> (B, D) float32 descriptors."""
    parts = [pixels[i : i + 16] for i in range(0, len(pixels), 16)]
    return np.concatenate([model(network_input(p, contract)).descriptor.numpy() for p in parts])


@torch.no_grad()
def model_maps(
    model: DescriptorModel, photos: Sequence[Photo], gallery: Gallery, contract: Contract
) -> dict[str, list[Floats]]:
    """Every map of every photograph, by name."""
    others = described(model, np.stack([prepared(p, contract) for p in gallery.paths]), contract)
    head = Head(**head_arrays(model))
    found: dict[str, list[Floats]] = {}
    for i, photo in enumerate(photos):
        x = network_input(prepared(photo.path, contract)[None], contract)
        descriptor = model(x).descriptor.numpy()[0]
        attended = np.stack([each[0].numpy() for each in model.attend(x)])
        hit = others[best_hit(others @ descriptor, i, photo, gallery)]
        heats = {"similarity": similarity_map(attended, hit, head).contributions}
        heats |= {k: v[0].double().numpy() for k, v in attention_maps(model, x).items()}
        for name, heat in heats.items():
            found.setdefault(name, []).append(heat)
    return {name: heats for name, heats in found.items() if not all(map(flat, heats))}


def best_hit(cosines: Floats, i: int, photo: Photo, gallery: Gallery) -> int:
    """The most similar of the same grade that is another picture; of any grade if unknown."""
    allowed = ~gallery.same[i]
    if photo.grade is not None:
        allowed = allowed & (gallery.grades == photo.grade)
    return int(np.where(allowed, cosines, -np.inf).argmax())


def flat(heat: Floats) -> bool:
    return float(np.ptp(heat)) <= FLAT * float(np.abs(heat).max())

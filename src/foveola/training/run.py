"""`foveola train`: from a TOML file to a released encoder, resumable at any moment.

The run's folder holds:
    config.toml     what was asked for
    held_out/       one manifest for each data set, of the subjects training never saw
    checkpoints/    the last two epochs, from which a killed run goes on
    log/            TensorBoard
    encoder/        the released encoder, once training is done
"""

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import lightning
import numpy as np
import pandas as pd
import tomli_w
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from foveola.cases import Case
from foveola.config import load_config, to_mapping
from foveola.datasets.manifest import Manifest
from foveola.datasets.splits import split_by_subject
from foveola.errors import ConfigError, ManifestError
from foveola.images.fundus import Contract
from foveola.models.descriptor import DescriptorModel
from foveola.training.config import TrainConfig
from foveola.training.data import LEAST_IMAGES, PackedImages, pack, training_labels
from foveola.training.descriptor import DescriptorTraining
from foveola.training.export import export_encoder
from foveola.training.sampler import SubjectSampler

# Prepared images are kept this much larger than the network's input, so that turning and
# scaling them does not soften what is already at the limit of resolution.
PACK_SCALE = 1.125

Report = Callable[[str], None]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True)
class Prepared:
    """Everything a run trains on."""

    images: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]"
    labels: "np.ndarray[tuple[int], np.dtype[np.int64]]"
    names: tuple[str, ...]  # of the labels
    subjects: list[tuple[str, str]]
    counts: dict[str, int]  # images trained on, by collection


def train(config_file: Path, out: Path, report: Report = print) -> Path:
    """Train, or go on training, and export.

    Args:
        config_file: TOML, see TrainConfig.
        out: folder of the run; if it holds a run of the same configuration, that goes on.
        report: receives one line at each step.

    Returns:
        The folder of the released encoder.

    Raises:
        ConfigError: the configuration is wrong, or `out` holds another run.
        ManifestError: a manifest is wrong.
    """
    config = load_config(config_file, TrainConfig)
    _claim(out, config)
    lightning.seed_everything(config.seed, verbose=False)
    contract = Contract(size=config.model.image_size)
    prepared = prepare_data(config, config_file.parent, out, report)
    module = _fit(config, config_file.parent, contract, prepared, out)
    report("exporting the encoder")
    return export_encoder(
        module.model, out / "encoder", config=config, contract=contract, counts=prepared.counts
    )


def _claim(out: Path, config: TrainConfig) -> None:
    """Write the configuration into the run's folder, or check that the one there is the same."""
    text = tomli_w.dumps(to_mapping(config))
    kept = out / "config.toml"
    if kept.exists() and kept.read_text(encoding="utf-8") != text:
        raise ConfigError(
            f"{out} holds a run of another configuration; choose another folder or delete it"
        )
    out.mkdir(parents=True, exist_ok=True)
    kept.write_text(text, encoding="utf-8")


def prepare_data(config: TrainConfig, base: Path, out: Path, report: Report) -> Prepared:
    """Read the manifests, hold subjects back, prepare the images of the others."""
    cases: list[Case] = []
    for path, collection in zip(_manifests(config, base), _collections(config, base), strict=True):
        cases += _training_cases(config, path, collection, out)
    size = round(config.model.image_size * PACK_SCALE)
    report(f"preparing {len(cases)} images at {size} px")
    images, rows, faults = pack(cases, Contract(size=size), base / config.data.cache)
    for fault in faults:
        report(f"left out: {fault}")
    cases = [cases[i] for i in rows]
    labels, names = training_labels(cases)
    if len(names) < 2:
        raise ManifestError(
            f"{len(names)} labels have {LEAST_IMAGES} images or more; training needs at least 2: "
            "give more photographs, or fill in grade or findings"
        )
    counts: dict[str, int] = {}
    for case, label in zip(cases, labels, strict=True):
        if label >= 0:
            counts[case.collection] = counts.get(case.collection, 0) + 1
    report(", ".join(f"{n}: {int((labels == i).sum())}" for i, n in enumerate(names)))
    return Prepared(images, labels, names, [case.identity for case in cases], counts)


def _manifests(config: TrainConfig, base: Path) -> list[Path]:
    return [base / name for name in config.data.manifests]


def _collections(config: TrainConfig, base: Path) -> list[str]:
    return list(config.data.collections) or [
        path.resolve().parent.name for path in _manifests(config, base)
    ]


def _training_cases(config: TrainConfig, path: Path, collection: str, out: Path) -> list[Case]:
    """The cases of one manifest that training may see; the others are written to held_out/."""
    manifest = Manifest.read(path, collection=collection)
    held = pd.Series(False, index=manifest.table.index)
    if config.data.held_out > 0:
        fractions = {"train": 1 - config.data.held_out, "held_out": config.data.held_out}
        split = split_by_subject(manifest, fractions, seed=config.data.split_seed)
        held = (split == "held_out").reset_index(drop=True)
        kept_out = manifest.table.reset_index(drop=True)[held]
        folder = out / "held_out"
        folder.mkdir(exist_ok=True)
        Manifest(kept_out, manifest.root, collection).write(folder / f"{collection}.csv")
    return [case for case, is_held in zip(manifest.cases(), held, strict=True) if not is_held]


def _fit(
    config: TrainConfig, base: Path, contract: Contract, prepared: Prepared, out: Path
) -> DescriptorTraining:
    weights = base / config.model.weights if config.model.weights else None
    if weights is not None and not weights.exists():
        raise ConfigError(f"weights: {weights} does not exist")
    model = DescriptorModel(config.model.backbone, config.model.dimension, weights)
    model.freeze(config.model.freeze)
    module = DescriptorTraining(
        config,
        model.to(memory_format=torch.channels_last),
        labels=len(prepared.names),
        mean=contract.mean,
        std=contract.std,
        steps=config.epochs * config.batch.batches_per_epoch,
    )
    with redirect_stdout(sys.stderr):  # Lightning's progress; stdout is for results
        _trainer(config, out).fit(
            module, _loader(config, prepared), ckpt_path=_last(out), weights_only=True
        )
    return module


def _last(out: Path) -> str | None:
    """The newest checkpoint that can be read; a kill may have cut one short."""
    for checkpoint in sorted((out / "checkpoints").glob("*.ckpt"), reverse=True):
        try:
            torch.load(checkpoint, map_location="cpu", weights_only=True)
        except Exception:  # noqa: S112 - torch raises a dozen kinds for a damaged file
            continue
        return str(checkpoint)
    return None


def _loader(config: TrainConfig, prepared: Prepared) -> "DataLoader[object]":
    sampler = SubjectSampler(
        prepared.labels,
        prepared.subjects,
        groups=config.batch.groups,
        images_per_group=config.batch.images_per_group,
        batches=config.batch.batches_per_epoch,
        power=config.batch.label_power,
        seed=config.seed,
    )
    dataset = PackedImages(
        prepared.images, prepared.labels, config.model.image_size, seed=config.seed
    )
    return DataLoader(dataset, batch_sampler=sampler, num_workers=config.workers)


def _trainer(config: TrainConfig, out: Path) -> lightning.Trainer:
    checkpoint = ModelCheckpoint(
        out / "checkpoints",
        filename="{epoch:04d}",
        monitor="epoch",
        mode="max",
        save_top_k=2,  # the newest, and one more should a kill have cut the newest short
        save_on_train_epoch_end=True,
    )
    average = EMAWeightAveraging(decay=config.average_decay, update_every_n_steps=1)
    return lightning.Trainer(
        max_epochs=config.epochs,
        precision=_precision(config),
        callbacks=[checkpoint, average],
        logger=TensorBoardLogger(out, name="log", version=""),
        log_every_n_steps=10,
        enable_model_summary=False,
        use_distributed_sampler=False,  # ours makes whole batches
    )


def _precision(config: TrainConfig) -> Precision:
    """bf16 where the processor multiplies it, which is 2.4 times as fast as float32 there."""
    if config.precision != "auto":
        return config.precision
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    has_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16-mixed" if has_bf16 else "32-true"

"""`foveola train`: from a TOML file to a released encoder, resumable at any moment.

The run's folder holds:
    config.toml     what was asked for
    held_out/       one manifest for each data set, of the subjects training never saw
    checkpoints/    the last two epochs, from which a killed run goes on; with validation, the
                    best epoch, which is the one released
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
import tomli_w
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    EMAWeightAveraging,
    ModelCheckpoint,
)
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
from foveola.training.data import (
    LEAST_IMAGES,
    Labels,
    PackedImages,
    pack,
    training_labels,
)
from foveola.training.descriptor import LOG_EVERY, VALIDATION, DescriptorTraining
from foveola.training.export import export_encoder
from foveola.training.sampler import SubjectSampler
from foveola.training.validation import PlainImages

# Prepared images are kept this much larger than the network's input, so that turning and
# scaling them does not soften what is already at the limit of resolution.
PACK_SCALE = 1.125

BEST = "best.ckpt"  # of the epoch with the best validation mAP
GRADES = 5  # ICDR

Report = Callable[[str], None]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True)
class Prepared:
    """Everything a run trains on and chooses its epoch by."""

    images: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]"
    labels: Labels  # codes are -1 for images of the validation part
    grades: "np.ndarray[tuple[int], np.dtype[np.int64]]"  # -1 where unknown
    subjects: list[tuple[str, str]]
    counts: dict[str, int]  # images trained on, by collection
    validation: "np.ndarray[tuple[int], np.dtype[np.int64]]"  # rows of images
    validation_targets: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]"


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
    return train_configured(load_config(config_file, TrainConfig), config_file.parent, out, report)


def train_configured(config: TrainConfig, base: Path, out: Path, report: Report = print) -> Path:
    """`train` with a configuration at hand, whose paths are relative to base."""
    _claim(out, config)
    lightning.seed_everything(config.seed, verbose=False)
    contract = Contract(size=config.model.image_size, mean=config.model.mean, std=config.model.std)
    prepared = prepare_data(config, base, out, report)
    module = _fit(config, base, contract, prepared, out)
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
    judging: list[bool] = []
    for path, collection in zip(_manifests(config, base), _collections(config, base), strict=True):
        for part, is_validation in zip(
            _parts(config, path, collection, out), (False, True), strict=True
        ):
            cases += part
            judging += [is_validation] * len(part)
    size = round(config.model.image_size * PACK_SCALE)
    report(f"preparing {len(cases)} images at {size} px")
    images, rows, faults = pack(cases, Contract(size=size), base / config.data.cache)
    for fault in faults:
        report(f"left out: {fault}")
    return _prepared(config, images, [cases[i] for i in rows], [judging[i] for i in rows], report)


def _prepared(
    config: TrainConfig,
    images: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]",
    cases: list[Case],
    judging: list[bool],
    report: Report,
) -> Prepared:
    aside = np.array(judging, bool)
    every = training_labels(cases, config.data.label)
    codes = np.where(aside, -1, every.codes)
    kept = [int((codes == i).sum()) for i in range(len(every.names))]
    if sum(n > 0 for n in kept) < 2:
        least = 2 if config.data.label in ("subject", "eye") else LEAST_IMAGES
        raise ManifestError(
            f"{sum(n > 0 for n in kept)} labels have {least} images or more; training needs at "
            "least 2: give more photographs, or fill in the column that the label "
            f"{config.data.label!r} is read from"
        )
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
        labels=Labels(codes, every.names, every.targets),
        grades=np.array([-1 if case.grade is None else case.grade for case in cases], np.int64),
        subjects=[case.identity for case in cases],
        counts=counts,
        validation=np.flatnonzero(aside),
        validation_targets=every.targets[aside],
    )


def _manifests(config: TrainConfig, base: Path) -> list[Path]:
    return [base / name for name in config.data.manifests]


def _collections(config: TrainConfig, base: Path) -> list[str]:
    return list(config.data.collections) or [
        path.resolve().parent.name for path in _manifests(config, base)
    ]


def _parts(
    config: TrainConfig, path: Path, collection: str, out: Path
) -> tuple[list[Case], list[Case]]:
    """Training and validation cases of one manifest; the others are written to held_out/."""
    manifest = Manifest.read(path, collection=collection)
    rest, held = _split(manifest, config.data.held_out, config.data.split_seed)
    if held is not None:
        folder = out / "held_out"
        folder.mkdir(exist_ok=True)
        held.write(folder / f"{collection}.csv")
    trained, judged = _split(rest, config.data.validation, config.data.split_seed + 1)
    return list(trained.cases()), [] if judged is None else list(judged.cases())


def _split(manifest: Manifest, share: float, seed: int) -> tuple[Manifest, Manifest | None]:
    """The manifest without a share of its subjects, and these."""
    if share == 0:
        return manifest, None
    split = split_by_subject(manifest, {"train": 1 - share, "held_out": share}, seed=seed)
    aside = (split == "held_out").to_numpy()
    parts = (manifest.table[mask].reset_index(drop=True) for mask in (~aside, aside))
    first, second = (Manifest(part, manifest.root, manifest.collection) for part in parts)
    return first, second


def _fit(
    config: TrainConfig, base: Path, contract: Contract, prepared: Prepared, out: Path
) -> DescriptorTraining:
    module = DescriptorTraining(
        config,
        _model(config, base).to(memory_format=torch.channels_last),
        labels=len(prepared.labels.names),
        mean=contract.mean,
        std=contract.std,
        steps=config.epochs * config.batch.batches_per_epoch,
        validation=(
            prepared.validation_targets,
            [prepared.subjects[i] for i in prepared.validation],
        ),
    )
    with redirect_stdout(sys.stderr):  # Lightning's progress; stdout is for results
        _trainer(config, out).fit(
            module,
            _loader(config, prepared),
            _validation_loader(config, prepared),
            ckpt_path=_last(out),
            weights_only=True,
        )
    if config.data.validation:
        best = torch.load(out / "checkpoints" / BEST, map_location="cpu", weights_only=True)
        module.load_state_dict(best["state_dict"])
    return module


def _model(config: TrainConfig, base: Path) -> DescriptorModel:
    weights = base / config.model.weights if config.model.weights else None
    if weights is not None and not weights.exists():
        raise ConfigError(f"weights: {weights} does not exist")
    model = DescriptorModel(
        config.model.backbone,
        config.model.dimension or None,
        weights,
        attention=config.model.attention,
        views=config.model.views,
        gate=config.model.gate,
        fusion=config.model.fusion,
        grades=GRADES if config.loss.grade_weight else 0,
        output_stride=config.model.output_stride,
        in_channels=config.model.in_channels,
    )
    model.freeze(config.model.freeze)
    return model


def _last(out: Path) -> str | None:
    """The newest checkpoint that can be read; a kill may have cut one short."""
    for checkpoint in sorted((out / "checkpoints").glob("epoch=*.ckpt"), reverse=True):
        try:
            torch.load(checkpoint, map_location="cpu", weights_only=True)
        except Exception:  # noqa: S112 - torch raises a dozen kinds for a damaged file
            continue
        return str(checkpoint)
    return None


def _loader(config: TrainConfig, prepared: Prepared) -> "DataLoader[object]":
    sampler = SubjectSampler(
        prepared.labels.codes,
        prepared.subjects,
        groups=config.batch.groups,
        images_per_group=config.batch.images_per_group,
        batches=config.batch.batches_per_epoch,
        power=config.batch.label_power,
        distinct=config.data.label in ("subject", "eye"),
        seed=config.seed,
    )
    dataset = PackedImages(
        prepared.images,
        prepared.labels.targets,
        prepared.grades,
        config.model.image_size,
        seed=config.seed,
        kind=config.data.augment,
    )
    return DataLoader(dataset, batch_sampler=sampler, num_workers=config.workers)


def _validation_loader(config: TrainConfig, prepared: Prepared) -> "DataLoader[object] | None":
    if not len(prepared.validation):
        return None
    dataset = PlainImages(prepared.images, prepared.validation, config.model.image_size)
    return DataLoader(dataset, batch_size=64, num_workers=config.workers)


def _trainer(config: TrainConfig, out: Path) -> lightning.Trainer:
    return lightning.Trainer(
        max_epochs=config.epochs,
        precision=_precision(config),
        callbacks=_callbacks(config, out),
        logger=TensorBoardLogger(out, name="log", version=""),
        log_every_n_steps=min(LOG_EVERY, config.batch.batches_per_epoch),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # ours makes whole batches
    )


def _callbacks(config: TrainConfig, out: Path) -> list[Callback]:
    callbacks: list[Callback] = [
        ModelCheckpoint(
            out / "checkpoints",
            filename="{epoch:04d}",
            monitor="epoch",
            mode="max",
            save_top_k=2,  # the newest, and one more should a kill have cut the newest short
            save_on_train_epoch_end=True,
        )
    ]
    if config.average_decay:
        decay = config.average_decay
        callbacks.append(EMAWeightAveraging(decay=decay, update_every_n_steps=1))
    if config.data.validation:
        name = BEST.removesuffix(".ckpt")
        best = ModelCheckpoint(
            out / "checkpoints", filename=name, monitor=VALIDATION, mode="max",
            save_on_train_epoch_end=False, enable_version_counter=False,
        )  # fmt: skip
        callbacks.append(best)
    if config.patience:
        callbacks.append(EarlyStopping(VALIDATION, mode="max", patience=config.patience))
    return callbacks


def _precision(config: TrainConfig) -> Precision:
    """bf16 where the processor multiplies it, which is 2.4 times as fast as float32 there."""
    if config.precision != "auto":
        return config.precision
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    has_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16-mixed" if has_bf16 else "32-true"

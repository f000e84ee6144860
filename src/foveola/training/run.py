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
from contextlib import redirect_stdout
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
from torch.utils.data import DataLoader, Dataset

from foveola.config import load_config, to_mapping
from foveola.errors import ConfigError
from foveola.models.descriptor import DescriptorModel
from foveola.training.config import TrainConfig
from foveola.training.data import PackedImages
from foveola.training.descriptor import LOG_EVERY, VALIDATION, DescriptorTraining
from foveola.training.export import export_encoder
from foveola.training.finish import finish
from foveola.training.maps import PackedMaps, pack_maps
from foveola.training.prepared import Prepared, Report, contract_of, prepare_data
from foveola.training.sampler import SubjectSampler
from foveola.training.validation import PlainImages

BEST = "best.ckpt"  # of the epoch with the best validation mAP
GRADES = 5  # ICDR

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


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
    contract = contract_of(config)
    prepared, model = fit(config, base, out, report)
    report("exporting the encoder")
    return export_encoder(
        model, out / "encoder", config=config, contract=contract, counts=prepared.counts,
        data=prepared.data,
    )  # fmt: skip


def fit(
    config: TrainConfig, base: Path, out: Path, report: Report = print
) -> tuple[Prepared, DescriptorModel]:
    """Train, or go on training, without exporting: what was trained on, and the model."""
    _claim(out, config)
    lightning.seed_everything(config.seed, verbose=False)
    prepared = prepare_data(config, base, out, report)
    model = _fit(config, base, prepared, out, report).model
    if config.model.reduce or config.model.label_share:
        cache = base / config.data.cache
        finish(config.model, model, prepared, contract_of(config), cache, report)
    return prepared, model


def _claim(out: Path, config: TrainConfig) -> None:
    """Write the configuration into the run's folder, or check that the one there is the same."""
    kept = out / "config.toml"
    # read, not compared as text: a run begun before a setting existed has its default
    if kept.exists() and load_config(kept, TrainConfig) != config:
        raise ConfigError(
            f"{out} holds a run of another configuration; choose another folder or delete it"
        )
    out.mkdir(parents=True, exist_ok=True)
    kept.write_text(tomli_w.dumps(to_mapping(config)), encoding="utf-8")


def _fit(
    config: TrainConfig, base: Path, prepared: Prepared, out: Path, report: Report
) -> DescriptorTraining:
    contract = contract_of(config)
    model = build_model(config, base).to(memory_format=torch.channels_last)
    module = DescriptorTraining(
        config,
        model,
        labels=prepared.labels.number,
        findings=prepared.findings.shape[1],
        mean=contract.mean,
        std=contract.std,
        steps=config.epochs * config.batch.batches_per_epoch,
        validation=(
            prepared.labels.targets[prepared.validation],
            [prepared.subjects[i] for i in prepared.validation],
        ),
    )
    with redirect_stdout(sys.stderr):  # Lightning's progress; stdout is for results
        _trainer(config, out).fit(
            module,
            _loader(config, prepared, _dataset(config, base, model, prepared, report)),
            _validation_loader(config, prepared),
            ckpt_path=_last(out),
            weights_only=True,
        )
    # The weights that are released are read back: Lightning puts their running mean into the
    # module at the end of a run, but not when a run that was killed after its last epoch goes on.
    released = out / "checkpoints" / BEST if config.data.validation else _last(out)
    if released is not None:
        kept = torch.load(released, map_location="cpu", weights_only=True)
        module.load_state_dict(kept["state_dict"])
    return module


def build_model(config: TrainConfig, base: Path) -> DescriptorModel:
    """The model of a configuration as it is before training."""
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
        pooling=config.model.pooling,
        grades=GRADES if config.loss.grade_weight else 0,
        output_stride=config.model.output_stride,
        in_channels=config.model.in_channels,
        green=config.model.green,
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


def _dataset(
    config: TrainConfig, base: Path, model: DescriptorModel, prepared: Prepared, report: Report
) -> "Dataset[object]":
    targets, grades = prepared.labels.targets, prepared.grades
    if config.loss.findings_weight:
        grades = np.column_stack([grades, prepared.findings])
    size, kind = config.model.image_size, config.data.augment
    if not config.data.variants:
        return PackedImages(prepared.images, targets, grades, size, seed=config.seed, kind=kind)
    maps = pack_maps(
        model, prepared.images, contract_of(config), base / config.data.cache, kind=kind,
        variants=config.data.variants, report=report,
    )  # fmt: skip
    return PackedMaps(maps, targets, grades, seed=config.seed)


def _loader(
    config: TrainConfig, prepared: Prepared, dataset: "Dataset[object]"
) -> "DataLoader[object]":
    sampler = SubjectSampler(
        prepared.labels.codes,
        prepared.subjects,
        groups=config.batch.groups,
        images_per_group=config.batch.images_per_group,
        batches=config.batch.batches_per_epoch,
        power=config.batch.label_power,
        distinct=config.data.label in ("subject", "eye"),
        fellows=config.batch.fellows,
        seed=config.seed,
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
        precision=precision_of(config),
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


def precision_of(config: TrainConfig) -> Precision:
    """bf16 where the processor multiplies it, which is 2.4 times as fast as float32 there."""
    if config.precision != "auto":
        return config.precision
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    has_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16-mixed" if has_bf16 else "32-true"

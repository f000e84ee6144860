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

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from foveola.errors import ConfigError
from foveola.models.descriptor import DescriptorModel
from foveola.models.trunk import Trunk
from foveola.training.classifiers import add_classifiers
from foveola.training.config import TrainConfig
from foveola.training.data import PackedImages
from foveola.training.descriptor import LOG_EVERY, VALIDATION, DescriptorTraining
from foveola.training.export import export_encoder
from foveola.training.finish import finish
from foveola.training.loop import BEST, Loop, claim, last_checkpoint, trainer
from foveola.training.maps import PackedMaps, pack_maps
from foveola.training.prepared import Prepared, Report, contract_of, prepare_data
from foveola.training.ranks import EvenRows, first, first_before_others, rank
from foveola.training.sampler import SubjectSampler
from foveola.training.validation import PlainImages
from foveola.trust import Seen

GRADES = 5  # ICDR


def train_configured(config: TrainConfig, base: Path, out: Path, report: Report = print) -> Path:
    """`train` with a configuration at hand, whose paths are relative to base."""
    contract = contract_of(config)
    prepared, model = fit(config, base, out, report)
    if not first():
        return out / "encoder"
    report("exporting the encoder")
    folder = export_encoder(
        model,
        out / "encoder",
        config=config,
        contract=contract,
        counts=prepared.counts,
        data=prepared.data,
        seen=Seen.of_files(prepared.trained),
    )
    if config.data.label not in ("subject", "eye"):
        add_classifiers(folder, prepared, report)
    return folder


def fit(config: TrainConfig, base: Path, out: Path, report: Report = print) -> tuple[Prepared, DescriptorModel]:
    """Train, or go on training, without exporting: what was trained on, and the model."""
    lightning.seed_everything(config.seed, verbose=False)
    with first_before_others():
        claim(out, config)
        prepared = prepare_data(config, base, out, report)
    model = _fit(config, base, prepared, out, report).model
    if first() and (config.model.reduce or config.model.label_share):
        cache = base / config.data.cache
        finish(config.model, model, prepared, contract_of(config), cache, report)
    return prepared, model


def _fit(config: TrainConfig, base: Path, prepared: Prepared, out: Path, report: Report) -> DescriptorTraining:
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
        validation=(prepared.labels.targets[prepared.validation], [prepared.subjects[i] for i in prepared.validation]),
    )
    with first_before_others():
        dataset = _dataset(config, base, model, prepared, report)
    with redirect_stdout(sys.stderr):  # Lightning's progress; stdout is for results
        _trainer(config, out).fit(
            module,
            _loader(config, prepared, dataset),
            _validation_loader(config, prepared),
            ckpt_path=last_checkpoint(out),
            weights_only=True,
        )
    # The weights that are released are read back: Lightning puts their running mean into the
    # module at the end of a run, but not when a run that was killed after its last epoch goes on.
    released = released_checkpoint(config, out)
    if released is not None:
        kept = torch.load(released, map_location="cpu", weights_only=True)
        module.load_state_dict(kept["state_dict"])
    return module


def released_checkpoint(config: TrainConfig, out: Path) -> Path | None:
    """The checkpoint of the epoch that is released: the best where the run was judged, or the last.

    None where there is none yet.
    """
    if config.data.validation and config.release == "best":
        return out / "checkpoints" / BEST
    last = last_checkpoint(out)
    return None if last is None else Path(last)


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
        mirrored=config.model.mirrored,
    )
    model.freeze(config.model.freeze)
    return model


def _dataset(
    config: TrainConfig, base: Path, model: DescriptorModel, prepared: Prepared, report: Report
) -> "Dataset[object]":
    targets, grades = prepared.labels.targets, prepared.grades
    if config.loss.findings_weight:
        grades = np.column_stack([grades, prepared.findings])
    size, kind = config.model.image_size, config.data.augment
    seed = config.seed + rank()  # no two processes change their images alike
    if not config.data.variants:
        return PackedImages(prepared.images, targets, grades, size, seed=seed, kind=kind)
    maps = pack_maps(
        Trunk(model),
        prepared.images,
        contract_of(config),
        base / config.data.cache,
        kind=kind,
        variants=config.data.variants,
        report=report,
    )
    return PackedMaps(maps, targets, grades, seed=seed)


def _loader(config: TrainConfig, prepared: Prepared, dataset: "Dataset[object]") -> "DataLoader[object]":
    sampler = SubjectSampler(
        prepared.codes_by_collection() if config.batch.by_collection else prepared.labels.codes,
        prepared.subjects,
        groups=config.batch.groups,
        images_per_group=config.batch.images_per_group,
        batches=config.batch.batches_per_epoch,
        power=config.batch.label_power,
        distinct=config.data.label in ("subject", "eye"),
        both_eyes=config.batch.both_eyes,
        seed=config.seed,
    )
    return DataLoader(dataset, batch_sampler=sampler, num_workers=config.workers)


def _validation_loader(config: TrainConfig, prepared: Prepared) -> "DataLoader[object] | None":
    if not len(prepared.validation):
        return None
    dataset = PlainImages(prepared.images, prepared.validation, config.model.image_size)
    rows = EvenRows(prepared.validation)
    return DataLoader(dataset, batch_size=64, sampler=rows, num_workers=config.workers)


def _trainer(config: TrainConfig, out: Path) -> lightning.Trainer:
    return trainer(
        out,
        Loop(
            epochs=config.epochs,
            precision=config.precision,
            average_decay=config.average_decay,
            judged_by=VALIDATION if config.data.validation else None,
            patience=config.patience,
            log_every=min(LOG_EVERY, config.batch.batches_per_epoch),
        ),
    )

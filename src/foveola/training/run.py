"""`foveola train`: from a TOML file to a released encoder, resumable at any moment.

The run's folder holds:
    config.toml     what was asked for
    held_out/       one manifest for each data set, of the subjects training never saw
    checkpoints/    the last two epochs, from which a killed run goes on; with validation, the
                    best epoch, which is the one released
    log/            TensorBoard
    encoder/        the released encoder, once training is done
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from foveola.errors import ConfigError
from foveola.images.fundus import Contract
from foveola.metrics.drawing import save_reliability
from foveola.models.descriptor import DescriptorModel, Trunk
from foveola.resources import AnyPath
from foveola.training.config import Config, TrainConfig, load_any
from foveola.training.data import PackedImages, PlainImages, SubjectSampler
from foveola.training.descriptor import VALIDATION, DescriptorTraining
from foveola.training.export import export_encoder, export_reader
from foveola.training.finish import add_classifiers, finish
from foveola.training.loop import BEST, claim, last_checkpoint, load_checkpoint, run_epochs
from foveola.training.losses import Criterion
from foveola.training.maps import PackedMaps, pack_maps
from foveola.training.prepared import Prepared, Report, contract_of, prepare_data
from foveola.training.ranks import EvenRows, first, first_before_others, joined, rank
from foveola.training.reading import train_reader
from foveola.trust import Seen


def train(config_file: AnyPath, out: AnyPath, report: Report = print) -> Path:
    """Train, or go on training, what a TOML file says, and release it; see `start`.

    Raises:
        ConfigError: the configuration is wrong, or `out` holds another run.
        ManifestError: a manifest is wrong.
    """
    config_file = Path(config_file)
    out = Path(out)
    return start(load_any(config_file), config_file.parent, out, report)


def start(config: Config, base: Path, out: Path, report: Report = print) -> Path:
    """Train, or go on training, and release.

    Args:
        config: of the run, with paths relative to base.
        base: folder.
        out: folder of the run.
        report: receives a line at each step.

    Returns:
        The folder of what is released: out/encoder, or out/reader.
    """
    with joined():
        return _start(config, base, out, report if first() else lambda _: None)


def _start(config: Config, base: Path, out: Path, report: Report) -> Path:
    if isinstance(config, TrainConfig):
        run = Run.of(config, base, out, report)
        run.fit()
        return run.release() if first() else out / "encoder"
    reader = train_reader(config, base, out, report)
    if not first():
        return out / "reader"
    held = reader.held.people
    if len(held.photographs):
        said = {
            "as trained": reader.say_uncalibrated(held).probabilities,
            "after temperature scaling": reader.held.probabilities,
        }
        note = f"{config.name}, {len(held.photographs)} people it was not trained on"
        save_reliability(held.truth > 0, said, out / "reliability.png", note=note)
    report("exporting the reader")
    return export_reader(reader, out / "reader", config)


@dataclass(frozen=True, eq=False)
class Run:
    """A training of a descriptor, put together once from its configuration.

    Attributes:
        config: of the run, with paths relative to base.
        base: folder.
        out: folder of the run.
        report: receives a line at each step.
        contract: what a photograph that is encoded goes through before the network.
        data: what is trained on, and what the epoch is chosen by.
        model: the network.
        loss: what its descriptors and features are compared by.
    """

    config: TrainConfig
    base: Path
    out: Path
    report: Report
    contract: Contract
    data: Prepared
    model: DescriptorModel
    loss: Criterion

    @classmethod
    def of(cls, config: TrainConfig, base: Path, out: Path, report: Report = print) -> Self:
        """Claim the folder, prepare the photographs, and build the network and its loss from the seed.

        Raises:
            ConfigError: weights do not exist, or `out` holds another run.
            ManifestError: a manifest is wrong, or there is too little to train on.
        """
        lightning.seed_everything(config.seed, verbose=False)
        with first_before_others():
            claim(out, config)
            data = prepare_data(config, base, out, report)
        model = build_model(config, base).to(memory_format=torch.channels_last)
        loss = Criterion(
            config.loss,
            labels=data.labels.number,
            dimension=model.dimension,
            width=model.width,
            findings=data.findings.shape[1],
        )
        return cls(config, base, out, report, contract_of(config.model), data, model, loss)

    @property
    def cache(self) -> Path:
        """Return the folder of what is computed once."""
        return self.base / self.config.data.cache

    def fit(self) -> None:
        """Train, or go on training, and leave the model as it is released."""
        config, data = self.config, self.data
        module = DescriptorTraining(
            config,
            self.model,
            self.loss,
            self.contract,
            steps=config.epochs * config.batch.batches_per_epoch,
            validation=(data.labels.targets[data.validation], [data.subjects[i] for i in data.validation]),
        )
        with first_before_others():
            dataset = self._dataset()
        judged_by = VALIDATION if config.data.validation else None
        run_epochs(self.out, config, module, self._batches(dataset), self._judged(), judged_by=judged_by)
        # The weights that are released are read back: Lightning puts their running mean into the
        # module at the end of a run, but not when a run that was killed after its last epoch goes on.
        released = released_checkpoint(config, self.out)
        if released is not None:
            load_checkpoint(module, released)
        if first() and (config.model.reduce or config.model.label_share):
            finish(config.model, self.model, data, self.contract, self.cache, self.report)

    def release(self) -> Path:
        """Write the trained encoder to the run's folder, with its classifiers, and return its folder."""
        self.report("exporting the encoder")
        folder = export_encoder(
            self.model,
            self.out / "encoder",
            config=self.config,
            contract=self.contract,
            counts=self.data.counts,
            data=self.data.data,
            seen=Seen.of_files(self.data.trained),
        )
        if self.config.data.label not in ("subject", "eye"):
            add_classifiers(folder, self.data, self.report)
        return folder

    def _dataset(self) -> "Dataset[object]":
        """Return varied images, or varied maps of the frozen stages, with what they are compared by."""
        config, data = self.config, self.data
        grades = data.grades
        if config.loss.findings_weight:
            grades = np.column_stack([grades, data.findings])
        seed, kind = config.seed + rank(), config.data.augment  # no two processes change their images alike
        if not config.data.variants:
            size = config.model.image_size
            return PackedImages(data.images, data.labels.targets, grades, size, seed=seed, kind=kind)
        maps = pack_maps(
            Trunk(self.model),
            data.images,
            self.contract,
            self.cache,
            kind=kind,
            variants=config.data.variants,
            report=self.report,
        )
        return PackedMaps(maps, data.labels.targets, grades, seed=seed)

    def _batches(self, dataset: "Dataset[object]") -> "DataLoader[object]":
        config, data = self.config, self.data
        sampler = SubjectSampler(
            data.codes_by_collection() if config.batch.by_collection else data.labels.codes,
            data.subjects,
            groups=config.batch.groups,
            images_per_group=config.batch.images_per_group,
            batches=config.batch.batches_per_epoch,
            power=config.batch.label_power,
            distinct=config.data.label in ("subject", "eye"),
            both_eyes=config.batch.both_eyes,
            seed=config.seed,
        )
        return DataLoader(dataset, batch_sampler=sampler, num_workers=config.workers)

    def _judged(self) -> "DataLoader[object] | None":
        rows = self.data.validation
        if not len(rows):
            return None
        dataset = PlainImages(self.data.images, rows, self.config.model.image_size)
        return DataLoader(dataset, batch_size=64, sampler=EvenRows(rows), num_workers=self.config.workers)


def released_checkpoint(config: TrainConfig, out: Path) -> Path | None:
    """Return the checkpoint of the epoch that is released: the best where the run was judged, or the last.

    None where there is none yet.
    """
    if config.data.validation and config.release == "best":
        return out / "checkpoints" / BEST
    last = last_checkpoint(out)
    return None if last is None else Path(last)


def build_model(config: TrainConfig, base: Path) -> DescriptorModel:
    """Build the model of a configuration as it is before training."""
    weights = base / config.model.weights if config.model.weights else None
    if weights is not None and not weights.exists():
        raise ConfigError(f"weights: {weights} does not exist")
    grades = 5 if config.loss.grade_weight else 0  # of ICDR
    model = DescriptorModel(
        config.model.backbone,
        config.model.dimension or None,
        weights,
        attention=config.model.attention,
        views=config.model.views,
        gate=config.model.gate,
        fusion=config.model.fusion,
        pooling=config.model.pooling,
        grades=grades,
        output_stride=config.model.output_stride,
        in_channels=config.model.in_channels,
        green=config.model.green,
        mirrored=config.model.mirrored,
    )
    model.freeze(config.model.freeze)
    return model

"""Training of the binocular reader: people in, a model that reads both eyes out.

    run = train_reader(config, base, out)
    run.model, run.validation.probabilities, run.held ...

The run's folder holds what `foveola train` keeps (see run.py). The epoch with the best
macro-AUC on the validation people is the one that counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foveola.encoders.parts import convolutions
from foveola.encoders.release import RELEASED
from foveola.errors import ConfigError, ManifestError
from foveola.losses.findings import FINDINGS_LOSSES, class_balanced
from foveola.losses.pairs import gather
from foveola.metrics.multilabel import choose_thresholds, evaluate_reading
from foveola.metrics.probabilities import fit_temperature
from foveola.models.backbone import load_folded, load_weights
from foveola.models.binocular import GLUON, Answer, BinocularModel, Read, ReaderTrunk
from foveola.models.descriptor import normalise
from foveola.people import NORMAL, People
from foveola.training.config import ReaderConfig, ReadingConfig
from foveola.training.loop import BEST, claim, load_checkpoint, run_epochs, warm_cosine
from foveola.training.prepared import HELD, JUDGED, TRAINED, Feed, PreparedPeople, Report, prepare_people
from foveola.training.ranks import first_before_others, in_order, share


def build_reader(config: ReadingConfig, base: Path) -> BinocularModel:
    """Build the model of a configuration as it is before training."""
    of = config.model
    model = BinocularModel(
        len(config.data.labels),
        of.backbone,
        attention=of.attention,
        blocks=of.blocks,
        fusion=of.fusion,
        width=of.width,
        feature=of.feature,
        dropout=of.dropout,
        shared=of.shared,
        whole=of.whole,
    )
    if of.weights:
        for trunk in model.backbones:
            _load(trunk, of, base)
    model.freeze(of.freeze)
    return model.to(memory_format=torch.channels_last)


def _load(trunk: nn.Module, of: ReaderConfig, base: Path) -> None:
    path = base / str(of.weights)
    if not path.exists() and not (RELEASED / str(of.weights)).exists():
        raise ConfigError(f"weights: {path} does not exist")
    if not path.is_file():
        _load_released(trunk, of, path if path.is_dir() else str(of.weights))
    elif of.backbone == GLUON:
        trunk.load_gluon(path)  # type: ignore[operator]
    else:
        load_weights(trunk.get_submodule("body"), path, beyond=True)


def _load_released(trunk: nn.Module, of: ReaderConfig, source: str | Path) -> None:
    ends: Sequence[str] = trunk.ends  # type: ignore[assignment]
    if of.freeze != len(ends):
        raise ConfigError(
            f"freeze is {of.freeze}; an encoder's statistics are folded into its weights, so all "
            f"{len(ends)} stages taken from {of.weights} must keep them: set freeze = {len(ends)}"
        )
    load_folded(trunk, convolutions(source), str(of.weights))


def answer_of(config: ReadingConfig) -> Answer:
    """Return how a configuration's model answers, before its temperatures are fitted."""
    return Answer(
        config.data.labels,
        normal=NORMAL,
        softmax=config.loss.name == "softmax",
        monocular=not config.loss.person_weight,
    )


Floats = NDArray[np.float32]
VALIDATION = "validation/macro-AUC"


class ReadingTraining(lightning.LightningModule):
    """Trains a BinocularModel.

    Args:
        config: of the run.
        model: to train.
        positive: (L,) people who carry each label, for class-balanced weights.
        steps: of the run, for the schedule.
        judged: the validation people.
    """

    def __init__(
        self, config: ReadingConfig, model: BinocularModel, positive: Tensor, steps: int, judged: People
    ) -> None:
        super().__init__()
        self.config, self.model, self.steps, self.judged = config, model, steps, judged
        self.answer = answer_of(config)
        self.register_buffer("mean", torch.tensor(config.model.mean))
        self.register_buffer("std", torch.tensor(config.model.std))
        balanced = class_balanced(positive, config.loss.balance) if config.loss.balance else None
        self.register_buffer("balance", balanced)
        self._said: list[Tensor] = []

    def forward(self, pixels: Tensor, present: Tensor) -> Read:
        """(B, 2, S, S, 3) uint8, or kept maps (B, 2, c, h, w); and (B, 2) bool."""
        if pixels.dtype == torch.float16:
            return self.model.read(ReaderTrunk(self.model).encode(pixels.float()), present)
        flat = normalise(pixels.flatten(0, 1), self.get_buffer("mean"), self.get_buffer("std"))
        flat = flat.contiguous(memory_format=torch.channels_last)
        said: Read = self.model(flat.reshape(-1, 2, *flat.shape[1:]), present)
        return said

    def training_step(self, batch: tuple[Tensor, ...], _: int) -> Tensor:
        """Return one batch's loss: of several processes, that of all their parts."""
        pixels, present, truth, eyes = batch
        truth, eyes = gather(truth), gather(eyes)
        present = share(self._some_missing(gather(present)))
        said, weights = self(pixels, present), self.config.loss
        loss_of, balance = FINDINGS_LOSSES[weights.name], self.balance
        parts = {
            "person": weights.person_weight * loss_of(gather(said.person.float()), truth, balance),
            "eyes": weights.eye_weight * loss_of(gather(said.eyes.float()).flatten(0, 1), eyes.flatten(0, 1), balance),
        }
        loss = torch.stack(list(parts.values())).sum()
        self.log("loss", loss, prog_bar=True)
        for name, value in parts.items():
            self.log(f"loss/{name}", value)
        return loss

    def _some_missing(self, present: Tensor) -> Tensor:
        """Take an eye from some of the people who have both."""
        lost = torch.rand(len(present), device=present.device) < self.config.loss.missing
        side = torch.randint(0, 2, (len(present),), device=present.device)
        kept = torch.nn.functional.one_hot(1 - side, 2).bool()
        return torch.where((lost & present.all(1))[:, None], kept, present)

    def validation_step(self, batch: tuple[Tensor, ...], _: int) -> None:
        """Keep what is said of validation people; they come in order."""
        said = self(batch[0], batch[1])
        chances, _ = self.answer(said.person, said.eyes, batch[1])
        self._said.append(chances)

    def on_validation_epoch_end(self) -> None:
        """Judge it."""
        truth = self.judged.truth
        all_said, self._said = in_order(torch.cat(self._said), len(truth)), []
        said = all_said.cpu().numpy()
        if len(said) == len(truth):  # not Lightning's trial batch
            found = evaluate_reading(truth > 0, said, labels=self.judged.labels, bootstrap=0)
            value = found.overall["macro-AUC"].value
            self.log(VALIDATION, value, prog_bar=True)

    def configure_optimizers(self) -> Any:
        """Return two groups of parameters with rates of their own; warm-up, then a cosine to zero."""
        config, backbones = self.config, set(self.model.backbones.parameters())
        rest = [p for p in self.model.parameters() if p not in backbones]
        pretrained = [p for p in self.model.backbones.parameters() if p.requires_grad]
        rate = config.learning_rate * config.backbone_rate
        groups = [{"params": rest, "lr": config.learning_rate}, {"params": pretrained, "lr": rate}]
        optimizer = torch.optim.AdamW([group for group in groups if group["params"]], weight_decay=config.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warm_cosine(self.steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


@dataclass(frozen=True, eq=False)
class Readings:
    """What a reader says of P people.

    Attributes:
        people: they.
        probabilities: float32 (P, L).
        eyes: float32 (P, 2, L), of each eye; NaN of a missing one.
        features: float32 (P, F), the fused feature.
    """

    people: People
    probabilities: Floats
    eyes: Floats
    features: Floats


@dataclass(frozen=True, eq=False)
class ReaderRun:
    """A trained reader, and what it says of people it was not trained on.

    Attributes:
        module: holds the model of the best epoch, and its answer with temperatures fitted to the
            validation people.
        thresholds: (L,), above which an answer is yes, chosen on the validation people.
        alone: (L,), likewise for the answer of an eye by itself; None where eyes were not trained.
        prepared: what there was to train on.
        feed: of what was prepared.
        validation: what it says of those by whom all this was chosen.
        held: and of those held back.
    """

    module: ReadingTraining
    thresholds: NDArray[np.float64]
    alone: NDArray[np.float64] | None
    prepared: PreparedPeople
    feed: Feed
    validation: Readings
    held: Readings

    @property
    def model(self) -> BinocularModel:
        """Return the network."""
        return self.module.model

    @property
    def answer(self) -> Answer:
        """Return what turns its logits into probabilities."""
        return self.module.answer

    def say(self, people: People) -> Readings:
        """Read some of the people that it was prepared with."""
        return _read(self.module, self.feed, people)

    def told(self, said: Readings) -> Floats:
        """(P, L) probabilities as the released reader tells them: of one eye alone its own."""
        if self.alone is None:
            return said.probabilities
        present = said.people.present
        only = said.eyes[np.arange(len(present)), present.argmax(axis=1)]
        both = present.all(axis=1, keepdims=True)
        return np.where(both, said.probabilities, only).astype(np.float32, copy=False)

    def say_uncalibrated(self, people: People) -> Readings:
        """Read them as it did before its temperatures were fitted."""
        kept = [float(self.answer.get_buffer(n)) for n in ("temperature", "eye_temperature")]
        self.answer.set_temperatures(1.0, 1.0)
        try:
            return self.say(people)
        finally:
            self.answer.set_temperatures(kept[0], kept[1])


def train_reader(config: ReadingConfig, base: Path, out: Path, report: Report = print) -> ReaderRun:
    """Train, or go on training.

    Args:
        config: of the run, with paths relative to base.
        base: folder.
        out: folder of the run.
        report: receives a line at each step.

    Raises:
        ConfigError: weights do not exist.
        ManifestError: there are no people to train on.
    """
    lightning.seed_everything(config.seed, verbose=False)
    with first_before_others():
        claim(out, config)
        prepared = prepare_people(config.data, config.model.image_size, base, out, report)
    trained, judged = prepared.part(TRAINED), prepared.part(JUDGED)
    if len(trained.photographs) < config.batch or not len(judged.photographs):
        raise ManifestError(
            f"{len(trained.photographs)} people to train on and {len(judged.photographs)} to "
            f"validate by; expected at least {config.batch}, one batch, and 1"
        )
    model = build_reader(config, base)
    with first_before_others():
        feed = Feed(config, model, prepared, base / config.data.cache, report)
    loader = feed.varied(trained)
    positive = torch.from_numpy(np.nansum(trained.truth, axis=0))
    module = ReadingTraining(config, model, positive, config.epochs * len(loader), judged)
    run_epochs(out, config, module, loader, feed.judged(judged), judged_by=VALIDATION)
    load_checkpoint(module, out / "checkpoints" / BEST)
    module.eval()
    _calibrate(module, feed, judged)
    validation = _read(module, feed, judged)
    return ReaderRun(
        module,
        choose_thresholds(judged.truth > 0, validation.probabilities),
        alone_thresholds(judged.eyes, validation.eyes) if config.loss.eye_weight else None,
        prepared,
        feed,
        validation,
        _read(module, feed, prepared.part(HELD)),
    )


def alone_thresholds(truth: Floats, said: Floats) -> NDArray[np.float64] | None:
    """Choose thresholds for an eye by itself; None where no eye has both labels and an answer.

    Args:
        truth: (P, 2, L) of each eye, 0 or 1; NaN is unknown.
        said: (P, 2, L), likewise.
    """
    known = ~np.isnan(truth + said).any(axis=2)
    return choose_thresholds(truth[known] > 0, said[known]) if known.any() else None


def _calibrate(module: ReadingTraining, feed: Feed, judged: People) -> None:
    """Fit the temperatures to the validation people."""
    said = _logits(module, feed, judged)
    softmax, flat = module.answer.softmax, (-1, len(judged.labels))
    eyes = fit_temperature(judged.eyes.reshape(flat), said.eyes.reshape(flat).numpy(), softmax=softmax)
    person = fit_temperature(judged.truth, said.person.numpy(), softmax=softmax)
    module.answer.set_temperatures(person, eyes)


def _read(module: ReadingTraining, feed: Feed, people: People) -> Readings:
    said = _logits(module, feed, people)
    present = torch.from_numpy(people.present)
    person, eyes = module.answer(said.person, said.eyes, present)
    seen = np.where(people.present[:, :, None], eyes.numpy(), np.nan).astype(np.float32)
    return Readings(people, person.numpy(), seen, said.feature.numpy())


@torch.inference_mode()
def _logits(module: ReadingTraining, feed: Feed, people: People) -> Read:
    """Of all these people; without their maps."""
    empty = torch.empty(0)
    batches = feed.plain(people)
    said = [module(pixels, present)._replace(maps=empty) for pixels, present, *_ in batches]
    if not said:
        labels = len(people.labels)
        feature = torch.empty(0, module.config.model.feature)
        return Read(torch.empty(0, labels), torch.empty(0, 2, labels), feature, empty)
    person, eyes, feature, _ = (torch.cat(column).float() for column in zip(*said, strict=True))
    return Read(person, eyes, feature, empty)

"""The Lightning module that trains a descriptor, and nothing else."""

from collections.abc import Hashable, Sequence
from typing import Any

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveola.images.fundus import Contract
from foveola.losses.pairs import gather
from foveola.metrics import RetrievalData, evaluate_retrieval
from foveola.models.descriptor import Described, DescriptorModel, Trunk, normalise
from foveola.training.config import TrainConfig
from foveola.training.loop import LOG_EVERY, warm_cosine
from foveola.training.losses import Criterion
from foveola.training.ranks import in_order

VALIDATION = "validation/mAP"


class DescriptorTraining(lightning.LightningModule):
    """Trains a DescriptorModel by the losses that the configuration names.

    Triplets alone collapse easily on a few thousand photographs with noisy grades; proxies
    beside them give every image a gradient towards its own label from the first step on.

    Args:
        config: of the run.
        model: what is trained.
        criterion: the losses.
        contract: what is done to a photograph, of which mean and std are used here.
        steps: optimiser steps of the whole run, for the learning rate.
        validation: targets and subjects of the validation images, in the order they are given
            to `validation_step`.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: DescriptorModel,
        criterion: Criterion,
        contract: Contract,
        *,
        steps: int,
        validation: tuple[NDArray[Any], Sequence[Hashable]] | None = None,
    ) -> None:
        super().__init__()
        self.config, self.model, self.steps = config, model, steps
        self.register_buffer("mean", torch.tensor(contract.mean))
        self.register_buffer("std", torch.tensor(contract.std))
        self.criterion = criterion
        self._validation = validation
        self._judged: list[Tensor] = []

    def forward(self, pixels: Tensor) -> Described:
        """(B, S, S, 3) uint8, or kept maps (B, U, c, h, w) -> what the model says of them."""
        if pixels.ndim == 5:
            return Trunk(self.model).describe(pixels.float())
        x = normalise(pixels, self.get_buffer("mean"), self.get_buffer("std"))
        x = x.contiguous(memory_format=torch.channels_last)  # about twice as fast on a CPU
        described: Described = self.model(x)
        return described

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], index: int) -> Tensor:
        """Return one batch's loss: of several processes, that of all their parts."""
        pixels, targets, grades = batch
        targets, grades = gather(targets), gather(grades)
        findings = None
        if grades.ndim == 2:
            grades, findings = grades[:, 0], grades[:, 1:]
        said = self(pixels)
        descriptors, pooled = gather(said.descriptor), gather(said.pooled)
        logits = None if said.grades is None else gather(said.grades)
        parts = self.criterion(descriptors, targets, logits, grades, pooled, findings)
        loss = torch.stack(list(parts.values())).sum()
        self.log("loss", loss, prog_bar=True)
        for name, value in parts.items():
            self.log(f"loss/{name}", value)
        if index % LOG_EVERY == 0:
            watched = self.criterion.state(descriptors, targets)
            values = {name: torch.as_tensor(v).float() for name, v in watched.items()}
            self.log_dict(values, on_step=False, on_epoch=True)
        return loss

    def on_before_optimizer_step(self, _: torch.optim.Optimizer) -> None:
        """Log how long the gradient is."""
        if self.global_step % LOG_EVERY == 0:
            gradients = [p.grad.norm() for p in self.parameters() if p.grad is not None]
            self.log("gradient", torch.stack(gradients).norm(), on_step=False, on_epoch=True)

    def on_train_epoch_end(self) -> None:
        """Let AutoMargin set the margins of the next epoch."""
        if self.criterion.auto is not None:
            self.criterion.auto.step()

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        """Keep the descriptors of some validation images; they come in order."""
        self._judged.append(self(batch[0]).descriptor.float())

    def on_validation_epoch_end(self) -> None:
        """Judge them as a gallery."""
        if self._validation is None:
            return
        targets, subjects = self._validation
        said, self._judged = in_order(torch.cat(self._judged), len(subjects)), []
        descriptors = said.cpu().numpy()
        if len(descriptors) < len(subjects):
            return  # Lightning's trial batch before training
        by_identity = self.config.data.label in ("subject", "eye")
        value = retrieval_map(descriptors, targets, subjects, by_identity=by_identity)
        self.log(VALIDATION, value, prog_bar=True)

    def configure_optimizers(self) -> Any:
        """Return groups of parameters with rates of their own, and the schedule."""
        config = self.config
        rate = config.learning_rate
        pretrained = [p for p in self.model.backbone.parameters() if p.requires_grad]
        known = {id(p) for p in self.model.backbone.parameters()}
        rest = [p for p in self.model.parameters() if id(p) not in known]
        heads = [self.criterion.head, self.criterion.findings]
        rest += [p for head in heads if head is not None for p in head.parameters()]
        learnt = [self.criterion.proxies, self.criterion.metric]
        proxies = [p for each in learnt if each is not None for p in each.parameters()]
        groups = [
            {"params": pretrained, "lr": rate * config.backbone_rate},
            {"params": rest, "lr": rate},
            {"params": proxies, "lr": rate * 10, "weight_decay": 0.0},
        ]
        made = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[config.optimizer]
        optimizer = made([g for g in groups if g["params"]], weight_decay=config.weight_decay)
        if config.schedule == "constant":
            return optimizer
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warm_cosine(self.steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def retrieval_map(
    descriptors: NDArray[np.float32],
    targets: NDArray[np.int64] | NDArray[np.bool_],
    subjects: Sequence[Hashable],
    *,
    by_identity: bool,
) -> float:
    """Compute the mean average precision of a search for each image among the others.

    For diseases macro mAP@10 (AP divided by 10) without the query's own subject; for identities
    micro mAP@R, the subject being what is looked for.

    Args:
        descriptors: (N, D).
        targets: (N,) codes with -1 for unlabelled, or (N, L) sets.
        subjects: N hashables.
        by_identity: whether the targets are subjects or eyes.

    Returns:
        0 to 1.
    """
    side = RetrievalData(descriptors, targets, subjects, _names(targets))
    done = evaluate_retrieval(side, ks=(10,), exclude="none" if by_identity else "subject", bootstrap=0)
    value = done.metrics["mAP@R" if by_identity else "mAP@10"].value
    return value.micro if by_identity else value.macro


def _names(targets: NDArray[np.int64] | NDArray[np.bool_]) -> tuple[str, ...]:
    count = targets.shape[1] if targets.ndim == 2 else int(targets.max(initial=-1)) + 1
    return tuple(str(i) for i in range(count))

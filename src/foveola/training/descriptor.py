"""The Lightning module that trains a descriptor, and nothing else."""

import math
from typing import Any

import lightning
import torch
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.losses import NormalizedSoftmaxLoss, TripletMarginLoss
from pytorch_metric_learning.miners import TripletMarginMiner
from torch import Tensor

from foveola.models.descriptor import DescriptorModel, normalise
from foveola.training.config import TrainConfig


class DescriptorTraining(lightning.LightningModule):
    """Triplets on unit descriptors, with a softmax over one proxy a label beside them.

    Triplets alone collapse easily on a few thousand photographs with noisy grades; the
    proxies give every image a gradient towards its own label from the first step on.

    Args:
        config: of the run.
        model: what is trained.
        labels: number of labels.
        mean, std: the contract's, three values each on the scale 0 to 1.
        steps: optimiser steps of the whole run, for the learning rate.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: DescriptorModel,
        *,
        labels: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        steps: int,
    ) -> None:
        super().__init__()
        self.config, self.model, self.steps = config, model, steps
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))
        distance = CosineSimilarity()
        self.miner = TripletMarginMiner(
            margin=config.loss.margin, distance=distance, type_of_triplets="all"
        )
        self.triplet = TripletMarginLoss(margin=config.loss.margin, distance=distance)
        self.proxies = NormalizedSoftmaxLoss(
            labels, config.model.dimension, temperature=config.loss.proxy_temperature
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, S, S, 3) uint8 -> (B, D) unit descriptors."""
        x = normalise(pixels, self.get_buffer("mean"), self.get_buffer("std"))
        x = x.contiguous(memory_format=torch.channels_last)  # about twice as fast on a CPU
        descriptor: Tensor = self.model(x).descriptor
        return descriptor

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """One batch's loss."""
        pixels, labels = batch
        descriptors = self(pixels)
        triplet = self.triplet(descriptors, labels, self.miner(descriptors, labels))
        proxy = self.proxies(descriptors, labels)
        loss: Tensor = (
            self.config.loss.triplet_weight * triplet + self.config.loss.proxy_weight * proxy
        )
        self.log("loss", loss, prog_bar=True)
        self.log("loss/triplet", triplet)
        self.log("loss/proxy", proxy)
        return loss

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up and cosine decay; the pretrained part moves at a third of the rate."""
        rate, decay = self.config.learning_rate, self.config.weight_decay
        backbone = [p for p in self.model.backbone.parameters() if p.requires_grad]
        rest = [*self.model.pool.parameters(), *self.model.projection.parameters()]
        groups = [
            {"params": backbone, "lr": rate / 3},
            {"params": rest, "lr": rate},
            {"params": list(self.proxies.parameters()), "lr": rate * 10, "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, weight_decay=decay)
        warm_up = max(1, self.steps // 20)

        def factor(step: int) -> float:
            if step < warm_up:
                return (step + 1) / warm_up
            done = min(1.0, (step - warm_up) / max(1, self.steps - warm_up))
            return 0.5 * (1 + math.cos(math.pi * done))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

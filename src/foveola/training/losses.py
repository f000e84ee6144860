"""From the names in a configuration to a loss on descriptors."""

from collections.abc import Callable
from typing import Any

import torch
from pytorch_metric_learning import losses as pml
from pytorch_metric_learning.distances import CosineSimilarity
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from foveola.losses import (
    AdaTripletLoss,
    AutoMargin,
    FineTripletHingeLoss,
    FineTripletLoss,
    SCTLoss,
    TripletLoss,
    WATLoss,
)
from foveola.losses.pairs import check, nan_unless_finite, pairs_of, wide, without_autocast
from foveola.losses.triplet import triplet_sums
from foveola.models.descriptor import in_float32
from foveola.training.config import LossConfig

TRIPLET_MARGIN = 0.1  # of "triplet" where the configuration names none


class Criterion(nn.Module):
    """The losses of a run, added up, each under its name for the log.

    Args:
        config: which losses.
        labels: number of labels, for the proxies.
        dimension: D of the descriptors.
        width: C of the pooled features; needed where the configuration has a head on them.
        findings: F, number of findings, likewise.
    """

    def __init__(self, config: LossConfig, *, labels: int, dimension: int, width: int = 0, findings: int = 0) -> None:
        super().__init__()
        self.config = config
        self.auto: AutoMargin | None = None
        if config.auto_margin:
            margin = 0.25 if config.margin is None else config.margin
            self.auto = AutoMargin(config.k_margin, config.k_beta, margin, config.beta)
        self.metric = _metric_loss(config, self.auto, labels, dimension)
        self.proxies: nn.Module | None = None
        if config.proxy_weight:
            self.proxies = pml.NormalizedSoftmaxLoss(labels, dimension, temperature=config.proxy_temperature)
        self.head = _Head(width, labels, config.dropout) if config.label_weight else None
        self.findings = _Head(width, findings, config.dropout) if config.findings_weight else None

    def forward(
        self,
        descriptors: Tensor,
        targets: Tensor,
        logits: Tensor | None,
        grades: Tensor | None,
        pooled: Tensor | None = None,
        findings: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """(B, D), (B,) or (B, L), (B, G), (B,), (B, C), (B, F) -> weighted losses by name.

        A grade or a finding of -1 is unknown and counts for nothing. All is computed in float32
        at least, and a loss on descriptors is NaN where one of them is not finite.

        Raises:
            ValueError: targets that are no labels of the descriptors.
        """
        check(descriptors, targets)
        with without_autocast(descriptors):
            logits, pooled = (None if x is None else wide(x) for x in (logits, pooled))
            parts = self._on_descriptors(wide(descriptors), targets)
            return parts | self._on_features(targets, logits, grades, pooled, findings)

    def _on_descriptors(self, descriptors: Tensor, targets: Tensor) -> dict[str, Tensor]:
        config, parts = self.config, {}
        for name, loss, weight in (
            (config.name, self.metric, config.weight),
            ("proxy", self.proxies, config.proxy_weight),
        ):
            if loss is not None:
                value = nan_unless_finite(loss(descriptors, targets), descriptors)
                parts[name] = weight * value
        return parts

    def _on_features(
        self,
        targets: Tensor,
        logits: Tensor | None,
        grades: Tensor | None,
        pooled: Tensor | None,
        findings: Tensor | None,
    ) -> dict[str, Tensor]:
        parts: dict[str, Tensor] = {}
        if logits is not None and grades is not None:
            parts["grade"] = self.config.grade_weight * _known_cross_entropy(logits, grades)
        if self.head is not None and pooled is not None:
            loss = _label_loss(self.head(pooled), targets, self.config.smoothing)
            parts["label"] = self.config.label_weight * loss
        if self.findings is not None and pooled is not None and findings is not None:
            loss = _known_binary(self.findings(pooled), findings)
            parts["findings"] = self.config.findings_weight * loss
        return parts

    @torch.no_grad()
    def state(self, descriptors: Tensor, targets: Tensor) -> dict[str, Tensor | float]:
        """Return what is worth watching: margin, beta, similarities, share of triplets still active."""
        pairs = pairs_of(descriptors.detach(), targets)
        watched: dict[str, Tensor | float] = {
            "similarity/positive": _mean(pairs.similarity, pairs.positive),
            "similarity/negative": _mean(pairs.similarity, pairs.negative),
        }
        margin = self.margin
        if margin is not None:
            triplets = (pairs.positive.sum(1) * pairs.negative.sum(1)).sum()
            _, active = triplet_sums(pairs, margin)
            watched |= {"margin": margin, "triplets/active": active / triplets.clamp(min=1)}
        if self.auto is not None:
            watched["beta"] = self.auto.beta
        return watched

    @property
    def margin(self) -> float | None:
        """Return the triplet margin in force, where there is one."""
        if self.auto is not None:
            return self.auto.margin
        if self.config.name not in ("triplet", "ada_triplet"):
            return None
        if self.config.margin is not None:
            return self.config.margin
        return TRIPLET_MARGIN if self.config.name == "triplet" else 0.25


class _Head(nn.Module):
    """A linear classifier on pooled features, (B, C) -> logits (B, outputs) in float32."""

    def __init__(self, width: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.dropout, self.linear = nn.Dropout(dropout), nn.Linear(width, outputs)

    def forward(self, pooled: Tensor) -> Tensor:
        return in_float32(self.linear, self.dropout(pooled.float()))


class _AutoTriplet(nn.Module):
    """The triplet loss under AutoMargin: "Triplet-AM" of the AdaTriplet repository."""

    def __init__(self, auto: AutoMargin, settings: dict[str, Any]) -> None:
        super().__init__()
        # AdaTriplet without its second term
        self.loss = AdaTripletLoss(auto, weight=0.0, **settings)

    def forward(self, descriptors: Tensor, targets: Tensor) -> Tensor:
        loss: Tensor = self.loss(descriptors, targets)
        return loss


def _metric_loss(config: LossConfig, auto: AutoMargin | None, labels: int, dimension: int) -> nn.Module | None:
    settings: dict[str, Any] = {} if config.margin is None else {"margin": config.margin}
    mining: dict[str, Any] = {} if config.mining is None else {"mining": config.mining}
    fine = settings | {"scale": config.scale, "symmetric": config.symmetric}
    cosine = {"distance": CosineSimilarity()}
    if config.name == "triplet" and auto is not None:
        return _AutoTriplet(auto, {"mining": "all"} | mining)
    makers: dict[str, Callable[[], nn.Module | None]] = {
        "none": lambda: None,
        "triplet": lambda: TripletLoss(**{"margin": TRIPLET_MARGIN} | settings | mining),
        "ada_triplet": lambda: AdaTripletLoss(auto, beta=config.beta, **settings, **mining),
        "fine_triplet": lambda: FineTripletLoss(**fine),
        "fine_triplet_hinge": lambda: FineTripletHingeLoss(**settings),
        "sct": SCTLoss,
        "wat": WATLoss,
        # pytorch-metric-learning's, on cosines: positives above 1 - 0, negatives below margin
        "contrastive": lambda: pml.ContrastiveLoss(
            pos_margin=1.0, neg_margin=0.5 if config.margin is None else config.margin, **cosine
        ),
        # with a learnt proxy of each label, in the optimiser as they were not in the paper's code
        "arcface": lambda: pml.ArcFaceLoss(labels, dimension, **settings),
        # two: an identity has a handful of images, which ten proxies could meet one by one
        "soft_triple": lambda: pml.SoftTripleLoss(labels, dimension, centers_per_class=2, **settings),
        "circle": lambda: pml.CircleLoss(m=0.4 if config.margin is None else config.margin),
    }
    return makers[config.name]()


def _known_cross_entropy(logits: Tensor, grades: Tensor) -> Tensor:
    known = grades >= 0
    if not known.any():
        return logits.sum() * 0
    return cross_entropy(logits[known], grades[known])


def _label_loss(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """Of (B,) labels, or of (B, L) sets of them."""
    if targets.ndim == 1:
        return cross_entropy(logits, targets, label_smoothing=smoothing)
    even = targets.float() * (1 - smoothing) + smoothing / 2
    return binary_cross_entropy_with_logits(logits, even)


def _known_binary(logits: Tensor, findings: Tensor) -> Tensor:
    wanted = findings.clamp(min=0).float()
    each = binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return _mean(each, findings >= 0)


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum() / mask.sum().clamp(min=1)

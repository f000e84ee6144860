"""The losses as modules, with pytorch-metric-learning's call.

criterion = AdaTripletLoss(margin=0.25)
loss = criterion(embeddings, labels)                        # or with a miner's tuple,
loss = criterion(embeddings, labels, indices_tuple)         # or against a memory:
loss = criterion(embeddings, labels, None, ref_emb, ref_labels)
"""

from collections.abc import Callable
from inspect import signature
from typing import Any

from torch import Tensor, nn

from foveola.losses.auto_margin import AutoMargin
from foveola.losses.fine_triplet import fine_triplet_hinge_loss, fine_triplet_loss
from foveola.losses.pairs import Indices
from foveola.losses.triplet import Mining, ada_triplet_loss, sct_loss, triplet_loss, wat_loss


class _PairLoss(nn.Module):
    """A pure loss function with its settings, which each class names with the function's defaults."""

    function: Callable[..., Tensor]

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.settings = settings

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor | None = None,
        indices_tuple: Indices | None = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> Tensor:
        """(A, D) descriptors of any length and (A,) labels -> () loss."""
        return type(self).function(embeddings, labels, indices_tuple, ref_emb, ref_labels, **self.settings)

    def extra_repr(self) -> str:
        """Return the settings that are not the defaults."""
        usual = signature(type(self).function).parameters
        return ", ".join(f"{key}={value!r}" for key, value in self.settings.items() if value != usual[key].default)


class TripletLoss(_PairLoss):
    """Compute `triplet_loss`, which says what the settings are.

    >>> import torch
    >>> criterion = TripletLoss(margin=0.5, mining="hard")
    >>> criterion
    TripletLoss(margin=0.5, mining='hard')
    >>> criterion(torch.tensor([[1.0, 0], [0, 1], [1, 0]]), torch.tensor([1, 1, 2])).item()
    1.0
    """

    function = staticmethod(triplet_loss)

    def __init__(self, *, margin: float = 0.25, mining: Mining = "all", positive_from: float = 0.5) -> None:
        super().__init__(margin=margin, mining=mining, positive_from=positive_from)


class FineTripletLoss(_PairLoss):
    """Compute `fine_triplet_loss`, which says what the settings are."""

    function = staticmethod(fine_triplet_loss)

    def __init__(
        self,
        *,
        margin: float = 0.25,
        scale: float = 1.0,
        symmetric: bool = False,
        detach_degree: bool = False,
        positive_from: float = 0.5,
    ) -> None:
        super().__init__(
            margin=margin, scale=scale, symmetric=symmetric, detach_degree=detach_degree, positive_from=positive_from
        )


class FineTripletHingeLoss(_PairLoss):
    """Compute `fine_triplet_hinge_loss`, which says what the settings are."""

    function = staticmethod(fine_triplet_hinge_loss)

    def __init__(
        self, *, margin: float = 0.25, weight: float = 1.0, detach_degree: bool = False, positive_from: float = 0.5
    ) -> None:
        super().__init__(margin=margin, weight=weight, detach_degree=detach_degree, positive_from=positive_from)


class SCTLoss(_PairLoss):
    """Compute `sct_loss`, which says what the settings are."""

    function = staticmethod(sct_loss)

    def __init__(self, *, weight: float = 1.0, temperature: float = 0.1) -> None:
        super().__init__(weight=weight, temperature=temperature)


class WATLoss(_PairLoss):
    """Compute `wat_loss`, which says what the setting is."""

    function = staticmethod(wat_loss)

    def __init__(self, *, least: float = 0.1) -> None:
        super().__init__(least=least)


class AdaTripletLoss(_PairLoss):
    """Compute `ada_triplet_loss`; with an AutoMargin, feed it in training mode.

    Call `step` of the AutoMargin at the end of each epoch.

    Args:
        auto: sets margin and beta, in the place of those given.
        margin, beta, weight, mining, positive_from: see `ada_triplet_loss`.

    >>> import torch
    >>> criterion = AdaTripletLoss(auto := AutoMargin(margin=0.5))
    >>> criterion(torch.tensor([[1.0, 0], [1, 0], [0, 1]]), torch.tensor([1, 1, 2])).item()
    0.0
    >>> auto.step()
    >>> auto.margin, auto.beta
    (0.5, 0.5)
    """

    function = staticmethod(ada_triplet_loss)

    def __init__(
        self,
        auto: AutoMargin | None = None,
        *,
        margin: float = 0.25,
        beta: float = 0.0,
        weight: float = 1.0,
        mining: Mining = "semihard",
        positive_from: float = 0.5,
    ) -> None:
        super().__init__(margin=margin, beta=beta, weight=weight, mining=mining, positive_from=positive_from)
        self.auto = auto

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor | None = None,
        indices_tuple: Indices | None = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> Tensor:
        """(A, D) descriptors of any length and (A,) labels -> () loss."""
        settings = dict(self.settings)
        if self.auto is not None:
            settings |= {"margin": self.auto.margin, "beta": self.auto.beta}
            if self.training:
                self.auto.update(embeddings, labels, indices_tuple, ref_emb)
        return ada_triplet_loss(embeddings, labels, indices_tuple, ref_emb, ref_labels, **settings)

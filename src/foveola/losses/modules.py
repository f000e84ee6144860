"""The losses as modules, with pytorch-metric-learning's call.

criterion = AdaTripletLoss(margin=0.25)
loss = criterion(embeddings, labels)                        # or with a miner's tuple,
loss = criterion(embeddings, labels, indices_tuple)         # or against a memory:
loss = criterion(embeddings, labels, None, ref_emb, ref_labels)
"""

from collections.abc import Callable
from inspect import Parameter, signature
from typing import Any

from torch import Tensor, nn

from foveola.losses.auto_margin import AutoMargin
from foveola.losses.fine_triplet import fine_triplet_hinge_loss, fine_triplet_loss
from foveola.losses.pairs import Indices
from foveola.losses.triplet import ada_triplet_loss, sct_loss, triplet_loss, wat_loss


class _PairLoss(nn.Module):
    """A pure loss function with its settings; settings are those of the function."""

    function: Callable[..., Tensor]

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        parameters = signature(type(self).function).parameters.values()
        known = {each.name for each in parameters if each.kind is Parameter.KEYWORD_ONLY}
        if unknown := sorted(set(settings) - known):
            raise TypeError(f"unknown settings {unknown}; expected some of {sorted(known)}")
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
        """The settings that are not the defaults."""
        return ", ".join(f"{key}={value!r}" for key, value in self.settings.items())


class TripletLoss(_PairLoss):
    """`triplet_loss`."""

    function = staticmethod(triplet_loss)


class FineTripletLoss(_PairLoss):
    """`fine_triplet_loss`."""

    function = staticmethod(fine_triplet_loss)


class FineTripletHingeLoss(_PairLoss):
    """`fine_triplet_hinge_loss`."""

    function = staticmethod(fine_triplet_hinge_loss)


class SCTLoss(_PairLoss):
    """`sct_loss`."""

    function = staticmethod(sct_loss)


class WATLoss(_PairLoss):
    """`wat_loss`."""

    function = staticmethod(wat_loss)


class AdaTripletLoss(_PairLoss):
    """`ada_triplet_loss`; with an AutoMargin, which it feeds in training mode.

    Call `step` of the AutoMargin at the end of each epoch.

    Args:
        auto: sets margin and beta, in the place of those given.
        settings: of `ada_triplet_loss`.
    """

    function = staticmethod(ada_triplet_loss)

    def __init__(self, auto: AutoMargin | None = None, **settings: Any) -> None:
        super().__init__(**settings)
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

"""Losses of several yes-or-no findings at once.

All take logits (B, L) and the truth (B, L), 0 or 1 and NaN where it is not known, and give the mean
over what is known. `weights` (L,) multiplies the positive term of each label. Half precision is
widened. A truth of another shape is a ValueError.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax, logsigmoid

from foveola.losses.pairs import check_tensors, wide

FindingsLoss = Callable[..., Tensor]


def binary_cross_entropy(logits: Tensor, truth: Tensor, weights: Tensor | None = None) -> Tensor:
    """Compare by L independent sigmoids, the sound choice where a person may have several labels.

    >>> truth = torch.tensor([[1.0, 0.0, torch.nan]])  # the third is not known
    >>> round(binary_cross_entropy(torch.zeros(1, 3), truth).item(), 4)
    0.6931
    """
    logits, truth = _checked(logits, truth)
    known = ~truth.isnan()
    each = binary_cross_entropy_with_logits(logits, truth.nan_to_num(), pos_weight=weights, reduction="none")
    return _mean(each, known)


def focal(logits: Tensor, truth: Tensor, weights: Tensor | None = None, *, gamma: float = 2.0) -> Tensor:
    """Compute the focal loss: cross entropy times (1 - p of what is true) ** gamma.

    Source: Lin et al., ICCV 2017, without its alpha, which is what `weights` is for.
    """
    return asymmetric(logits, truth, weights, positive=gamma, negative=gamma, shift=0.0)


def asymmetric(
    logits: Tensor,
    truth: Tensor,
    weights: Tensor | None = None,
    *,
    positive: float = 0.0,
    negative: float = 4.0,
    shift: float = 0.05,
) -> Tensor:
    """Compute the focal loss with two exponents; what is easily negative, p < shift, counts nothing.

    Source: Ridnik et al., ICCV 2021, its default exponents 0 and 4 and shift 0.05.
    """
    logits, truth = _checked(logits, truth)
    known, truth = ~truth.isnan(), truth.nan_to_num()
    p = logits.sigmoid()
    below = (p - shift).clamp(min=0)  # probability of the negative term, shifted
    yes = logsigmoid(logits) * (1 - p) ** positive
    absent = torch.log1p(-below.clamp(max=1 - 1e-7)) if shift else logsigmoid(-logits)
    no = absent * below**negative
    if weights is not None:
        yes = yes * weights
    return _mean(-(truth * yes + (1 - truth) * no), known)


def softmax_cross_entropy(logits: Tensor, truth: Tensor, weights: Tensor | None = None) -> Tensor:
    """Compute the cross entropy of one softmax with the truth spread evenly over a person's labels.

    The literal "Softmax" of the abstract of Li et al., Micromachines 2022. People without a
    known label are left out; what is not known counts as absent.
    """
    logits, truth = _checked(logits, truth)
    target = truth.nan_to_num()
    if weights is not None:
        target = target * weights
    total = target.sum(1, keepdim=True)
    each = -(target / total.clamp(min=1e-12) * log_softmax(logits, 1)).sum(1)
    return _mean(each, total[:, 0] > 0)


FINDINGS_LOSSES: dict[str, FindingsLoss] = {
    "bce": binary_cross_entropy,
    "focal": focal,
    "asymmetric": asymmetric,
    "softmax": softmax_cross_entropy,
}


def class_balanced(positive: Tensor, beta: float = 0.999) -> Tensor:
    """(L,) weights by the effective number of examples, (1 - beta) / (1 - beta ** n), of mean 1.

    Source: Cui et al., CVPR 2019.

    Args:
        positive: (L,) people who carry each label.
        beta: between 0 (all alike) and 1 (by inverse frequency), exclusive.
    """
    effective = (1 - beta) / (1 - beta ** positive.clamp(min=1).double())
    return (effective / effective.mean()).float()


def _checked(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Both of one shape, else they would be compared each with each; and wide."""
    check_tensors(logits=logits, truth=truth)
    if logits.shape != truth.shape:
        raise ValueError(
            f"expected logits and truth of one shape (B, L), got {tuple(logits.shape)} and {tuple(truth.shape)}"
        )
    return wide(logits), wide(truth)


def _mean(values: Tensor, known: Tensor) -> Tensor:
    return (values * known).sum() / known.sum().clamp(min=1)

"""Losses in single precision at least, and NaN, not 0, where what they are given is not finite.

Under autocast a product of matrices is rounded to half precision: cosines then step by 1 / 256,
more than what is left between two descriptors near convergence, and counts overflow.
"""

import torch
from torch import Tensor


def wide(values: Tensor) -> Tensor:
    """Return float64 as it is, and everything else as float32."""
    return values if values.dtype == torch.float64 else values.float()


def without_autocast(like: Tensor) -> torch.autocast:
    """Switch autocast off, as a context, on the device of a tensor."""
    return torch.autocast(like.device.type, enabled=False)


def nan_unless_finite(loss: Tensor, *given: Tensor | None) -> Tensor:
    """Return a () loss as it is, or NaN with a gradient of NaN where a tensor is not finite.

    Hinges drop what compares with nothing, and the mean over no term is 0: a loss that looks
    perfect. A gradient of NaN is what a `GradScaler` skips a step for.
    """
    for each in given:
        if each is not None:
            loss = loss * torch.where(each.detach().isfinite().all(), 1.0, torch.nan)
    return loss

"""Losses in single precision at least, and NaN, not 0, where what they are given is not finite.

Under autocast a product of matrices is rounded to half precision: cosines then step by 1 / 256,
more than what is left between two descriptors near convergence, and counts overflow.
"""

import torch
from torch import Tensor


def wide(values: Tensor) -> Tensor:
    """Return float64 as it is, and everything else as float32."""
    return values if values.dtype == torch.float64 else values.float()


def near_one(rows: Tensor) -> Tensor:
    """Return float (B, D) with each row's greatest value brought to 0.5 to 1 by a power of two.

    No bit of an angle changes by it, but squares of 1e20 overflow in float32, and those of 1e-23
    are nothing.
    """
    if not rows.numel():
        return rows
    return torch.ldexp(rows, -torch.frexp(rows.detach().abs().amax(1, keepdim=True)).exponent)


def without_autocast(like: Tensor) -> torch.autocast:
    """Switch autocast off, as a context, on the device of a tensor."""
    return torch.autocast(like.device.type, enabled=False)


def check_tensors(**given: object) -> None:
    """Refuse what is no tensor, by name; None is left out.

    Raises:
        TypeError: one is something else.
    """
    for name, value in given.items():
        if value is not None and not isinstance(value, Tensor):
            raise TypeError(
                f"expected {name} as a torch.Tensor, got {type(value).__name__}; torch.as_tensor "
                "makes one of a list or an array"
            )


def nan_unless_finite(loss: Tensor, *given: Tensor | None) -> Tensor:
    """Return a () loss as it is, or NaN with a gradient of NaN where a tensor is not finite.

    Hinges drop what compares with nothing, and the mean over no term is 0: a loss that looks
    perfect. A gradient of NaN is what a `GradScaler` skips a step for.
    """
    for each in given:
        if each is not None:
            loss = loss * torch.where(each.detach().isfinite().all(), 1.0, torch.nan)
    return loss

"""Weights to start from: a file of timm's, or the convolutions of a finished network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

Folded = Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]


def load_weights(model: nn.Module, path: Path, *, beyond: bool = False) -> None:
    """Load safetensors into model, every key of it and, unless `beyond`, none left over.

    Raises:
        ValueError: the file's keys or shapes are not those of the model.
    """
    state: dict[str, Any] = {key: value.float() for key, value in load_file(path).items()}
    if beyond:
        own = model.state_dict()
        state = {key: value for key, value in state.items() if key in own}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        first = str(error).splitlines()[1:2]
        raise ValueError(f"{path.name} does not fit the backbone: {' '.join(first).strip()}") from None


def load_folded(model: nn.Module, convolutions: Folded, name: str) -> None:
    """Load convolutions into which the statistics of the normalisation after each are folded.

    The normalisation is left to add the bias. Its statistics must not be taken anew, so the
    model gives what the finished network gave as long as it is in evaluation mode.

    Args:
        model: its modules in the order they run, each convolution before its normalisation.
        convolutions: weight and bias; those beyond the model's are not used.
        name: of where they come from, for the error.

    Raises:
        ValueError: number or shapes are not those of the model.
    """
    convs = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    own = [(conv.weight.shape, norm.weight.shape) for conv, norm in zip(convs, norms, strict=True)]
    given = [(weight.shape, bias.shape) for weight, bias in convolutions[: len(own)]]
    if own != given:
        raise ValueError(f"{name} does not fit the backbone; was it made with another?")
    for conv, norm, (weight, bias) in zip(convs, norms, convolutions, strict=False):
        _fold(conv, norm, torch.from_numpy(weight), torch.from_numpy(bias))


@torch.no_grad()
def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d, weight: Tensor, bias: Tensor) -> None:
    conv.weight.copy_(weight)
    norm.reset_running_stats()  # mean 0, variance 1
    norm.weight.fill_((1 + norm.eps) ** 0.5)
    norm.bias.copy_(bias)

"""What a network starts from and keeps: weights from a file, frozen stages, a cut after them.

Shapes: B images, U views (3 where attention encodes the mirrored images, else 1), c channels of
the frozen part's last map, h x w its positions.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

Folded = Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]
STUB = 64  # pixels; enough for a map of one position at any stride in use


class Freezable(nn.Module):
    """A model with one backbone or more, of which the first stages may be frozen.

    Attributes:
        frozen: modules that keep the weights or statistics that they hold themselves.
        frozen_end: name in the backbone of the last frozen module; None where nothing is frozen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.frozen: list[nn.Module] = []
        self.frozen_end: str | None = None

    def freeze_up_to(self, backbones: Iterable[nn.Module], ends: Sequence[str], stages: int) -> None:
        """Keep the first stages of each backbone as they are, for good, their statistics too.

        Args:
            backbones: of one kind.
            ends: name of the last module of each stage.
            stages: how many.

        Raises:
            ValueError: there is no such number of stages.
        """
        if not 0 <= stages <= len(ends):
            raise ValueError(f"freeze is {stages}; the backbone has {len(ends)} stages")
        end = self.frozen_end = ends[stages - 1] if stages else None
        of = [] if end is None else [modules_up_to(each, end) for each in backbones]
        self.frozen = [module for modules in of for module in modules]
        for module in self.frozen:
            module.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set the mode as nn.Module.train does, but keep what is frozen in evaluation mode."""
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self


def modules_up_to(backbone: nn.Module, last: str) -> list[nn.Module]:
    """Return what holds weights or statistics itself, in the order it runs, to the end of `last`.

    Not merely the leaves: timm's normalisation layers have an activation as their child.
    """
    chosen: list[nn.Module] = []
    for name, module in backbone.named_modules():
        if name == last:
            return chosen + [m for m in module.modules() if _has_state(m)]
        if _has_state(module):
            chosen.append(module)
    raise ValueError(f"the backbone has no module {last!r}")


def _has_state(module: nn.Module) -> bool:
    """Whether module has parameters or buffers that are not its children's."""
    own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    return bool(own)


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


class Cut:
    """A network cut in two after one of its modules.

    Works by a hook on that module, so for any network whose later parts see nothing of the
    earlier ones but its output, as the stages of timm's classifiers.

    Args:
        run: the network, (B, C, H, W) -> whatever it gives.
        end: the last module of its first part.
    """

    def __init__(self, run: Callable[[Tensor], Tensor], end: nn.Module) -> None:
        self._run, self._end = run, end

    def first(self, x: Tensor) -> Tensor:
        """Run the first part: images -> what comes out of `end`."""
        kept: list[Tensor] = []

        def stop(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            kept.append(output)
            raise _Enough

        handle = self._end.register_forward_hook(stop)
        try:
            self._run(x)
        except _Enough:
            return kept[0]
        finally:
            handle.remove()
        raise ValueError("the backbone never reached the end of its frozen stages")

    def rest(self, maps: Tensor, channels: int = 3) -> Tensor:
        """Run the rest: what came out of `end` -> what the network gives.

        The network runs on a stub of so many channels, and the maps are put in where it ends.
        """
        stub = maps.new_zeros(1, channels, STUB, STUB)
        handle = self._end.register_forward_hook(lambda *_: maps)
        try:
            return self._run(stub)
        finally:
            handle.remove()


def state_of(modules: Iterable[nn.Module]) -> Iterator[Tensor]:
    """Yield weights and statistics that modules hold themselves."""
    for module in modules:
        own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        yield from (value.detach() for value in own)


class _Enough(Exception):  # noqa: N818 - no error: the forward pass need go no further
    pass

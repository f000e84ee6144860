"""The frozen first stages of a model, run once and for all instead of in every step.

    trunk = Trunk(model)  # after model.freeze(stages)
    maps = trunk(images)  # keep these
    described = trunk.describe(maps)  # as model(images), at the cost of what is not frozen

Shapes: B images, U views (3 where attention encodes the mirrored images, else 1), c channels of
the frozen part's last map, h x w its positions.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from foveola.models.binocular import BinocularModel
from foveola.models.descriptor import Described, DescriptorModel

STUB = 64  # pixels; enough for a map of one position at any stride in use


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
        """Images -> what comes out of `end`; the rest is not run."""
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
        """What came out of `end` -> what the network gives.

        The network runs on a stub of so many channels, and the maps are put in where it ends.
        """
        stub = maps.new_zeros(1, channels, STUB, STUB)
        handle = self._end.register_forward_hook(lambda *_: maps)
        try:
            return self._run(stub)
        finally:
            handle.remove()


class Trunk:
    """Cuts a model after its frozen stages; weights stay the model's own.

    Args:
        model: with at least one frozen stage and no gate on the input, which would have to be
            trained through the frozen part.

    Raises:
        ValueError: nothing is frozen, or the model has a gate.
    """

    def __init__(self, model: DescriptorModel) -> None:
        if model.frozen_end is None:
            raise ValueError("the model has no frozen stage to keep the maps of")
        if not isinstance(model.gate, nn.Identity):
            raise ValueError("a gate on the input is trained; its maps can't be kept")
        self.model = model
        self._cut = Cut(model.encode, model.backbone.get_submodule(model.frozen_end))
        mirrored = model.attention.mirrors and model.views == "encode"
        self.views: tuple[int | None, ...] = (None, -1, -2) if mirrored else (None,)

    @property
    def module(self) -> nn.Module:
        """The model."""
        return self.model

    @property
    def signature(self) -> str:
        """What the kept maps depend on beside weights and pixels."""
        green = " green" if self.model.green else ""
        return f"{self.views} {self.model.frozen_end} {self.model.in_channels}{green}"

    def weights(self) -> Iterator[Tensor]:
        """All that the kept maps depend on, in a fixed order: weights and statistics."""
        return state_of(self.model.frozen)

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) normalised images -> (B, U, c, h, w) maps where the frozen part ends."""
        views = (self.model.input(x if v is None else x.flip(v)) for v in self.views)
        return torch.stack([self._cut.first(view) for view in views], 1)

    def describe(self, maps: Tensor) -> Described:
        """(B, U, c, h, w) -> what the model says of the images these are the maps of."""
        encoded = [self._cut.rest(each, self.model.in_channels) for each in maps.unbind(1)]
        described: Described = self.model.describe(*self.model.with_mirrors(encoded))
        return described


def state_of(modules: Iterable[nn.Module]) -> Iterator[Tensor]:
    """Weights and statistics that modules hold themselves."""
    for module in modules:
        own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        yield from (value.detach() for value in own)


class ReaderTrunk:
    """The like of a BinocularModel whose eyes share a backbone.

    Raises:
        ValueError: nothing is frozen, or each eye has a backbone of its own.
    """

    def __init__(self, model: BinocularModel) -> None:
        if model.frozen_end is None or not model.shared:
            raise ValueError("there is no frozen stage of one backbone to keep the maps of")
        backbone = model.backbones[0]
        self.module, self.signature = model, f"reader {model.frozen_end}"
        self._cut = Cut(backbone, backbone.get_submodule(model.frozen_end))

    def weights(self) -> Iterator[Tensor]:
        """All that the kept maps depend on, in a fixed order: weights and statistics."""
        return state_of(self.module.frozen)

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) normalised images -> (B, 1, c, h, w) maps where the frozen part ends."""
        return self._cut.first(x)[:, None]

    def encode(self, maps: Tensor) -> Tensor:
        """(B, 2, c, h, w), left first -> (B, 2, C, h', w'), as `BinocularModel.encode`."""
        encoded = self._cut.rest(maps.flatten(0, 1))
        return encoded.reshape(-1, maps.shape[1], *encoded.shape[1:])


class _Enough(Exception):  # noqa: N818 - no error: the forward pass need go no further
    pass

"""The frozen first stages of a model, run once and for all instead of in every step.

    trunk = Trunk(model)  # after model.freeze(stages)
    maps = trunk(images)  # keep these
    described = trunk.describe(maps)  # as model(images), at the cost of what is not frozen

Shapes: B images, U views (3 where attention encodes the mirrored images, else 1), c channels of
the frozen part's last map, h x w its positions.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from foveola.models.descriptor import Described, DescriptorModel

STUB = 64  # pixels; enough for a map of one position at any stride in use


class Trunk:
    """Cuts a model after its frozen stages; weights stay the model's own.

    Works by a hook on the last frozen module, so for any backbone whose later stages see
    nothing of the earlier ones but that module's output, as those of timm's classifiers.

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
        self._end: nn.Module = model.backbone.get_submodule(model.frozen_end)
        mirrored = model.attention.mirrors and model.views == "encode"
        self.views: tuple[int | None, ...] = (None, -1, -2) if mirrored else (None,)

    def weights(self) -> Iterator[Tensor]:
        """All that the kept maps depend on, in a fixed order: weights and statistics."""
        for module in self.model.frozen:
            own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
            yield from (value.detach() for value in own)

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) normalised images -> (B, U, c, h, w) maps where the frozen part ends."""
        return torch.stack([self._run(x if v is None else x.flip(v)) for v in self.views], 1)

    def describe(self, maps: Tensor) -> Described:
        """(B, U, c, h, w) -> what the model says of the images these are the maps of."""
        encoded = [self._resume(each) for each in maps.unbind(1)]
        described: Described = self.model.describe(*self.model.with_mirrors(encoded))
        return described

    def _run(self, x: Tensor) -> Tensor:
        kept: list[Tensor] = []

        def stop(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            kept.append(output)
            raise _Enough

        handle = self._end.register_forward_hook(stop)
        try:
            self.model.encode(self.model.input(x))
        except _Enough:
            return kept[0]
        finally:
            handle.remove()
        raise ValueError("the backbone never reached the end of its frozen stages")

    def _resume(self, maps: Tensor) -> Tensor:
        """Run the backbone on a stub and put the maps in where the frozen part ends."""
        stub = maps.new_zeros(1, self.model.in_channels, STUB, STUB)
        handle = self._end.register_forward_hook(lambda *_: maps)
        try:
            return self.model.encode(stub)
        finally:
            handle.remove()


class _Enough(Exception):  # noqa: N818 - no error: the forward pass need go no further
    pass

"""Models whose first stages keep their weights."""

from collections.abc import Iterable, Sequence
from typing import Self

from torch import nn


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
        """Like nn.Module.train, but what is frozen stays in evaluation mode."""
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self


def modules_up_to(backbone: nn.Module, last: str) -> list[nn.Module]:
    """What holds weights or statistics itself, in the order it runs, to the end of `last`.

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

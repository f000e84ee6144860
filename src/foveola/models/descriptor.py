"""The descriptor model: backbone, GeM, projection, unit vector.

Shapes: B images, C channels of the last feature map, h x w its positions, D of the descriptor.
"""

from pathlib import Path
from typing import Any, NamedTuple, Self

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import normalize as unit_length

from foveola.models.pooling import GeM


class Described(NamedTuple):
    """What the model says of B images."""

    descriptor: Tensor  # (B, D) float32, unit length
    features: Tensor  # (B, C, h, w), the map before pooling


class DescriptorModel(nn.Module):
    """Any timm backbone with GeM and a linear projection to a unit descriptor.

    A model starts with the projection orthonormal, so that before training the descriptor
    already orders images as the pooled features do.

    Args:
        backbone: name of a timm model.
        dimension: D.
        weights: safetensors file of the backbone in timm's naming; None starts at random.
    """

    def __init__(
        self, backbone: str = "mobilenetv2_100", dimension: int = 256, weights: Path | None = None
    ) -> None:
        super().__init__()
        made: Any = timm.create_model(backbone, num_classes=0, global_pool="")
        self.backbone = made
        if weights is not None:
            load_weights(self.backbone, weights)
        self._frozen: list[nn.Module] = []
        self.channels = int(made.num_features)
        self.pool = GeM()
        self.projection = nn.Linear(self.channels, dimension)
        nn.init.orthogonal_(self.projection.weight)
        nn.init.zeros_(self.projection.bias)

    def freeze(self, stages: int) -> None:
        """Keep the stem and the first stages of the backbone as they are, for good.

        Their maps are the largest, so they cost most of a training step, and what they see
        (edges, spots, colours) is what ImageNet taught them. Their batch statistics stay too.

        Raises:
            ValueError: the backbone has no such number of stages.
        """
        stages_info: Any = self.backbone.feature_info
        ends = [info["module"] for info in stages_info]
        if not 0 <= stages <= len(ends):
            raise ValueError(f"freeze is {stages}; the backbone has {len(ends)} stages")
        self._frozen = _modules_up_to(self.backbone, ends[stages - 1]) if stages else []
        for module in self._frozen:
            module.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Like nn.Module.train, but what is frozen stays in evaluation mode."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def forward(self, x: Tensor) -> Described:
        """(B, 3, H, W) normalised images -> descriptor and feature map."""
        features = self.backbone(x)
        descriptor = self.projection(self.pool(features).to(self.projection.weight.dtype))
        return Described(unit_length(descriptor.float(), dim=1), features)


def load_weights(model: nn.Module, path: Path) -> None:
    """Load safetensors into model, every key of it and none left over.

    Raises:
        ValueError: the file's keys or shapes are not those of the model.
    """
    state: dict[str, Any] = {key: value.float() for key, value in load_file(path).items()}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        first = str(error).splitlines()[1:2]
        raise ValueError(
            f"{path.name} does not fit the backbone: {' '.join(first).strip()}"
        ) from None


def _modules_up_to(backbone: nn.Module, last: str) -> list[nn.Module]:
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


@torch.no_grad()
def normalise(pixels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(B, H, W, 3) values 0 to 255 -> (B, 3, H, W) as the contract's mean and std say."""
    scaled = (pixels.float() / 255 - mean) / std
    return scaled.permute(0, 3, 1, 2)

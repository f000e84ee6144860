"""The first three stages of ResNet-50 with pre-activation, in GluonCV's layout.

The published weights of GluonCV end after stage 3 and the BatchNorm that opens stage 4, which is
where `binocular` puts attention in place of stage 4. timm's own pre-activation network has no
BatchNorm on the input and none after the stem, so these weights don't fit there.

Source: He et al., Identity mappings in deep residual networks, ECCV 2016; layers and names after
gluoncv.model_zoo.resnetv2.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

DEPTHS = (3, 4, 6)
WIDTHS = (256, 512, 1024)
_NORMS = {"weight": "gamma", "bias": "beta", "running_mean": "running_mean", "running_var": "running_var"}


class PreActivation(nn.Module):
    """BatchNorm and ReLU, then 1x1 - 3x3 - 1x1, added to what came in."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        middle = out // 4
        self.norm1, self.conv1 = nn.BatchNorm2d(channels), _conv(channels, middle, 1)
        self.norm2, self.conv2 = nn.BatchNorm2d(middle), _conv(middle, middle, 3, stride)
        self.norm3, self.conv3 = nn.BatchNorm2d(middle), _conv(middle, out, 1)
        changed = stride > 1 or channels != out
        self.shortcut = _conv(channels, out, 1, stride) if changed else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, c, h, w) -> (B, out, h / stride, w / stride)."""
        ready = self.norm1(x).relu()
        kept = x if self.shortcut is None else self.shortcut(ready)
        inner = self.conv2(self.norm2(self.conv1(ready)).relu())
        added: Tensor = kept + self.conv3(self.norm3(inner).relu())
        return added


class ResNet50V2(nn.Module):
    """Stem and stages 1 to 3: (B, 3, H, W), normalised for ImageNet -> (B, 1024, H/16, W/16).

    Attributes:
        channels: 1024.
    """

    channels = WIDTHS[-1]

    def __init__(self) -> None:
        super().__init__()
        self.input = nn.BatchNorm2d(3, affine=False)
        self.stem = nn.Sequential(_conv(3, 64, 7, 2), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        channels, stages = 64, []
        for n, (depth, width) in enumerate(zip(DEPTHS, WIDTHS, strict=True)):
            blocks = []
            for block in range(depth):
                blocks.append(PreActivation(channels, width, 2 if n and not block else 1))
                channels = width
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        self.close = nn.BatchNorm2d(channels)
        self.ends = [*(f"stages.{n}" for n in range(len(DEPTHS) - 1)), "close"]

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 1024, H/16, W/16), after the closing BatchNorm and ReLU."""
        x = self.stem(self.input(x))
        for stage in self.stages:
            x = stage(x)
        closed: Tensor = self.close(x).relu()
        return closed

    def load_gluon(self, path: Path) -> None:
        """Load GluonCV's weights, as kept in a .pth file of tensors.

        Raises:
            ValueError: a weight is missing, left over, or of another shape.
        """
        given: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        named = self._gluon_names()
        missing, left = set(named.values()) - set(given), set(given) - set(named.values())
        # the input's BatchNorm is not trained: its scale is 1 and its shift 0, and not ours to hold
        left -= {"batchnorm0_gamma", "batchnorm0_beta"}
        if missing or left:
            raise ValueError(
                f"{path.name} does not fit: {len(missing)} weights are missing, such as "
                f"{sorted(missing)[:1]}, {len(left)} left over, such as {sorted(left)[:1]}"
            )
        own = self.state_dict()
        for name, theirs in named.items():
            if own[name].shape != given[theirs].shape:
                raise ValueError(f"{theirs} is {tuple(given[theirs].shape)}; expected {tuple(own[name].shape)}")
            own[name].copy_(given[theirs].float())

    def _gluon_names(self) -> dict[str, str]:
        """Our name of each weight -> GluonCV's."""
        modules: dict[str, str] = {"input": "batchnorm0", "stem.0": "conv0", "stem.1": "batchnorm1"}
        for n, stage in enumerate(self.stages, start=1):
            convs = norms = 0
            for b, block in enumerate(stage.children()):
                prefix = f"stages.{n - 1}.{b}"
                for part in (1, 2, 3):
                    modules[f"{prefix}.norm{part}"] = f"stage{n}_batchnorm{norms}"
                    modules[f"{prefix}.conv{part}"] = f"stage{n}_conv{convs}"
                    norms, convs = norms + 1, convs + 1
                if block.shortcut is not None:
                    modules[f"{prefix}.shortcut"] = f"stage{n}_conv{convs}"
                    convs += 1
        modules["close"] = "stage4_batchnorm0"
        names = {}
        for name in self.state_dict():
            module, _, kind = name.rpartition(".")
            if kind != "num_batches_tracked":
                conv = "conv" in modules[module]
                names[name] = f"{modules[module]}_{'weight' if conv else _NORMS[kind]}"
        return names


def _conv(channels: int, out: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, bias=False)

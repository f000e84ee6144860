"""The descriptor model: backbone, attention, pooling, projection, unit vector.

Shapes: B images, C channels of the last feature map, h x w its positions, D of the descriptor,
V maps that the attention returns (2 for mirror attention, else 1).
"""

from pathlib import Path
from typing import Any, Literal, NamedTuple

import timm
import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.functional import normalize as unit_length

from foveola.models.attention import ATTENTIONS, Attention, SpatialGate
from foveola.models.frozen import Freezable
from foveola.models.labels import LabelPart
from foveola.models.pooling import POOLINGS
from foveola.models.weights import load_weights

Views = Literal["encode", "feature"]
Fusion = Literal["concat", "sum"]
Pooling = Literal["gem", "average"]


class Described(NamedTuple):
    """What the model says of B images."""

    descriptor: Tensor  # (B, D) float32, unit length
    features: Tensor  # (B, V C, h, w), the attended maps before pooling
    pooled: Tensor  # (B, V C), or (B, C) for fusion "sum": what the heads see
    grades: Tensor | None = None  # (B, G) logits, where the model has a grade head


class DescriptorModel(Freezable):
    """Any timm backbone with attention, pooling and a projection to a unit descriptor.

    A model starts with the projection orthonormal and the attention as the identity (mirror,
    self, axial), so that before training the descriptor already orders images as the pooled
    features do.

    Args:
        backbone: name of a timm model: convolutional, or a transformer whose patches lie on a
            grid (their tokens are laid out as a map, the others left out).
        dimension: D; None leaves the projection out, as in the mirror-attention paper: D is then
            V C for fusion "concat" and C for "sum".
        weights: safetensors file of the backbone in timm's naming; None starts at random.
        attention: name in ATTENTIONS, or one of your own.
        views: how the mirrors' maps come about, for attention that looks at them: "encode"
            encodes the mirrored images (three passes, the authors'), "feature" mirrors the
            image's own map (one pass). They differ as far as the backbone is not symmetric.
        gate: a SpatialGate on the input.
        fusion: of the two halves of mirror attention. "concat" projects each half by the same
            weights into a half of the descriptor, so that the fine triplet loss finds them side
            by side; "sum" adds them.
        pooling: of the map into one vector: "gem" with a learnt exponent, or "average".
        grades: G of the grade head, on the pooled vector; 0 for none.
        output_stride: pixels of the image to one position of the map; None is the backbone's own,
            mostly 32. Convolutional backbones of timm take 8 or 16 too: a finer map of the same
            weights, for small lesions, at more cost.
        in_channels: of the image, 3 or 1; a model for 1 takes the luminance of a colour image.
        green: all channels see the green one, where vessels show best.
        mirrored: once trained, a map is the mean of the image's and of its left-right mirror's,
            turned back: twice the cost, and steadier.

    Raises:
        ValueError: an unknown attention, views, fusion or pooling, or an odd dimension for two
            halves.
    """

    def __init__(
        self,
        backbone: str = "mobilenetv2_100",
        dimension: int | None = 256,
        weights: Path | None = None,
        *,
        attention: str | Attention = "none",
        views: Views = "feature",
        gate: bool = False,
        fusion: Fusion = "concat",
        pooling: Pooling = "gem",
        grades: int = 0,
        output_stride: int | None = None,
        in_channels: int = 3,
        green: bool = False,
        mirrored: bool = False,
    ) -> None:
        super().__init__()
        if views not in ("encode", "feature"):
            raise ValueError(f"views is {views!r}; expected 'encode' or 'feature'")
        if fusion not in ("concat", "sum"):
            raise ValueError(f"fusion is {fusion!r}; expected 'concat' or 'sum'")
        if pooling not in POOLINGS:
            raise ValueError(f"pooling is {pooling!r}; expected one of {', '.join(POOLINGS)}")
        finer: dict[str, Any] = {} if output_stride is None else {"output_stride": output_stride}
        made: Any = timm.create_model(backbone, num_classes=0, global_pool="", in_chans=in_channels, **finer)
        self.backbone = made
        if weights is not None:
            load_weights(self.backbone, weights)
        self._channels_last = getattr(made, "output_fmt", "NCHW") == "NHWC"  # Swin and its kin
        self.views, self.fusion = views, fusion
        self.in_channels, self.green, self.mirrored = in_channels, green, mirrored
        self.channels = int(made.num_features)
        self.gate = SpatialGate() if gate else nn.Identity()
        self.attention = _attention(attention, self.channels)
        self.pool = POOLINGS[pooling]()
        halves = self.attention.outputs if fusion == "concat" else 1
        self.projection = _projection(self.channels, dimension, halves)
        self.width = halves * self.channels  # of the pooled features
        self.dimension = self.width if dimension is None else dimension
        self.grade_head = nn.Linear(self.width, grades) if grades else None
        self.labels: LabelPart | None = None

    def freeze(self, stages: int) -> None:
        """Keep the stem and the first stages of the backbone as they are, for good.

        Their maps are the largest, so they cost most of a training step, and what they see
        (edges, spots, colours) is what ImageNet taught them. Their batch statistics stay too.

        Raises:
            ValueError: the backbone has no such number of stages.
        """
        stages_info: Any = self.backbone.feature_info
        self.freeze_up_to([self.backbone], [info["module"] for info in stages_info], stages)

    def project(self, axes: Tensor) -> None:
        """Replace the projection by axes (D, C), for good; done after training.

        Raises:
            ValueError: the shape does not fit, or there are two halves.
        """
        if axes.ndim != 2 or axes.shape[1] != self.width or self.width != self.channels:
            raise ValueError(f"axes are {tuple(axes.shape)}; expected (D, {self.channels})")
        made = nn.Linear(self.channels, len(axes))
        with torch.no_grad():
            made.weight.copy_(axes)
            made.bias.zero_()
        self.projection, self.dimension = made.train(self.training), len(axes)

    def add_labels(self, part: LabelPart) -> None:
        """Put a part that says which labels are likely at the descriptor's end, for good.

        Done after training: the losses shape the visual part.
        """
        self.labels = part
        self.dimension += len(part.names)

    def forward(self, x: Tensor) -> Described:
        """(B, 3, H, W) normalised images -> descriptor, attended maps and grades."""
        return self.describe(*self.maps(x))

    def describe(self, original: Tensor, left_right: Tensor, up_down: Tensor) -> Described:
        """Maps (B, C, h, w) of the image and its mirrors -> descriptor, attended maps, grades."""
        maps = tuple(self.attention(original, left_right, up_down))
        pooled = [self.pool(each) for each in maps]
        if self.fusion == "sum":
            pooled = [torch.stack(pooled).sum(0)]
        every = torch.cat(pooled, 1)
        descriptor = torch.cat([in_float32(self.projection, half) for half in pooled], 1)
        descriptor = unit_length(descriptor, dim=1)
        if self.labels is not None:
            descriptor = self.labels(descriptor, every)
        logits = None if self.grade_head is None else in_float32(self.grade_head, every)
        return Described(descriptor, torch.cat(maps, 1), every, logits)

    def attend(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> the V attended maps, (B, C, h, w) each."""
        return tuple(self.attention(*self.maps(x)))

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, H, W) -> maps of the image and of its left-right and up-down mirrors.

        Attention that ignores the mirrors is given the image's own map for them.
        """
        x = self.input(x)
        encoded = [self.encode(self.gate(x))]
        if self.attention.mirrors and self.views == "encode":
            encoded += [self.encode(self.gate(x.flip(axis))) for axis in (-1, -2)]
        return self.with_mirrors(encoded)

    def input(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, in_channels, H, W)."""
        if self.green:
            x = x[:, 1:2].expand(-1, 3, -1, -1)
        return luminance(x) if self.in_channels == 1 else x

    def with_mirrors(self, encoded: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Maps of the image, and of its mirrors where they were encoded -> those of all three."""
        if len(encoded) == 3:
            return encoded[0], encoded[1], encoded[2]
        original = encoded[0]
        if not self.attention.mirrors:
            return original, original, original
        return original, original.flip(-1), original.flip(-2)

    def encode(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, C, h, w), of the mirror image too where the model is `mirrored`."""
        if self.mirrored and not self.training:
            return (self._map(x) + self._map(x.flip(-1)).flip(-1)) / 2
        return self._map(x)

    def _map(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, C, h, w), whatever form the backbone gives its features."""
        features: Tensor = self.backbone(x)
        if features.ndim == 3:  # tokens of a transformer, class token and registers first
            tokens = features[:, getattr(self.backbone, "num_prefix_tokens", 0) :]
            patches: Any = self.backbone.patch_embed
            height, width = patches.dynamic_feat_size(x.shape[-2:])
            return tokens.transpose(-2, -1).reshape(len(x), -1, height, width)
        return features.permute(0, 3, 1, 2) if self._channels_last else features


def in_float32(module: nn.Module, x: Tensor) -> Tensor:
    """A linear layer (or none) in float32, in a model of half precision or under autocast too."""
    if not isinstance(module, nn.Linear):
        return x
    with torch.autocast(x.device.type, enabled=False):
        return linear(x.float(), module.weight.float(), module.bias.float())


def _attention(chosen: str | Attention, channels: int) -> Attention:
    if isinstance(chosen, Attention):
        return chosen
    if chosen not in ATTENTIONS:
        raise ValueError(f"attention is {chosen!r}; expected one of {', '.join(ATTENTIONS)}")
    return ATTENTIONS[chosen](channels)


def _projection(channels: int, dimension: int | None, halves: int) -> nn.Module:
    if dimension is None:
        return nn.Identity()
    if dimension % halves:
        raise ValueError(f"dimension is {dimension}; expected an even number for two halves")
    projection = nn.Linear(channels, dimension // halves)
    nn.init.orthogonal_(projection.weight)
    nn.init.zeros_(projection.bias)
    return projection


def luminance(x: Tensor) -> Tensor:
    """(B, 3, H, W) RGB -> (B, 1, H, W), weighted as in ITU-R BT.601; grey stays as it is."""
    weights = x.new_tensor([0.299, 0.587, 0.114])
    return (x * weights[:, None, None]).sum(1, keepdim=True)


@torch.no_grad()
def normalise(pixels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(B, H, W, 3) values 0 to 255 -> (B, 3, H, W) as the contract's mean and std say."""
    scaled = (pixels.float() / 255 - mean) / std
    return scaled.permute(0, 3, 1, 2)

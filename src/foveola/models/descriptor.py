"""The descriptor model: backbone, attention, pooling, projection, unit vector.

Shapes: B images, C channels of the last feature map, h x w its positions, D of the descriptor,
V maps that the attention returns (2 for mirror attention, else 1).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import timm
import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.functional import normalize as unit_length

from foveola.models.attention import ATTENTIONS, Attention, MirrorAttention, SpatialGate
from foveola.models.backbone import Cut, Freezable, load_weights, state_of
from foveola.models.labels import LabelPart


class Average(nn.Module):
    """The plain mean over positions, in float32 whatever the input."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C) float32."""
        return x.float().mean(dim=(-2, -1))


class GeM(nn.Module):
    """Generalised mean over positions: p = 1 is the average, p towards infinity the maximum.

        y_c = ( mean_hw max(x_chw, eps)^p )^(1/p)

    A small lesion fills few positions of the map; a p above 1 keeps it from being averaged
    away. Computed in float32 whatever the input: a cube overflows half precision at 40.

    Source: Radenovic et al., TPAMI 2018; p = 3, learned, as in the mirror-attention code.

    Args:
        p: starting exponent, at least 1.
        eps: floor of the activations; what is negative counts as this.

    >>> x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> GeM(p=1.0)(x).item(), round(GeM(p=3.0)(x).item(), 3)
    (2.5, 2.924)
    """

    def __init__(self, p: float = 3.0, eps: float = 1e-6) -> None:
        super().__init__()
        if p < 1:
            raise ValueError(f"expected an exponent of at least 1, got {p}")
        self.p = nn.Parameter(torch.tensor(float(p)))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C) float32."""
        with torch.autocast(x.device.type, enabled=False):
            powered = x.float().clamp(min=self.eps) ** self.p
            pooled: Tensor = powered.mean(dim=(-2, -1)) ** (1 / self.p)
        return pooled


POOLINGS: dict[str, type[nn.Module]] = {"gem": GeM, "average": Average}


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
        """Describe maps (B, C, h, w) of the image and its mirrors: descriptor, attended maps, grades."""
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
        """Add to the image's map those of its mirrors, where they were not encoded."""
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
    """Apply a linear layer (or none) in float32, in a model of half precision or under autocast too."""
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


def head_arrays(model: DescriptorModel) -> dict[str, Any]:
    """Return what follows the attended maps, as the arguments of `foveola.explain.Head`.

    p, eps and fusion, and weight and bias as float32 arrays, None without a projection.
    """
    linear = model.projection if isinstance(model.projection, nn.Linear) else None
    return {
        **({"p": float(model.pool.p.detach()), "eps": model.pool.eps} if isinstance(model.pool, GeM) else {"p": None}),
        "weight": None if linear is None else linear.weight.detach().float().cpu().numpy(),
        "bias": None if linear is None else linear.bias.detach().float().cpu().numpy(),
        "fusion": model.fusion,
    }


@torch.no_grad()
def attention_maps(model: DescriptorModel, x: Tensor) -> dict[str, Tensor]:
    """Measure what the attention does at each position of (B, 3, H, W) normalised images.

    Returns:
        maps (B, h, w) float32, means over the V outputs:
            "added": length over the channels of the attended map less the original. For the
                gates of SE and CBAM, which only take away, it is what is taken away.
            "gain": length of the attended map over that of the original; 1 where nothing
                changes, and where the original is 0.
            "received": how much the mirrors look at a position, 1 on average; of mirror
                attention alone.
    """
    original, left_right, up_down = model.maps(x)
    attended = torch.stack(tuple(model.attention(original, left_right, up_down))).float()
    before = original.float()
    length = before.norm(dim=1)
    gain = attended.norm(dim=2) / length
    found = {"added": (attended - before).norm(dim=2).mean(0), "gain": torch.where(length > 0, gain, 1.0).mean(0)}
    if isinstance(model.attention, MirrorAttention):
        received = model.attention.received(original, left_right, up_down)
        found["received"] = torch.stack(received).mean(0)
    return found


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
        """Return the model."""
        return self.model

    @property
    def signature(self) -> str:
        """Return what the kept maps depend on beside weights and pixels."""
        green = " green" if self.model.green else ""
        return f"{self.views} {self.model.frozen_end} {self.model.in_channels}{green}"

    def weights(self) -> Iterator[Tensor]:
        """Return all that the kept maps depend on, in a fixed order: weights and statistics."""
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

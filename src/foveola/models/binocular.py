"""Both eyes of a person -> findings of the person.

    left, right --(shared backbone, to stage 3)--> X_L, X_R
                --(residual attention in place of stage 4)--> H_L, H_R
                --(fusion)--> z --> one number a label; and one a label for each eye

Source: Li et al., Micromachines 13(6) (2022) 947 (BFPC-Net). The article's own settings could not be
read, so this is a reading of its abstract: what is certain are the order of the parts and their
purpose. Cross-attention between the eyes, the handling of a missing eye and any backbone but
ResNet-50 are ours.

Shapes: B people, C channels of stage 3, D of the attention's output, h x w its positions, F of the
fused feature, L labels.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import timm
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from foveola.models.backbone import STUB, Cut, Freezable, state_of
from foveola.models.resnet_v2 import ResNet50V2

Fusion = Literal["concat", "sum", "product", "cross"]
FUSIONS: tuple[Fusion, ...] = ("concat", "sum", "product", "cross")
GLUON = "resnet50v2"  # the backbone of which stages 1 to 3 are published; any other is timm's
_EYES = 2


class Read(NamedTuple):
    """What the model says of B people.

    Attributes:
        person: (B, L) logits of both eyes together.
        eyes: (B, 2, L) logits of each eye, left first; of a missing eye they mean nothing.
        feature: (B, F), z, from which the person's logits are linear.
        maps: (B, 2, D, h, w), H.
    """

    person: Tensor
    eyes: Tensor
    feature: Tensor
    maps: Tensor


class ResidualAttention(nn.Module):
    """A bottleneck block whose branch passes a gate a channel, then a gate a position.

    U = F(X),  c = sigmoid(W2 relu(W1 GAP(U))),  U' = c U,
    s = sigmoid(conv7x7([mean_c U'; max_c U'])),  H = relu(s U' + shortcut(X))

    Args:
        channels: C of what comes in.
        out: D of what goes out.
        stride: of the block.
        gates: without them it is a block of ResNet's stage 4.
        reduction: of the channel gate.
    """

    def __init__(self, channels: int, out: int, stride: int = 1, *, gates: bool = True, reduction: int = 16) -> None:
        super().__init__()
        middle = max(1, out // 4)
        self.branch = nn.Sequential(
            *_normed(channels, middle, 1),
            nn.ReLU(),
            *_normed(middle, middle, 3, stride),
            nn.ReLU(),
            *_normed(middle, out, 1),
        )
        changed = stride > 1 or channels != out
        self.shortcut = nn.Sequential(*_normed(channels, out, 1, stride)) if changed else None
        squeezed = max(1, out // reduction)
        self.channel = (
            nn.Sequential(nn.Conv2d(out, squeezed, 1), nn.ReLU(), nn.Conv2d(squeezed, out, 1)) if gates else None
        )
        self.position = nn.Conv2d(2, 1, 7, padding=3, bias=False) if gates else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, D, h / stride, w / stride)."""
        u = self.branch(x)
        if self.channel is not None and self.position is not None:
            u = u * self.channel(u.mean((2, 3), keepdim=True)).sigmoid()
            seen = torch.cat([u.mean(1, keepdim=True), u.amax(1, keepdim=True)], 1)
            u = u * self.position(seen).sigmoid()
        added: Tensor = u + (x if self.shortcut is None else self.shortcut(x))
        return added.relu()


class Fuse(nn.Module):
    """H_L and H_R -> z, whichever of them there are.

    concat   GAP(relu(conv1x1(relu(bn(conv3x3([H_L; H_R]))))))
    sum      likewise of the mean of the eyes there are
    product  likewise of their product
    cross    likewise of the mean, after each position of an eye has looked at the other eye

    A missing eye is a learnt constant in `concat`, and is left out of the others.
    """

    def __init__(self, kind: Fusion, channels: int, out: int) -> None:
        super().__init__()
        if kind not in FUSIONS:
            raise ValueError(f"fusion is {kind!r}; expected one of {', '.join(FUSIONS)}")
        self.kind = kind
        wide = channels * (_EYES if kind == "concat" else 1)
        self.absent = nn.Parameter(torch.zeros(channels)) if kind == "concat" else None
        self.look = CrossLook(channels) if kind == "cross" else None
        self.mix = nn.Sequential(*_normed(wide, out, 3), nn.ReLU(), nn.Conv2d(out, out, 1), nn.ReLU())

    def forward(self, maps: Tensor, present: Tensor) -> Tensor:
        """(B, 2, D, h, w), bool (B, 2) -> (B, F)."""
        there = present[:, :, None, None, None].to(maps.dtype)
        if self.absent is not None:
            filled = maps * there + self.absent[None, None, :, None, None] * (1 - there)
            return self._mixed(filled.flatten(1, 2))
        if self.kind == "product":
            return self._mixed((maps * there + (1 - there)).prod(1))
        if self.look is not None:
            maps = self.look(maps, present)
        return self._mixed((maps * there).sum(1) / there.sum(1).clamp(min=1))

    def _mixed(self, x: Tensor) -> Tensor:
        z: Tensor = self.mix(x).mean((2, 3))
        return z


class CrossLook(nn.Module):
    """Each position of an eye takes up what it looks at in the other eye; our proposal.

    Starts as the identity. Where the other eye is missing nothing is taken up.
    """

    def __init__(self, channels: int, reduction: int = 8, heads: int = 4) -> None:
        super().__init__()
        self.heads, middle = heads, heads * max(1, channels // (reduction * heads))
        self.query, self.key = nn.Conv2d(channels, middle, 1), nn.Conv2d(channels, middle, 1)
        self.value, self.out = nn.Conv2d(channels, middle, 1), nn.Conv2d(middle, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, maps: Tensor, present: Tensor) -> Tensor:
        """(B, 2, D, h, w), bool (B, 2) -> (B, 2, D, h, w)."""
        taken = [self._taken(maps[:, eye], maps[:, 1 - eye]) for eye in range(_EYES)]
        both = present.all(1)[:, None, None, None, None].to(maps.dtype)
        return maps + both * torch.stack(taken, 1)

    def _taken(self, eye: Tensor, other: Tensor) -> Tensor:
        q, k, v = (self._split(of(x)) for of, x in ((self.query, eye), (self.key, other), (self.value, other)))
        seen = scaled_dot_product_attention(q, k, v)  # (B, heads, hw, middle / heads)
        height, width = eye.shape[2:]
        taken: Tensor = self.out(seen.transpose(2, 3).reshape(len(eye), -1, height, width))
        return taken

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), self.heads, -1, x.shape[2] * x.shape[3]).transpose(2, 3)


class BinocularModel(Freezable):
    """Reads both eyes of a person, or the one there is.

    Args:
        labels: L.
        backbone: "resnet50v2" for GluonCV's stages 1 to 3, or a name of timm's, cut at its last
            stage but one.
        attention: whether the blocks in place of the last stage have their gates.
        blocks: of these.
        fusion: how the eyes are put together.
        width: D, of the blocks' output.
        feature: F, of the fused feature.
        dropout: before the last layer.
        shared: whether both eyes go through one backbone and one attention, or each its own.
        whole: keep the backbone's last stage, and put the blocks behind it, not in its place.

    Raises:
        ValueError: an unknown fusion, no block, or a last stage that the backbone does not have.
    """

    def __init__(
        self,
        labels: int = 8,
        backbone: str = GLUON,
        *,
        attention: bool = True,
        blocks: int = 3,
        fusion: Fusion = "concat",
        width: int = 2048,
        feature: int = 2048,
        dropout: float = 0.2,
        shared: bool = True,
        whole: bool = False,
    ) -> None:
        super().__init__()
        if blocks < 1:
            raise ValueError(f"blocks is {blocks}; expected 1 or more")
        self.shared = shared
        eyes = 1 if shared else _EYES
        trunks = [trunk(backbone, whole=whole) for _ in range(eyes)]
        self.backbones, channels = nn.ModuleList(trunks), trunks[0].channels
        self.attentions = nn.ModuleList(
            _stage(channels, width, blocks, attention, stride=1 if whole else 2) for _ in range(eyes)
        )
        self.fuse = Fuse(fusion, width, feature)
        self.dropout = nn.Dropout(dropout)
        self.person, self.eye = nn.Linear(feature, labels), nn.Linear(width, labels)

    def freeze(self, stages: int) -> None:
        """Keep the first stages of each backbone as they are, for good, statistics too.

        Raises:
            ValueError: the backbone has no such number of stages.
        """
        ends: Any = self.backbones[0].ends
        self.freeze_up_to(self.backbones, ends, stages)

    def forward(self, images: Tensor, present: Tensor | None = None) -> Read:
        """(B, 2, 3, H, W) normalised, left first; bool (B, 2), all there without."""
        return self.read(self.encode(images), present)

    def encode(self, images: Tensor) -> Tensor:
        """(B, 2, 3, H, W) -> (B, 2, C, h, w), what stage 3 says."""
        if self.shared:
            maps: Tensor = self.backbones[0](images.flatten(0, 1)).unflatten(0, (-1, _EYES))
            return maps
        each = zip(self.backbones, images.unbind(1), strict=True)
        return torch.stack([backbone(image) for backbone, image in each], 1)

    def read(self, maps: Tensor, present: Tensor | None = None) -> Read:
        """Read what `encode` gave, at the cost of the last part only."""
        if present is None:
            present = torch.ones(maps.shape[:2], dtype=torch.bool, device=maps.device)
        if self.shared:
            attended = self.attentions[0](maps.flatten(0, 1)).unflatten(0, (-1, _EYES))
        else:
            each = zip(self.attentions, maps.unbind(1), strict=True)
            attended = torch.stack([block(of) for block, of in each], 1)
        feature = self.fuse(attended, present)
        eyes = self.eye(self.dropout(attended.mean((3, 4))))
        return Read(self.person(self.dropout(feature)), eyes, feature, attended)


class _Timm(nn.Module):
    """A backbone of timm's, with its last stage or without."""

    def __init__(self, name: str, *, whole: bool) -> None:
        super().__init__()
        every: Any = timm.create_model(name, features_only=True)
        last = len(every.feature_info) - (1 if whole else 2)
        made: Any = timm.create_model(name, features_only=True, out_indices=(last,))
        self.body: nn.Module = made
        _drop_unused(self.body)
        self.channels = int(made.feature_info.channels()[-1])
        known = {name for name, _ in self.body.named_modules()}
        named = [str(info["module"]) for info in made.feature_info.info[: last + 1]]
        # timm names a stage "stages.0" which it has flattened to "stages_0"
        named = [name if name in known else name.replace(".", "_") for name in named]
        self.ends = [f"body.{name}" for name in named]

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.body(x)[0]
        return maps


def _drop_unused(body: nn.Module) -> None:
    """Take out what the map does not depend on: some of timm's networks keep their last stages."""
    sum(each.sum() for each in body.eval()(torch.zeros(1, 3, STUB, STUB))).backward()
    for name, module in list(body.named_modules()):
        own = list(module.parameters())
        if name and own and all(weight.grad is None for weight in own):
            body.set_submodule(name, nn.Identity())
    body.zero_grad(set_to_none=True)
    body.train()


def trunk(backbone: str, *, whole: bool = False) -> "ResNet50V2 | _Timm":
    """Build a backbone up to its last stage but one, or to its last.

    `channels` says what it gives, `ends` names the last module of each of its stages.
    """
    if backbone != GLUON:
        return _Timm(backbone, whole=whole)
    if whole:
        raise ValueError(f"{GLUON} has no last stage; expected a name of timm's, or whole = false")
    return ResNet50V2()


def _stage(channels: int, width: int, blocks: int, gates: bool, *, stride: int) -> nn.Sequential:
    first = ResidualAttention(channels, width, stride=stride, gates=gates)
    return nn.Sequential(first, *(ResidualAttention(width, width, gates=gates) for _ in range(blocks - 1)))


def _normed(channels: int, out: int, kernel: int, stride: int = 1) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    conv = nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, bias=False)
    return conv, nn.BatchNorm2d(out)


class Answered(NamedTuple):
    """Probabilities of B people and L labels.

    Attributes:
        person: (B, L).
        eyes: (B, 2, L), left first; of a missing eye they mean nothing.
        evidence: (B, 2, L, h, w): what each position adds to an eye's logit; their mean and the
            label's constant are the logit, divided by the temperature.
    """

    person: Tensor
    eyes: Tensor
    evidence: Tensor


class Answer(nn.Module):
    """Logits -> probabilities.

    Args:
        labels: L names.
        normal: that of them which says that there is nothing else.
        softmax: one softmax over the labels, not a sigmoid each.
        monocular: the person's probabilities are made of the eyes': of a finding the greater, of
            normal the lesser, as a person is as normal as the worse eye. Else they are the fused
            feature's.
    """

    def __init__(
        self, labels: Sequence[str], *, normal: str = "N", softmax: bool = False, monocular: bool = False
    ) -> None:
        super().__init__()
        self.softmax, self.monocular = softmax, monocular
        self.register_buffer("normal", torch.tensor([label == normal for label in labels]))
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("eye_temperature", torch.ones(()))

    def set_temperatures(self, person: float, eye: float) -> None:
        """Divide logits by these from now on."""
        self.get_buffer("temperature").fill_(person)
        self.get_buffer("eye_temperature").fill_(eye)

    def forward(self, person: Tensor, eyes: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Turn logits (B, L) and (B, 2, L), and bool (B, 2), into probabilities of the same shapes."""
        each = self._spread(eyes.float() / self.get_buffer("eye_temperature"))
        if not self.monocular:
            return self._spread(person.float() / self.get_buffer("temperature")), each
        there = present[:, :, None].to(each.dtype)
        least, most = (each * there + 1 - there).amin(1), (each * there).amax(1)
        return torch.where(self.get_buffer("normal"), least, most), each

    def answer(self, said: Read, weight: Tensor, present: Tensor) -> Answered:
        """Turn what a model said into probabilities, and say where in each eye they come from.

        Args:
            said: of B people.
            weight: (L, D), of the model's last layer for an eye.
            present: (B, 2) bool.
        """
        person, eyes = self(said.person, said.eyes, present)
        seen = torch.einsum("bedhw,ld->belhw", said.maps.float(), weight.float())
        return Answered(person, eyes, seen / self.get_buffer("eye_temperature"))

    def _spread(self, logits: Tensor) -> Tensor:
        return logits.softmax(-1) if self.softmax else logits.sigmoid()


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
        """Return all that the kept maps depend on, in a fixed order: weights and statistics."""
        return state_of(self.module.frozen)

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) normalised images -> (B, 1, c, h, w) maps where the frozen part ends."""
        return self._cut.first(x)[:, None]

    def encode(self, maps: Tensor) -> Tensor:
        """(B, 2, c, h, w), left first -> (B, 2, C, h', w'), as `BinocularModel.encode`."""
        encoded = self._cut.rest(maps.flatten(0, 1))
        return encoded.reshape(-1, maps.shape[1], *encoded.shape[1:])

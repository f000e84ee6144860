"""Attention over feature maps: the mirror block, and its neighbours for comparison.

All are plain layers, `MirrorAttention(C)(x)`: one map goes in, one of its shape comes out. Given
the maps of an image and of its left-right and up-down mirrors, they return one or two maps of the
shape of the first. Those that look at the image alone ignore the mirrors, and say so in `mirrors`,
so that nobody computes what is not used.

Shapes: B images, C channels, h x w positions, N = h * w, M = C // reduction.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

Aggregate = Literal["column", "row"]


class Attention(nn.Module):
    """What every attention here is.

    Attributes:
        mirrors: whether the maps of the mirrored image are looked at.
        outputs: number of maps returned, 1 or 2.
    """

    mirrors = False
    outputs = 1

    def forward(
        self, original: Tensor, left_right: Tensor | None = None, up_down: Tensor | None = None
    ) -> Tensor | tuple[Tensor, ...]:
        """Attend to a map, alone as a plain layer, or with the maps of its mirrors.

        Args:
            original: (B, C, h, w) of the image.
            left_right: (B, C, h, w) of its left-right mirror; None attends to the original alone.
            up_down: likewise.

        Returns:
            One map (B, C, h, w) of the original alone; else as many as `outputs` says.

        Raises:
            ValueError: one mirror is given without the other.
        """
        if left_right is None and up_down is None:
            return self.attend(original)
        if left_right is None or up_down is None:
            raise ValueError("give the maps of both mirrors, or the original alone")
        return self.both(original, left_right, up_down)

    def attend(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        return x

    def both(
        self,
        original: Tensor,
        left_right: Tensor,  # noqa: ARG002
        up_down: Tensor,  # noqa: ARG002
    ) -> tuple[Tensor, ...]:
        """(B, C, h, w) three times -> as many maps (B, C, h, w) as `outputs` says."""
        return (self.attend(original),)


class MirrorAttention(Attention):
    """Residual attention between an image and its two mirror views.

    An eye is nearly symmetric and a lesion seldom is. Position j of the image is changed as
    far as positions i of the mirrored image look like it; for the left-right view h:

        P_a = relu(bn(W_a X_a)),  P_h = relu(bn(W_m X_h)),  G_h = W_gh X_a
        A_h[i, j] = softmax over j of P_h[:, i] . P_a[:, j] / sqrt(M)
        Z_h[:, j] = sum over i of G_h[:, i] A_h[i, j]            aggregate "column"
        Z_h[:, i] = sum over j of G_h[:, j] A_h[i, j]            aggregate "row"
        Y_h = X_a + W_oh Z_h

    and the same for the up-down view v. Rows of A sum to 1 while "column" sums over rows, so
    its outputs are no averages: what many mirror positions look at is amplified. That is what
    the author's code does, and the default; "row" is the textbook's form.

    Source: Fang et al., Biomed. Signal Process. Control 80 (2023) 104277, in the form of
    fjssharpsword/FundusDR at f0692a1. Departures: the mirrors are always mirrors (the author's
    loader flips each with probability 0.5, at test time too), and no branch is given the
    unmirrored map by mistake, as from bfca1ca on.

    W_o starts at zero, so a new block is exactly the identity. Called with a map alone it is a
    plain layer, which is ours: mirrors are flips of the map, and the mean of Y_h and Y_v is given.

    Memory: 2 B N^2 affinities and as many in the gradient. 512 px at stride 32 have N = 256,
    0.5 MB an image in float32; a map of 64 x 64 positions has 134 MB an image.

    Args:
        channels: C.
        reduction: C / M. The author has 2.
        aggregate: see above.
        shared_keys: one W_m and bn for both mirrors, as the author's code; else one each.

    >>> block, x = MirrorAttention(channels=8), torch.rand(2, 8, 4, 4)
    >>> block(x).shape  # one pass: mirrors are flips of the map
    torch.Size([2, 8, 4, 4])
    >>> torch.equal(block(x), x)  # a new block is the identity
    True
    >>> y_h, y_v = block(x, x.flip(-1), x.flip(-2))  # or three maps, encoded each
    >>> y_h.shape
    torch.Size([2, 8, 4, 4])
    """

    mirrors = True
    outputs = 2

    def __init__(
        self, channels: int, reduction: int = 2, aggregate: Aggregate = "column", shared_keys: bool = True
    ) -> None:
        super().__init__()
        if aggregate not in ("column", "row"):
            raise ValueError(f"aggregate is {aggregate!r}; expected 'column' or 'row'")
        middle = _reduced(channels, reduction)
        self.aggregate, self.scale = aggregate, middle**-0.5
        self.query = _projection(channels, middle)
        self.key = _projection(channels, middle)
        self.key_up_down = None if shared_keys else _projection(channels, middle)
        self.value_left_right = _conv(channels, middle)
        self.value_up_down = _conv(channels, middle)
        self.out_left_right = _zero(_conv(middle, channels))
        self.out_up_down = _zero(_conv(middle, channels))

    def attend(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w), the mean of Y_h and Y_v, mirrors being flips of the map."""
        y_h, y_v = self.both(x, x.flip(-1), x.flip(-2))
        return (y_h + y_v) / 2

    def both(self, original: Tensor, left_right: Tensor, up_down: Tensor) -> tuple[Tensor, ...]:
        """(B, C, h, w) three times -> Y_h and Y_v, both (B, C, h, w)."""
        query = self.query(original)
        y_h = self._mixed(query, self.key(left_right), self.value_left_right(original))
        y_v = self._mixed(query, self._key_v(up_down), self.value_up_down(original))
        return original + self.out_left_right(y_h), original + self.out_up_down(y_v)

    def received(self, original: Tensor, left_right: Tensor, up_down: Tensor) -> tuple[Tensor, Tensor]:
        """Compute how much the two mirrors look at each position of the original: (B, h, w) twice.

        The sum of A over the mirrors' positions; 1 on average. This is where the block looks.
        """
        query = self.query(original)
        keys = self.key(left_right), self._key_v(up_down)
        shape = original.shape[0], *original.shape[2:]
        lr, ud = (_affinity(query, key, self.scale).sum(1).reshape(shape) for key in keys)
        return lr, ud

    def _key_v(self, up_down: Tensor) -> Tensor:
        module = self.key if self.key_up_down is None else self.key_up_down
        key: Tensor = module(up_down)
        return key

    def _mixed(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Z, (B, M, h, w)."""
        g = value.flatten(2)  # (B, M, N)
        if self.aggregate == "column":
            z = g @ _affinity(query, key, self.scale).to(g.dtype)
        else:
            z = _attended(key, query, value, self.scale)
        return z.reshape(value.shape)


class SelfAttention(Attention):
    """Residual attention of an image with itself: the non-local block.

        Y[:, i] = X[:, i] + W_o sum over j of G[:, j] softmax over j of P[:, i] . K[:, j] / sqrt(M)

    Source: Wang et al., CVPR 2018, embedded Gaussian, with the projections of MirrorAttention;
    the author's strongest baseline ("SANet").

    Args:
        channels: C.
        reduction: C / M.
    """

    def __init__(self, channels: int, reduction: int = 2) -> None:
        super().__init__()
        middle = _reduced(channels, reduction)
        self.scale = middle**-0.5
        self.query, self.key = _projection(channels, middle), _projection(channels, middle)
        self.value, self.out = _conv(channels, middle), _zero(_conv(middle, channels))

    def attend(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        value = self.value(x)
        z = _attended(self.query(x), self.key(x), value, self.scale).reshape(value.shape)
        residual: Tensor = self.out(z)
        return x + residual


class AxialAttention(Attention):
    """Self-attention along the row, then along the column: h + w affinities a position, not h w.

    Source: Ho et al., arXiv:1912.12180, one head, with the projections of SelfAttention.

    Args:
        channels: C.
        reduction: C / M.
    """

    def __init__(self, channels: int, reduction: int = 2) -> None:
        super().__init__()
        self.along_rows = SelfAttention(channels, reduction)
        self.along_columns = SelfAttention(channels, reduction)

    def attend(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        x = _over_lines(x, self.along_rows)
        return _over_lines(x.transpose(-2, -1), self.along_columns).transpose(-2, -1)


class SqueezeExcitation(Attention):
    """One gate a channel, from the channels' means.

    Source: Hu et al., CVPR 2018, reduction 16.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        middle = max(1, channels // reduction)
        self.gate = nn.Sequential(_conv(channels, middle), nn.ReLU(), _conv(middle, channels))

    def attend(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        gate: Tensor = self.gate(x.mean((2, 3), keepdim=True)).sigmoid()
        return x * gate


class CBAM(Attention):
    """A gate a channel from means and maxima, then a gate a position from the same.

    Source: Woo et al., ECCV 2018, reduction 16, kernel 7.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        middle = max(1, channels // reduction)
        self.channel = nn.Sequential(_conv(channels, middle), nn.ReLU(), _conv(middle, channels))
        self.spatial = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def attend(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        mean, most = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        x = x * (self.channel(mean) + self.channel(most)).sigmoid()
        gate: Tensor = self.spatial(_mean_and_most(x)).sigmoid()
        return x * gate


class SpatialGate(nn.Module):
    """The mirror network's gate on its input: I -> sigmoid(conv3x3([mean_c I; max_c I])) * I.

    Source: the network of Fang et al., Biomed. Signal Process. Control 80 (2023) 104277; no bias.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 3, H, W)."""
        gate: Tensor = self.conv(_mean_and_most(x)).sigmoid()
        return x * gate


ATTENTIONS: dict[str, Callable[[int], Attention]] = {
    "none": lambda _: Attention(),
    "mirror": MirrorAttention,
    "self": SelfAttention,
    "axial": AxialAttention,
    "se": SqueezeExcitation,
    "cbam": CBAM,
}


def _reduced(channels: int, reduction: int) -> int:
    if not 1 <= reduction <= channels:
        raise ValueError(f"reduction is {reduction}; expected 1 to {channels}, the channels")
    return channels // reduction


def _conv(channels: int, out: int) -> nn.Conv2d:
    conv = nn.Conv2d(channels, out, 1)
    nn.init.kaiming_normal_(conv.weight)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv


def _projection(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(_conv(channels, out), nn.BatchNorm2d(out), nn.ReLU(inplace=True))


def _zero(conv: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(conv.weight)
    return conv


def _affinity(query: Tensor, key: Tensor, scale: float) -> Tensor:
    """A, (B, N of the key, N of the query), rows summing to 1.

    In float32 at least: in float16 the product of two large maps overflows.
    """
    with torch.autocast(query.device.type, enabled=False):
        dtype = torch.promote_types(query.dtype, torch.float32)
        q, k = query.flatten(2).to(dtype), key.flatten(2).to(dtype)
        return (k.transpose(-2, -1) @ q * scale).softmax(-1)


def _attended(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """(B, M, N): each position of the query averages the values where the key is like it."""
    q, k, v = (t.flatten(2).transpose(-2, -1) for t in (query, key, value))
    return scaled_dot_product_attention(q, k, v, scale=scale).transpose(-2, -1)


def _over_lines(x: Tensor, block: SelfAttention) -> Tensor:
    """Each row of the map as an image of its own."""
    b, c, h, w = x.shape
    lines = x.permute(0, 2, 1, 3).reshape(b * h, c, 1, w)
    attended: Tensor = block.attend(lines)
    return attended.reshape(b, h, c, w).permute(0, 2, 1, 3)


def _mean_and_most(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, 2, H, W), mean and maximum over the channels."""
    return torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)

"""Pooling of a feature map into one vector.

Shapes: B images, C channels, H x W positions.
"""

import torch
from torch import Tensor, nn


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

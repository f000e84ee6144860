"""Where a model looks: what its attention does to each position, and the weights behind the maps.

Shapes: B images, C channels, h x w positions, V maps of the attention.
"""

from typing import Any

import torch
from torch import Tensor, nn

from foveola.models.attention import MirrorAttention
from foveola.models.descriptor import DescriptorModel
from foveola.models.pooling import GeM


def head_arrays(model: DescriptorModel) -> dict[str, Any]:
    """What follows the attended maps, as the arguments of `foveola.explain.Head`.

    p, eps and fusion, and weight and bias as float32 arrays, None without a projection.
    """
    linear = model.projection if isinstance(model.projection, nn.Linear) else None
    return {
        **_exponent(model.pool),
        "weight": None if linear is None else linear.weight.detach().float().cpu().numpy(),
        "bias": None if linear is None else linear.bias.detach().float().cpu().numpy(),
        "fusion": model.fusion,
    }


def _exponent(pool: nn.Module) -> dict[str, float | None]:
    """Of GeM; None stands for the plain average."""
    if isinstance(pool, GeM):
        return {"p": float(pool.p.detach()), "eps": pool.eps}
    return {"p": None}


@torch.no_grad()
def attention_maps(model: DescriptorModel, x: Tensor) -> dict[str, Tensor]:
    """What the attention does at each position of (B, 3, H, W) normalised images.

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

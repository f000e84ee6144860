"""Networks that turn a photograph into a descriptor, and their parts. Needs foveola[train]."""

from foveola.models.attention import (
    CBAM,
    Attention,
    AxialAttention,
    MirrorAttention,
    SelfAttention,
    SpatialGate,
    SqueezeExcitation,
)

__all__ = [
    "CBAM",
    "Attention",
    "AxialAttention",
    "MirrorAttention",
    "SelfAttention",
    "SpatialGate",
    "SqueezeExcitation",
]

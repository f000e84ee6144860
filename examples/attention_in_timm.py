"""Mirror attention in a plain timm model, without anything else of Foveola.

    python examples/attention_in_timm.py

The images are made up: smooth and the same on both sides, but half of them have a spot on one
side, as a lesion would be. The model learns to tell which, and is asked about new images.
"""

import argparse

import timm
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from foveola.models.attention import MirrorAttention


class MirrorNet(nn.Module):
    """A backbone of timm, the attention, a head for two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = timm.create_model("test_resnet", num_classes=0, global_pool="")
        self.attention = MirrorAttention(self.backbone.num_features)
        self.head = nn.Linear(2 * self.backbone.num_features, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 2) logits."""
        maps = self.backbone(x)  # (B, C, h, w); its mirrors cost no second pass
        horizontal, vertical = self.attention(maps, maps.flip(-1), maps.flip(-2))
        return self.head(torch.cat([horizontal, vertical], 1).mean((-2, -1)))


def images(number: int) -> tuple[Tensor, Tensor]:
    x = interpolate(torch.rand(number, 3, 4, 4), size=64, mode="bicubic")
    x, y = (x + x.flip(-1)) / 2, torch.arange(number) % 2
    for i in y.nonzero()[:, 0].tolist():
        row, column = torch.randint(4, 56, (2,)).tolist()
        x[i, :, row : row + 5, column : column + 5] -= 0.3
    return x, y


argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
torch.manual_seed(0)
model = MirrorNet()
optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
for step in range(60):
    x, y = images(16)
    loss = cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 20 == 19:
        print(f"step {step + 1}: loss {loss.item():.3f}")
with torch.no_grad():
    x, y = images(200)
    print(f"right: {(model.eval()(x).argmax(1) == y).double().mean():.3f}")

"""Training turns mirror attention towards what tells the classes apart.

On made-up feature maps whose answer is known. What a block does on phantoms, where it has a
backbone to lean on, is measured by benchmarks/mirror_on_lesions.py and told in the manual.
"""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from foveola.models.attention import MirrorAttention

CHANNELS, SIDE = 16, 6


def maps(number, generator):
    """Noise with something bright on both sides alike, and in half of them a lesion on one side.

    Returns:
        (B, C, 6, 6) maps, (B,) whether there is a lesion, (B, 6, 6) bool, where.
    """
    x = 0.3 * torch.randn(number, CHANNELS, SIDE, SIDE, generator=generator)
    rows = torch.arange(number)
    row, column = torch.randint(0, SIDE, (2, number), generator=generator)
    for side in (column, SIDE - 1 - column):
        x[rows, 0, row, side] += 3.0
    sick = rows % 2
    where = torch.zeros(number, SIDE, SIDE, dtype=torch.bool)
    row, column = torch.randint(0, SIDE, (2, number), generator=generator)
    where[rows, row, column] = sick.bool()
    # the mean over positions tells nothing: a healthy map has as much of it, spread out
    x[:, 1] += 3.0 * where + 3.0 * (1 - sick)[:, None, None] / SIDE**2
    return x, sick, where


def weight_on_lesions(block, x, where):
    """Attention a lesion's position receives, 1 being the average position."""
    with torch.no_grad():
        received = torch.stack(block.eval().received(x, x.flip(-1), x.flip(-2))).mean(0)
    return (received[where].mean() / received.mean()).item()


def test_a_trained_block_looks_at_lesions_more_than_an_untrained_one():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    block, head = MirrorAttention(CHANNELS, aggregate="row"), nn.Linear(2 * CHANNELS, 2)
    asked, _, where = maps(400, generator)
    before = weight_on_lesions(block, asked, where)
    optimizer = torch.optim.Adam([*block.parameters(), *head.parameters()], 3e-3)
    block.train()
    for _ in range(300):
        x, sick, _ = maps(64, generator)
        y = block(x, x.flip(-1), x.flip(-2))
        # the head sees only what the block changed, so that the block has to look
        changed = torch.cat([y[0] - x, y[1] - x], 1).mean((-2, -1))
        loss = cross_entropy(head(changed), sick)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
    assert before < 2
    assert weight_on_lesions(block, asked, where) > 5 * before  # 15 times when this was written

"""AdaTriplet with AutoMargin in a plain loop, with pytorch-metric-learning's sampler.

    python examples/losses_in_a_loop.py

The features are made up: 8 photographs of each of 60 people. Half of the numbers tell the person;
the other half, three times as large, only the day. A linear layer learns from 40 people which
is which; whether a photograph's nearest neighbour is of the same person is asked of the other 20.
"""

import argparse

import torch
from pytorch_metric_learning.samplers import MPerClassSampler
from torch.nn.functional import normalize
from torch.utils.data import DataLoader, TensorDataset

from foveola.losses import AdaTripletLoss, AutoMargin

argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
torch.manual_seed(0)
subjects = torch.arange(60).repeat_interleave(8)
features = torch.cat([torch.randn(60, 16)[subjects], 3 * torch.randn(480, 16)], dim=1)
sampler = MPerClassSampler(subjects[:320], m=4, length_before_new_iter=640)
loader = DataLoader(TensorDataset(features[:320], subjects[:320]), 64, sampler=sampler)
model = torch.nn.Linear(32, 16)
criterion = AdaTripletLoss(auto := AutoMargin())
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)


def precision_at_1() -> float:
    with torch.no_grad():
        e = normalize(model(features[320:]))
    nearest = (e @ e.mT).fill_diagonal_(-1).argmax(1)
    return (subjects[320:][nearest] == subjects[320:]).double().mean().item()


print(f"precision at 1 before: {precision_at_1():.3f}")
for epoch in range(1, 9):
    mean = 0.0
    for x, labels in loader:
        loss = criterion(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        mean += loss.item() / len(loader)
    print(f"epoch {epoch}: loss {mean:.3f}, margin {auto.margin:.3f}, beta {auto.beta:.3f}")
    auto.step()  # margin and beta of the next epoch, from what this one saw
print(f"precision at 1 after: {precision_at_1():.3f}")

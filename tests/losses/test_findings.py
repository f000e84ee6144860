"""Losses of several findings: by hand, by torchvision, and what is not known."""

import math

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from foveola.losses.findings import (
    FINDINGS_LOSSES,
    asymmetric,
    binary_cross_entropy,
    class_balanced,
    focal,
    softmax_cross_entropy,
)

LOGITS = torch.tensor([[0.5, -1.0, 2.0], [-0.3, 0.0, 1.0]], dtype=torch.float64)
TRUTH = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]], dtype=torch.float64)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def by_loop(positive, negative, shift):
    total = 0.0
    for logits, truth in zip(LOGITS.tolist(), TRUTH.tolist(), strict=True):
        for z, y in zip(logits, truth, strict=True):
            p = sigmoid(z)
            if y:
                total -= (1 - p) ** positive * math.log(p)
            else:
                below = max(p - shift, 0)
                total -= below**negative * math.log(1 - below)
    return total / 6


def test_cross_entropy_is_torchs():
    theirs = binary_cross_entropy_with_logits(LOGITS, TRUTH)
    assert binary_cross_entropy(LOGITS, TRUTH) == pytest.approx(theirs.item())


def test_focal_and_asymmetric_by_loop():
    assert focal(LOGITS, TRUTH).item() == pytest.approx(by_loop(2, 2, 0))
    assert asymmetric(LOGITS, TRUTH).item() == pytest.approx(by_loop(0, 4, 0.05))
    none = asymmetric(LOGITS, TRUTH, positive=0, negative=0, shift=0)
    assert none == pytest.approx(binary_cross_entropy(LOGITS, TRUTH).item())


def test_focal_is_torchvisions():
    ops = pytest.importorskip("torchvision.ops")
    theirs = ops.sigmoid_focal_loss(LOGITS, TRUTH, alpha=-1, gamma=2, reduction="mean")
    assert focal(LOGITS, TRUTH).item() == pytest.approx(theirs.item())


def test_softmax_spreads_the_truth_over_a_persons_labels():
    rows = []
    for logits, truth in zip(LOGITS.tolist(), TRUTH.tolist(), strict=True):
        total = sum(map(math.exp, logits))
        said = [math.log(math.exp(z) / total) for z in logits]
        rows.append(-sum(y / sum(truth) * p for y, p in zip(truth, said, strict=True)))
    assert softmax_cross_entropy(LOGITS, TRUTH).item() == pytest.approx(sum(rows) / 2)
    nobody = torch.cat([TRUTH, torch.zeros(1, 3)])
    more = torch.cat([LOGITS, torch.zeros(1, 3)])
    assert softmax_cross_entropy(more, nobody).item() == pytest.approx(sum(rows) / 2)


@pytest.mark.parametrize("name", sorted(FINDINGS_LOSSES))
def test_what_is_not_known_teaches_nothing(name):
    loss = FINDINGS_LOSSES[name]
    logits = LOGITS.clone().requires_grad_()
    truth = TRUTH.clone()
    truth[1] = math.nan
    loss(logits, truth).backward()
    assert (logits.grad[1] == 0).all()
    assert (logits.grad[0] != 0).any()
    assert loss(LOGITS, truth).item() == pytest.approx(loss(LOGITS[:1], TRUTH[:1]).item())
    assert loss(LOGITS, torch.full_like(TRUTH, math.nan)).item() == 0


@pytest.mark.parametrize("name", sorted(FINDINGS_LOSSES))
def test_gradients_are_those_of_differences_and_finite_far_out(name):
    loss = FINDINGS_LOSSES[name]
    assert torch.autograd.gradcheck(lambda z: loss(z, TRUTH), LOGITS.clone().requires_grad_())
    far = torch.tensor([[80.0, -80.0, 80.0]], requires_grad=True)
    loss(far, torch.tensor([[0.0, 1.0, 1.0]])).backward()
    assert far.grad.isfinite().all()


@pytest.mark.parametrize("name", ["bce", "focal", "asymmetric"])
def test_a_weight_multiplies_what_a_label_has_positive(name):
    loss, weights = FINDINGS_LOSSES[name], torch.tensor([3.0, 1.0, 1.0], dtype=torch.float64)
    only = torch.where(TRUTH.bool() & (torch.arange(3) == 0), 1.0, math.nan).double()
    assert loss(LOGITS, only, weights).item() == pytest.approx(3 * loss(LOGITS, only).item())


def test_class_balanced_weights_by_hand():
    # effective numbers with beta .5: (1 - .5^1) / .5 = 1 and (1 - .5^3) / .5 = 1.75
    weights = class_balanced(torch.tensor([1, 3]), beta=0.5)
    ratio = weights[0] / weights[1]
    assert ratio.item() == pytest.approx(1.75)
    assert weights.mean().item() == pytest.approx(1.0)

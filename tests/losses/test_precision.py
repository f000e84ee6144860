"""Half precision changes no loss: under autocast, and of half descriptors, against float64."""

from functools import partial
from typing import get_args

import pytest
import torch

from foveola import losses
from foveola.losses.findings import FINDINGS_LOSSES
from foveola.losses.pairs import jaccard, pairs_of
from foveola.training.config import LossConfig, LossName
from foveola.training.losses import Criterion

PAIR_LOSSES = {name: getattr(losses, name) for name in losses.__all__ if name.endswith("_loss")} | {
    "ada_triplet_loss all": partial(losses.ada_triplet_loss, mining="all")
}
CRITERIA = [name for name in get_args(LossName) if name != "none"]
GROUP, COLUMNS = 4, 64  # images of a label; numbers of a descriptor

# How half precision comes in: autocast around single ones, or half descriptors, whose gradient
# is rounded once more; and what share of the gradient may differ
ENTRANCES = {
    "autocast float16": (torch.float32, torch.float16, 1e-3),
    "autocast bfloat16": (torch.float32, torch.bfloat16, 1e-3),
    "half float16": (torch.float16, None, 1e-3),
    "half bfloat16": (torch.bfloat16, None, 4e-3),
}


def batch(images, *, converged):
    """Groups of four; converged ones have cosines above .999, and other groups at .8 to .9."""
    generator = torch.Generator().manual_seed(images)
    labels = torch.arange(images) // GROUP
    noise = torch.randn(images, COLUMNS, generator=generator)
    if not converged:
        return noise, labels
    centres = torch.randn(int(labels[-1]) + 1, COLUMNS, generator=generator)
    return (2.5 + centres)[labels] + 0.05 * noise, labels


def made(name, labels):
    """A criterion of one loss, the same at every call."""
    torch.manual_seed(0)
    proxy_weight = float(name == "proxy")
    config = LossConfig(name="none" if name == "proxy" else name, proxy_weight=proxy_weight)
    criterion = Criterion(config, labels=int(labels.max()) + 1, dimension=COLUMNS)
    return lambda e: criterion.to(e.dtype)(e, labels, None, None)[name]


def value_and_gradient(loss, given, cast):
    """The gradient of 1024 times the loss, as a scaler takes it; else float16 rounds it to 0."""
    e = given.clone().requires_grad_()
    with torch.autocast("cpu", cast or torch.bfloat16, enabled=cast is not None):
        value = loss(e)
    (1024 * value).backward()
    return value.detach().double(), e.grad.double()


def agrees(loss, given, entrance):
    dtype, cast, share = ENTRANCES[entrance]
    value, gradient = value_and_gradient(loss, given.to(dtype), cast)
    exact, exact_gradient = value_and_gradient(loss, given.to(dtype).double(), None)
    assert exact > 0  # else nothing would be shown
    assert exact_gradient.norm() > 0
    torch.testing.assert_close(value, exact, rtol=1e-4, atol=1e-6)
    assert (gradient - exact_gradient).norm() <= share * exact_gradient.norm()


@pytest.mark.parametrize("converged", [False, True], ids=["spread", "converged"])
@pytest.mark.parametrize("images", [8, 80, 200])
@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_pair_losses_are_those_of_float64(name, entrance, images, converged):
    given, labels = batch(images, converged=converged)
    wide = {} if name == "sct_loss" else {"margin": 0.3}
    wide = {"least": 0.3} if name == "wat_loss" else wide
    agrees(lambda e: PAIR_LOSSES[name](e, labels, **wide), given, entrance)


@pytest.mark.parametrize("images", [8, 80, 200])
@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("name", [*CRITERIA, "proxy"])
def test_losses_of_a_run_are_those_of_float64(name, entrance, images):
    given, labels = batch(images, converged=False)
    agrees(made(name, labels), given, entrance)


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("name", FINDINGS_LOSSES)
def test_losses_of_findings_are_those_of_float64(name, entrance):
    logits, _ = batch(200, converged=False)
    truth = (torch.randn(200, COLUMNS, generator=torch.Generator().manual_seed(1)) > 1).double()
    agrees(lambda z: FINDINGS_LOSSES[name](z, truth.to(z.dtype)), logits, entrance)


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_findings_are_counted_exactly(entrance):
    # 300 findings of which 299 are shared: bfloat16 counts to 256
    dtype, cast, _ = ENTRANCES[entrance]
    sets = torch.ones(2, 301, dtype=torch.bool)
    sets[0, 0] = sets[1, 1] = False
    with torch.autocast("cpu", cast or torch.bfloat16, enabled=cast is not None):
        assert jaccard(sets, sets)[0, 1].item() == pytest.approx(299 / 301, abs=1e-7)
        assert jaccard(sets.to(dtype), sets.to(dtype))[0, 1].item() == pytest.approx(299 / 301)


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("mode", ["mean", "Q1"])
def test_auto_margin_and_what_is_watched_are_those_of_float64(mode, entrance):
    dtype, cast, _ = ENTRANCES[entrance]
    given, labels = batch(80, converged=True)
    criterion = Criterion(LossConfig(name="ada_triplet", auto_margin=True, proxy_weight=0), labels=20, dimension=8)
    found = []
    for e in (given.to(dtype), given.to(dtype).double()):
        cast_now = e.dtype != torch.float64 and cast is not None
        with torch.autocast("cpu", cast or torch.bfloat16, enabled=cast_now):
            auto = losses.AutoMargin(mode=mode)
            auto.update(e, labels)
            auto.step()
            watched = criterion.state(e, labels)
            assert pairs_of(e, labels).similarity.dtype in (torch.float32, torch.float64)
        found.append([auto.margin, auto.beta, *map(float, watched.values())])
    assert found[0] == pytest.approx(found[1], rel=1e-4, abs=2e-3 if mode == "Q1" else 1e-6)

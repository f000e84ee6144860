"""What a loss takes: labels of a wrong form are refused, what is not finite is told, half precision is exact."""

from functools import partial
from typing import get_args

import numpy as np
import pytest
import torch

from foveola import losses
from foveola.losses import AdaTripletLoss, AutoMargin
from foveola.losses.findings import FINDINGS_LOSSES
from foveola.losses.pairs import jaccard, pairs_of
from foveola.training.config import LossConfig, LossName
from foveola.training.losses import Criterion

LABELS = torch.arange(4).repeat_interleave(3)
DESCRIPTORS = torch.randn(12, 8, generator=torch.Generator().manual_seed(3))
# the first of each label, the next, and one of the next label
TRIPLETS = tuple(torch.tensor(each) for each in ([0, 3, 6], [1, 4, 7], [3, 6, 9]))
FUNCTIONS = {name: getattr(losses, name) for name in losses.__all__ if name.endswith("_loss")}
MODULES = {name: getattr(losses, name)() for name in losses.__all__ if name.endswith("Loss")} | {
    "AdaTripletLoss auto": AdaTripletLoss(AutoMargin())
}


def criterion(name):
    config = LossConfig(
        name="none" if name in ("proxy", "label") else name,
        proxy_weight=float(name == "proxy"),
        label_weight=float(name == "label"),
    )
    made = Criterion(config, labels=4, dimension=8, width=8)
    return lambda e, labels: made(e, labels, None, None, e)[name]


NAMES = [name for name in get_args(LossName) if name != "none"]
CRITERIA = {f"criterion {name}": criterion(name) for name in [*NAMES, "proxy", "label"]}
EVERY = FUNCTIONS | MODULES | CRITERIA
WATCHED = {"AutoMargin": AutoMargin().update, "state": Criterion(LossConfig(), labels=4, dimension=8).state}


@pytest.mark.parametrize("kind", [torch.int64, torch.bool, torch.float32])
@pytest.mark.parametrize("name", [*EVERY, *WATCHED])
def test_labels_of_one_column_are_refused(name, kind):
    with pytest.raises(ValueError, match=r"labels are \(12, 1\), .*expected \(12,\), which labels"):
        (EVERY | WATCHED)[name](DESCRIPTORS, LABELS[:, None].to(kind))


@pytest.mark.parametrize("name", FUNCTIONS | MODULES)
def test_other_labels_that_compare_nothing_are_refused(name):
    loss, column = EVERY[name], LABELS[:, None]
    for arguments, sentence in (
        ((column, TRIPLETS), r"labels are \(12, 1\)"),
        ((LABELS, None, DESCRIPTORS, column), r"labels are \(12, 1\)"),
        ((LABELS, None, DESCRIPTORS, torch.ones(12, 2).bool()), r"expected ref_labels \(12,\)"),
        ((torch.stack([LABELS, LABELS], 1),), "sets of findings; expected 0 and 1"),
        ((LABELS.float() + torch.nan,), "labels are not all finite"),
    ):
        with pytest.raises(ValueError, match=sentence):
            loss(DESCRIPTORS, *arguments)


@pytest.mark.parametrize("name", [*FUNCTIONS, *MODULES, "AutoMargin"])
def test_what_is_no_tensor_is_refused_by_name(name):
    loss = (EVERY | WATCHED)[name]
    for made in (list, np.array):
        with pytest.raises(TypeError, match=r"expected labels as a torch\.Tensor, got"):
            loss(DESCRIPTORS, made(LABELS.tolist()))
        with pytest.raises(TypeError, match=r"expected embeddings as a torch\.Tensor, got"):
            loss(made(DESCRIPTORS.tolist()), LABELS)
        with pytest.raises(TypeError, match=r"expected ref_emb as a torch\.Tensor, got"):
            loss(DESCRIPTORS, None, TRIPLETS, made(DESCRIPTORS.tolist()))


@pytest.mark.parametrize("name", FINDINGS_LOSSES)
def test_truth_that_is_no_tensor_is_refused(name):
    with pytest.raises(TypeError, match=r"expected truth as a torch\.Tensor, got list"):
        FINDINGS_LOSSES[name](DESCRIPTORS, DESCRIPTORS.tolist())


@pytest.mark.parametrize("length", [1e-30, 1e-12, 1e12, 1e30])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_any_length_will_do(name, length):
    """A power of ten away from 1 the loss is the same, and its gradient so much greater or less."""
    near, far = DESCRIPTORS.clone(), (DESCRIPTORS.double() * length).float()
    found = []
    for e in (near, far):
        e.requires_grad_()
        torch.manual_seed(0)  # fine triplets are drawn
        loss = FUNCTIONS[name](e, LABELS)
        loss.backward()
        found.append((loss.item(), e.grad.double() * (length if e is far else 1)))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-4)
    assert found[0][0] > 0
    torch.testing.assert_close(found[1][1], found[0][1], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_descriptors_without_a_direction_are_told_where_none_has_one(name):
    zeros = torch.zeros(12, 8, requires_grad=True)
    for given in ((zeros, LABELS), (DESCRIPTORS, LABELS, None, zeros, LABELS)):
        loss = FUNCTIONS[name](*given)
        assert loss.isnan()
        loss.backward()
    some = DESCRIPTORS.clone()
    some[3] = 0
    some.requires_grad_()
    loss = FUNCTIONS[name](some, LABELS)
    loss.backward()
    assert loss.isfinite()
    assert some.grad.isfinite().all()


@pytest.mark.parametrize("name", FINDINGS_LOSSES)
def test_truth_of_another_shape_is_refused(name):
    for truth in (torch.zeros(12), torch.zeros(12, 1), torch.zeros(1, 8)):
        with pytest.raises(ValueError, match=r"of one shape \(B, L\), got \(12, 8\) and"):
            FINDINGS_LOSSES[name](DESCRIPTORS, truth)


def spoilt(value, dtype=torch.float32):
    e = DESCRIPTORS.to(dtype, copy=True)
    e[5, 2] = value
    return e.requires_grad_()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("name", EVERY)
def test_what_is_not_finite_is_no_loss_of_zero(name, value):
    e = spoilt(value)
    loss = EVERY[name](e, LABELS)
    assert loss.isnan()
    loss.backward()
    assert e.grad.isnan().any()  # what a GradScaler sees, and skips the step


@pytest.mark.parametrize("name", FUNCTIONS)
def test_nor_among_a_miners_triplets_references_and_images_without_a_pair(name):
    loss, alone = FUNCTIONS[name], LABELS.clone()
    alone[5] = 9
    for given in (
        loss(spoilt(torch.nan), None, TRIPLETS),
        loss(DESCRIPTORS, LABELS, None, spoilt(torch.nan), LABELS),
        loss(spoilt(torch.nan), alone),
        loss(spoilt(torch.nan), LABELS * 0),
        loss(spoilt(torch.inf, torch.float16), LABELS),
    ):
        assert given.isnan()


@pytest.mark.parametrize("name", FINDINGS_LOSSES)
def test_logits_that_are_not_finite_are_no_loss_of_zero(name):
    for truth in (torch.zeros(12, 8), torch.full((12, 8), torch.nan)):
        assert FINDINGS_LOSSES[name](spoilt(torch.nan), truth).isnan()


def margins(auto):
    auto.step()
    return auto.margin, auto.beta


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("mode", ["mean", "Q1", "Q2"])
def test_auto_margin_passes_over_what_is_not_finite(mode, value):
    some, whole = AutoMargin(mode=mode), AutoMargin(mode=mode)
    kept = torch.arange(12) != 5
    some.update(spoilt(value), LABELS)
    whole.update(DESCRIPTORS[kept], LABELS[kept])
    assert margins(some) == pytest.approx(margins(whole), rel=1e-6)
    nothing = AutoMargin(mode=mode)
    nothing.update(DESCRIPTORS * value, LABELS)
    assert margins(nothing) == (0.25, 0.0)


@pytest.mark.parametrize("change", ["half", "bfloat16", "float"])
@pytest.mark.parametrize("mode", ["mean", "Q1"])
def test_auto_margin_keeps_every_digit_in_a_module_of_half_precision(mode, change):
    criterion = AdaTripletLoss(AutoMargin(margin=0.123456789, beta=1e-9, mode=mode))
    criterion.auto.update(DESCRIPTORS, LABELS)
    criterion.auto.get_buffer("_sums").mul_(1e5)  # an epoch: above what float16 holds
    expected = criterion.auto.get_buffer("_sums").clone()
    getattr(criterion, change)()
    assert (criterion.auto.margin, criterion.auto.beta) == (0.123456789, 1e-9)
    assert torch.equal(criterion.auto.get_buffer("_sums"), expected)
    assert {b.dtype for b in criterion.auto.buffers()} == {torch.float64}


@pytest.mark.parametrize("mode", ["mean", "Q2"])
def test_auto_margin_is_fed_where_a_miner_gives_the_pairs(mode):
    # every pair of the batch, as a miner gives them: the same as by the labels
    same = LABELS[:, None] == LABELS[None, :]
    pairs = (*(same & ~torch.eye(12).bool()).nonzero().T, *(~same).nonzero().T)
    by_pairs, by_labels = (AdaTripletLoss(AutoMargin(mode=mode)) for _ in range(2))
    by_pairs(DESCRIPTORS, None, pairs)
    by_labels(DESCRIPTORS, LABELS)
    assert margins(by_pairs.auto) == pytest.approx(margins(by_labels.auto))
    assert by_labels.auto.beta != 0  # it was set


def test_of_a_miners_few_triplets_auto_margin_sees_these_alone():
    # cosines of 0 and 90, 60 degrees: .5 + ... by hand: s_ap = cos 60, s_an = 0
    e = torch.tensor([[1.0, 0.0], [0.5, 0.75**0.5], [0.0, 1.0]])
    a, p, n = (torch.tensor([i]) for i in (0, 1, 2))
    auto = AutoMargin()
    auto.update(e, None, (a, p, n))
    assert margins(auto) == pytest.approx((0.5 / 2, 1 - 1 / 2))
    auto.update(e[:1], None, (a, torch.tensor([0]), torch.tensor([1])), e[1:])  # a memory
    assert margins(auto) == pytest.approx((0.5 / 2, 1 - 1 / 2))


PAIR_LOSSES = {name: getattr(losses, name) for name in losses.__all__ if name.endswith("_loss")} | {
    "ada_triplet_loss all": partial(losses.ada_triplet_loss, mining="all")
}
EXACT = [name for name in get_args(LossName) if name != "none"]
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
@pytest.mark.parametrize("name", [*EXACT, "proxy"])
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

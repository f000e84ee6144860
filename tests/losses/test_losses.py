"""The losses against values worked by hand, published vectors, and loops over every triplet."""

import math
from functools import partial
from inspect import signature

import pytest
import slow_losses as slow
import torch
from pytorch_metric_learning import miners
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.losses import CrossBatchMemory, TripletMarginLoss

from foveola.losses import (
    AdaTripletLoss,
    AutoMargin,
    FineTripletHingeLoss,
    FineTripletLoss,
    SCTLoss,
    TripletLoss,
    WATLoss,
    ada_triplet_loss,
    fine_triplet,
    fine_triplet_hinge_loss,
    fine_triplet_loss,
    sct_loss,
    triplet_loss,
    wat_loss,
)
from foveola.losses import triplet as triplet_module
from foveola.losses.pairs import Pairs
from foveola.losses.triplet import triplet_sums

MININGS = ("all", "hard", "semihard")


def on_circle(*degrees):
    radians = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([radians.cos(), radians.sin()], 1)


# docs/explanation/methods.md, section 4: the author's fine triplet loss
HALVES = torch.tensor(
    [[1, 0, 0.8, 0.2], [0.9, 0.1, 0.5, 0.5], [0, 1, 0.1, 0.9], [0.2, 0.8, 0.6, 0.4]], dtype=torch.float64
)
GRADES = torch.tensor([0, 0, 1, 1])
# docs/explanation/methods.md, section 4: AdaTriplet and AutoMargin
FOUR = torch.tensor([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]], dtype=torch.float64)


def batches():
    """Batches of many forms: labels as in screening, subjects, ties, and those with nothing."""
    generator = torch.Generator().manual_seed(5)

    def normal(n, d):
        return torch.randn(n, d, generator=generator, dtype=torch.float64)

    yield "grades", normal(14, 5), torch.tensor([0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 2, 3, 4])
    yield "subjects", normal(16, 8), torch.arange(4).repeat_interleave(4)
    yield "shuffled", normal(12, 3), torch.tensor([3, 1, 2, 3, 1, 2, 9, 1, 3, 2, 2, 1])
    twins = normal(5, 4).repeat(2, 1)
    yield "duplicates within labels", twins, torch.tensor([0, 1, 2, 3, 4] * 2)
    yield "duplicates across labels", twins, torch.tensor([0, 0, 1, 1, 2, 1, 0, 1, 0, 2])
    few = torch.eye(3, dtype=torch.float64)[torch.tensor([0, 0, 1, 1, 2, 2, 0, 1])]
    yield "ties", few, torch.tensor([0, 1, 0, 1, 0, 1, 1, 0])
    yield "one label", normal(6, 3), torch.zeros(6, dtype=torch.int64)
    yield "all different", normal(6, 3), torch.arange(6)
    yield "single members", normal(7, 3), torch.tensor([0, 0, 1, 2, 3, 4, 4])
    yield "two", normal(2, 3), torch.tensor([0, 1])
    yield "one", normal(1, 3), torch.tensor([0])


BATCHES = {name: (e, labels) for name, e, labels in batches()}


def value_and_gradient(loss, embeddings):
    e = embeddings.clone().requires_grad_()
    value = loss(e)
    value.backward()
    return value.detach(), e.grad


@pytest.fixture(params=[0, triplet_module.FEW], ids=["sorted", "compared"])
def both_ways(request, monkeypatch):
    """Small batches have few positives; the sort has to be right on them, too."""
    monkeypatch.setattr(triplet_module, "FEW", request.param)


def agree(ours, theirs, embeddings):
    value, gradient = value_and_gradient(ours, embeddings)
    expected, expected_gradient = value_and_gradient(theirs, embeddings)
    torch.testing.assert_close(value, expected, atol=1e-9, rtol=0)
    torch.testing.assert_close(gradient, expected_gradient, atol=1e-6, rtol=0)


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("margin", [0.0, 0.1, 0.25, 1.0, 3.0])
@pytest.mark.parametrize("name", BATCHES)
def test_triplets_match_a_loop_in_value_and_gradient(name, margin, mining):
    e, labels = BATCHES[name]
    agree(
        lambda x: triplet_loss(x, labels, margin=margin, mining=mining),
        lambda x: slow.triplet_loss(x, labels, margin=margin, mining=mining),
        e,
    )


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("name", BATCHES)
def test_ada_triplet_matches_a_loop_in_value_and_gradient(name, mining):
    e, labels = BATCHES[name]
    agree(
        lambda x: ada_triplet_loss(x, labels, margin=0.3, beta=0.05, weight=0.7, mining=mining),
        lambda x: (
            slow.triplet_loss(x, labels, margin=0.3, mining=mining) + 0.7 * slow.negative_hinge(x, labels, beta=0.05)
        ),
        e,
    )


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("name", [name for name in BATCHES if BATCHES[name][0].shape[1] % 2 == 0])
def test_fine_triplet_matches_a_loop_in_value_and_gradient(name, symmetric):
    e, labels = BATCHES[name]
    agree(
        lambda x: fine_triplet_loss(x, labels, margin=0.2, scale=3.0, symmetric=symmetric),
        lambda x: slow.fine_triplet(x, labels, margin=0.2, scale=3.0, symmetric=symmetric),
        e,
    )


REFERENCES = BATCHES["shuffled"][0].repeat(1, 2)[:, :5], BATCHES["shuffled"][1]


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("anchors", [14, 12])  # 12 are as many as the references
@pytest.mark.parametrize("mining", MININGS)
def test_references_take_the_place_of_the_batch(mining, anchors):
    e, labels = (x[:anchors] for x in BATCHES["grades"])
    ref, ref_labels = REFERENCES
    for ours, theirs in (
        (
            lambda x: triplet_loss(x, labels, None, ref, ref_labels, mining=mining),
            lambda x: slow.triplet_loss(x, labels, ref, ref_labels, margin=0.25, mining=mining),
        ),
        (
            lambda x: ada_triplet_loss(x, labels, None, ref, ref_labels, mining=mining),
            lambda x: (
                slow.triplet_loss(x, labels, ref, ref_labels, margin=0.25, mining=mining)
                + slow.negative_hinge(x, labels, ref, ref_labels, beta=0.0)
            ),
        ),
    ):
        agree(ours, theirs, e)


def listed(*labels):
    """All triplets as a miner would return them."""
    return tuple(torch.tensor(list(slow.triplets(*labels)), dtype=torch.int64).reshape(-1, 3).T)


@pytest.mark.parametrize("loss", [triplet_loss, wat_loss])
@pytest.mark.parametrize("name", BATCHES)
def test_all_triplets_in_a_list_are_the_triplets_of_the_labels(name, loss):
    e, labels = BATCHES[name]
    agree(lambda x: loss(x, None, listed(labels)), lambda x: loss(x, labels), e)


@pytest.mark.parametrize("loss", [triplet_loss, wat_loss])
def test_listed_triplets_point_at_references(loss):
    e, labels = BATCHES["grades"]
    ref, ref_labels = REFERENCES
    agree(lambda x: loss(x, None, listed(labels, ref_labels), ref), lambda x: loss(x, labels, None, ref, ref_labels), e)


def test_a_listed_triplet_at_the_margin_is_no_term():
    # s_ap = 1 and s_an = 0 in the first, s_ap = 1 and s_an = cos 60 in the second
    e = torch.cat([torch.eye(2, dtype=torch.float64)[[0, 0, 1]], on_circle(60)])
    triplets = (torch.tensor([0, 0]), torch.tensor([1, 1]), torch.tensor([2, 3]))
    assert triplet_loss(e, None, triplets, margin=1.0).item() == pytest.approx(0.5)
    assert triplet_loss(e, torch.tensor([0, 0, 1, 2]), margin=1.0).item() == pytest.approx(0.5)


@pytest.mark.usefixtures("both_ways")
def test_anchors_are_taken_a_few_at_a_time(monkeypatch):
    monkeypatch.setattr(triplet_module, "ROWS", 5)
    for name in ("grades", "shuffled", "single members"):
        e, labels = BATCHES[name]
        agree(
            lambda x, labels=labels: triplet_loss(x, labels, margin=0.6),
            lambda x, labels=labels: slow.triplet_loss(x, labels, margin=0.6, mining="all"),
            e,
        )


@pytest.mark.usefixtures("both_ways")
def test_anchors_are_added_up_in_float64(monkeypatch):
    # s_an - s_ap is 2^25, 1 and -2^25; float32 has no 2^25 + 1
    monkeypatch.setattr(triplet_module, "ROWS", 1)
    s = torch.tensor([[0, 2.0**25], [0, 1], [2.0**25, 0]])
    positive = torch.tensor([[True, False]] * 3)
    total, count = triplet_sums(Pairs(s, positive, ~positive), 2.0**26)
    assert (total.item(), count.item()) == (1, 3)


@pytest.mark.usefixtures("both_ways")
def test_long_rows_of_float32_keep_their_precision():
    generator = torch.Generator().manual_seed(1)
    s = 0.9 + 0.1 * torch.rand(4, 3000, generator=generator)
    positive = torch.rand(s.shape, generator=generator) < 0.02
    total, _ = triplet_sums(Pairs(s, positive, ~positive), 1.0)
    exact, _ = triplet_sums(Pairs(s.double(), positive, ~positive), 1.0)
    assert total.item() == pytest.approx(exact.item(), rel=1e-6)


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("name", BATCHES)
def test_all_triplets_have_the_value_of_pytorch_metric_learning(name):
    e, labels = BATCHES[name]
    theirs = TripletMarginLoss(margin=0.2, distance=CosineSimilarity())
    expected = theirs(e, labels).item()
    assert triplet_loss(e, labels, margin=0.2).item() == pytest.approx(expected, abs=1e-9)


def test_a_miners_triplets_and_pairs_are_taken_as_they_are():
    e, labels = BATCHES["grades"]
    mined = miners.TripletMarginMiner(margin=0.2, type_of_triplets="semihard", distance=CosineSimilarity())(e, labels)
    theirs = TripletMarginLoss(margin=0.2, distance=CosineSimilarity())
    expected = theirs(e, labels, mined).item()
    assert triplet_loss(e, None, mined, margin=0.2).item() == pytest.approx(expected)
    by_label = triplet_loss(e, labels, margin=0.2, mining="semihard").item()
    assert by_label == pytest.approx(expected)
    pairs = miners.BatchEasyHardMiner(distance=CosineSimilarity())(e, labels)  # a, p, a, n
    assert triplet_loss(e, None, pairs, margin=0.2).item() == pytest.approx(theirs(e, labels, pairs).item())


def test_each_anchor_of_a_miners_pairs_keeps_its_own():
    # anchor 0 has a positive and no negative, anchor 1 both, anchor 2 a negative alone
    pairs = (torch.tensor([0, 1]), torch.tensor([1, 0]), torch.tensor([1, 2]), torch.tensor([2, 0]))
    e, cos30 = on_circle(0, 60, 90), math.cos(math.pi / 6)
    assert triplet_loss(e, None, pairs).item() == pytest.approx(cos30 - 0.5 + 0.25)


@pytest.mark.parametrize("loss", [triplet_loss, ada_triplet_loss, sct_loss, wat_loss])
def test_a_miner_that_finds_nothing_leaves_nothing_to_learn(loss):
    nothing = torch.zeros(0, dtype=torch.int64)
    e = FOUR.clone().requires_grad_()
    for indices in ((nothing,) * 3, (nothing,) * 4):
        value = loss(e, None, indices)
        value.backward()
        assert value.item() == 0
    assert not e.grad.any()


@pytest.mark.parametrize("module", [TripletLoss(margin=0.2), AdaTripletLoss(AutoMargin())])
def test_a_cross_batch_memory_takes_our_losses(module):
    class Memory(CrossBatchMemory):  # which asks losses for their names
        @staticmethod
        def supported_losses():
            return ["TripletLoss", "AdaTripletLoss"]

    e, labels = BATCHES["subjects"]
    ours = Memory(module, embedding_size=8, memory_size=40)
    # a memory that holds the batch alone, then one that has gone around
    assert ours(e, labels).item() == pytest.approx(module(e, labels).item())
    theirs = TripletMarginLoss(margin=0.2, distance=CosineSimilarity())
    theirs = CrossBatchMemory(theirs, embedding_size=8, memory_size=40)
    theirs(e, labels)
    for step in range(1, 4):
        batch = (e.roll(step, 0) + 0.1 * step, labels)
        value, expected = ours(*batch).item(), theirs(*batch).item()
        if isinstance(module, TripletLoss):
            assert value == pytest.approx(expected)


def test_fine_triplet_reproduces_the_published_vector():
    assert fine_triplet_loss(HALVES, GRADES).item() == pytest.approx(2.301148, abs=1e-5)


def test_without_degrees_fine_triplet_is_the_published_circle_loss(monkeypatch):
    monkeypatch.setattr(fine_triplet, "relevance_degree", lambda *_, **__: torch.ones(4, 4))
    assert fine_triplet_loss(HALVES, GRADES).item() == pytest.approx(2.292314, abs=1e-5)


def test_fine_triplet_takes_every_pair_with_references_and_those_of_a_miner_as_they_are():
    e, _ = BATCHES["subjects"]
    few, ref = e[:3], e[[4, 1, 9]]  # as many anchors as references
    few_labels, ref_labels = torch.tensor([0, 1, 1]), torch.tensor([1, 0, 1])
    s = slow.cosines(few, ref)
    r, r_ref = (torch.cosine_similarity(x[:, :4], x[:, 4:]).clamp(0.05, 1) for x in (few, ref))
    pull = -(r_ref[None, :] / r[:, None]) * (1.25 - s).clamp(min=0) * (s - 0.75)
    push = (s + 0.25).clamp(min=0) * (s - 0.25)
    same = few_labels[:, None] == ref_labels[None, :]
    expected = torch.log(1 + pull[same].exp().sum() * push[~same].exp().sum())
    value = fine_triplet_loss(few, few_labels, None, ref, ref_labels)
    assert value.item() == pytest.approx(expected.item())
    # the pairs (2, 0) and (2, 1), whose first image is the later one
    pairs = tuple(torch.tensor([i]) for i in (2, 0, 2, 1))
    s = slow.cosines(few)
    pull = -(r[0] / r[2]) * (1.25 - s[2, 0]) * (s[2, 0] - 0.75)
    push = (s[2, 1] + 0.25).clamp(min=0) * (s[2, 1] - 0.25)
    expected = torch.log(1 + (pull + push).exp())
    assert fine_triplet_loss(few, None, pairs).item() == pytest.approx(expected.item())


@pytest.mark.parametrize(("loss", "symmetric"), [(fine_triplet_loss, False), (fine_triplet_hinge_loss, True)])
def test_a_detached_degree_is_a_constant(loss, symmetric, monkeypatch):
    e, labels = BATCHES["subjects"]
    value, gradient = value_and_gradient(lambda x: loss(x, labels, detach_degree=True), e)
    attached, other = value_and_gradient(lambda x: loss(x, labels), e)
    assert value == attached
    assert (gradient - other).abs().max() > 1e-3
    degree = fine_triplet.relevance_degree(e, symmetric=symmetric)
    monkeypatch.setattr(fine_triplet, "relevance_degree", lambda *_, **__: degree)
    agree(lambda x: loss(x, labels, detach_degree=True), lambda x: loss(x, labels), e)


def test_equal_halves_have_degree_one():
    halves = BATCHES["subjects"][0]
    degree = fine_triplet.relevance_degree(torch.cat([halves, 2 * halves], 1))
    torch.testing.assert_close(degree, torch.ones_like(degree))


@pytest.mark.parametrize(("mining", "value"), [("all", 0.79), ("semihard", 0.67), ("hard", 1.03)])
def test_ada_triplet_reproduces_the_published_vector(mining, value):
    assert ada_triplet_loss(FOUR, GRADES, margin=0.25, beta=0.1, mining=mining).item() == (
        pytest.approx(value, abs=1e-5)
    )


def test_ada_triplet_by_hand():
    # The same subject at 0 and 60 degrees, another at 90. Anchor 0: 0 - .5 + .25 < 0. Anchor 60:
    # cos 30 - cos 60 + .25, a hard triplet. Two negative pairs: cos 90 < .1, cos 30 above it.
    cos30 = math.cos(math.pi / 6)
    loss = ada_triplet_loss(
        on_circle(0, 60, 90), torch.tensor([7, 7, 8]), margin=0.25, beta=0.1, weight=2.0, mining="all"
    )
    assert loss.item() == pytest.approx((cos30 - 0.5 + 0.25) + 2.0 * (cos30 - 0.1))


def test_a_negative_pair_at_beta_counts():
    e = torch.cat([torch.eye(2, dtype=torch.float64), on_circle(60)])  # cosines 0, 1/2, sin 60
    loss = ada_triplet_loss(e, torch.tensor([0, 1, 2]), beta=0.0)
    assert loss.item() == pytest.approx((0 + 0.5 + math.sin(math.pi / 3)) / 3)


def test_ada_triplet_takes_a_miners_triplets_without_further_mining():
    # The hard triplet of the anchor 60, listed twice: semihard mining would leave it out. Its
    # pair of anchor and negative counts once, and the pair of 0 and 90, which is above beta, not.
    triplets = tuple(torch.tensor([i, i]) for i in (2, 1, 0))
    cos30 = math.cos(math.pi / 6)
    loss = ada_triplet_loss(on_circle(90, 0, 60), None, triplets, margin=0.25, beta=-0.5)
    assert loss.item() == pytest.approx((cos30 - 0.5 + 0.25) + (cos30 + 0.5))


def test_semihard_mining_leaves_a_hard_negative_to_the_second_term():
    e = on_circle(0, 60, 90).requires_grad_()
    ada_triplet_loss(e, torch.tensor([7, 7, 8]), beta=0.1).backward()
    assert e.grad[0].abs().max() < 1e-12  # the positive of the hard anchor is not pulled
    assert e.grad[1].abs().max() > 0.1
    assert e.grad[2].abs().max() > 0.1


@pytest.mark.parametrize(
    "loss", [triplet_loss, ada_triplet_loss, fine_triplet_loss, fine_triplet_hinge_loss, sct_loss, wat_loss]
)
def test_gradients_are_those_of_the_value(loss):
    e, labels = BATCHES["subjects"][0].clone().requires_grad_(), BATCHES["subjects"][1]
    if loss is wat_loss:  # its margin is a constant in the gradient by design
        labels = labels.clone()
        value, gradient = value_and_gradient(lambda x: wat_loss(x, labels), e.detach())
        assert value > 0
        assert gradient.abs().max() > 0
        return
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), e)


@pytest.mark.parametrize(
    "loss", [triplet_loss, ada_triplet_loss, fine_triplet_loss, fine_triplet_hinge_loss, sct_loss, wat_loss]
)
@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]])
def test_a_batch_with_nothing_to_learn_still_backpropagates(loss, labels):
    e = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    value = loss(e, torch.tensor(labels))
    value.backward()
    assert value.isfinite()
    assert e.grad.isfinite().all()


def test_wat_by_hand():
    # d = cos 60 - cos 30 at the anchor 60, cos 60 - cos 90 at the anchor 0; slope 2 / 3.5
    d = torch.tensor([0.5, 0.5 - math.cos(math.pi / 6)], dtype=torch.float64)
    terms = ((2 - 2 * d) / 3.5 + 0.5) - d
    loss = wat_loss(on_circle(0, 60, 90), torch.tensor([7, 7, 8]), least=0.5)
    assert (terms > 0).all()
    assert loss.item() == pytest.approx(terms.mean().item())


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("name", BATCHES)
def test_wat_matches_a_loop_whose_margins_are_constants(name):
    e, labels = BATCHES[name]

    def loop(x):
        s, terms = slow.cosines(x), []
        for a, p, n in slow.triplets(labels):
            d = s[a, p] - s[a, n]
            margin = ((2 - 2 * d) / 3.9 + 0.1).detach()
            if margin - d > 0:
                terms.append(margin - d)
        return slow.mean(terms, x)

    agree(lambda x: wat_loss(x, labels), loop, e)


@pytest.mark.parametrize("anchors", [None, 14, 12])  # None: the batch itself
def test_sct_matches_a_loop(anchors):
    def check(e, labels, *ref):
        def loop(x):
            s, terms = slow.cosines(x, *ref[:1]), []
            for a, p, n in slow.triplets(labels, *ref[1:]):
                easy = torch.log1p(torch.exp((s[a, n] - s[a, p]) / 0.1))
                terms.append(s[a, n] if s[a, n] > s[a, p] else easy)
            return slow.mean(terms, x)

        agree(lambda x: sct_loss(x, labels, None, *ref), loop, e)

    if anchors is None:
        for e, labels in BATCHES.values():
            check(e, labels)
    else:
        check(*(x[:anchors] for x in BATCHES["grades"]), *REFERENCES)


def test_sct_by_hand():
    # Anchor 60 has its negative nearer than its positive: its cosine alone. Anchor 0 has not.
    cos30 = math.cos(math.pi / 6)
    easy = math.log1p(math.exp((0 - 0.5) / 0.1))
    loss = sct_loss(on_circle(0, 60, 90), torch.tensor([7, 7, 8]), weight=0.5)
    assert loss.item() == pytest.approx((0.5 * cos30 + easy) / 2)


def test_the_hinge_reading_by_hand():
    # Halves: r = cos 0, cos 60, and 1. Symmetric degree of the pair (0, 1): .5.
    e = torch.cat([on_circle(0, 0, 90), on_circle(0, 60, 90)], 1)
    labels = torch.tensor([0, 0, 1])
    s01 = (1 + 0.5) / 2
    s12 = math.sin(math.pi / 3) / 2
    s02 = 0.0
    triplets = [t for t in (s02 - s01 + 0.25, s12 - s01 + 0.25) if t > 0]
    hinge = max(0.0, (1 - s01) - (1 - 0.5))
    expected = (sum(triplets) / len(triplets) if triplets else 0.0) + 3 * hinge
    assert fine_triplet_hinge_loss(e, labels, weight=3).item() == pytest.approx(expected)


@pytest.mark.usefixtures("both_ways")
def test_the_hinge_reading_matches_a_loop():
    e, labels = BATCHES["subjects"]

    def loop(x):
        s = slow.cosines(x)
        a, b = x.chunk(2, dim=1)
        r = torch.cosine_similarity(a, b).clamp(0.05, 1)
        beyond = [
            (torch.minimum(r[i], r[j]) / torch.maximum(r[i], r[j]) - s[i, j]).clamp(min=0)
            for i in range(len(x))
            for j in range(len(x))
            if i != j and labels[i] == labels[j]
        ]
        return slow.triplet_loss(x, labels, margin=0.6, mining="all") + slow.mean(beyond, x)

    agree(lambda x: fine_triplet_hinge_loss(x, labels, margin=0.6), loop, e)


def test_half_precision_and_any_length_give_the_value_of_unit_descriptors():
    e, labels = BATCHES["subjects"]
    half = e.to(torch.bfloat16)
    exact = ada_triplet_loss(half.double(), labels).item()
    assert ada_triplet_loss(half, labels).item() == pytest.approx(exact, abs=1e-6)
    assert ada_triplet_loss(e * 1e6, labels).item() == pytest.approx(ada_triplet_loss(e, labels).item())


def test_extreme_scales_do_not_overflow():
    e, labels = BATCHES["subjects"]
    value, gradient = value_and_gradient(lambda x: fine_triplet_loss(x.float(), labels, scale=1e4), e)
    assert value.isfinite()
    assert gradient.isfinite().all()


def test_opposite_halves_do_not_blow_the_degree_up():
    a = torch.randn(6, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    e = torch.cat([a, -a], 1)
    e[0, 3:] = e[0, :3]
    value, gradient = value_and_gradient(lambda x: fine_triplet_loss(x, GRADES.repeat(2)[:6]), e)
    assert value.isfinite()
    assert gradient.isfinite().all()


def test_findings_are_alike_from_a_jaccard_index():
    # {A, B}, {A}, {B, C}, {C}: indices 1/2 (0-1), 1/3 (0-2), 0 (0-3), 0 (1-2), 0 (1-3), 1/2 (2-3)
    findings = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 1, 1], [0, 0, 1]], dtype=torch.bool)
    e = on_circle(0, 50, 20, 90)
    s = slow.cosines(e)
    chosen = [(0, 1, 3), (1, 0, 2), (1, 0, 3), (2, 3, 1), (3, 2, 0), (3, 2, 1)]
    terms = [s[a, n] - s[a, p] + 0.4 for a, p, n in chosen]
    above = [t for t in terms if t > 0]
    expected = torch.stack(above).mean().item()
    assert triplet_loss(e, findings, margin=0.4).item() == pytest.approx(expected)
    strict = triplet_loss(e, findings, margin=0.4, positive_from=1.0)
    assert strict.item() == 0  # no two sets are equal, so nothing is alike


SIX = (
    triplet_loss,
    partial(ada_triplet_loss, mining="all"),  # no triplet of the test's is semihard
    fine_triplet_loss,
    fine_triplet_hinge_loss,
    sct_loss,
    wat_loss,
)


@pytest.mark.parametrize("loss", SIX)
def test_half_of_the_findings_in_common_make_two_alike_by_default(loss):
    # {A, B} and {A}: 1/2. {A, B, C} and {A, B, D, E}: 2/5. The third shares nothing with either.
    half = torch.tensor([[1, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1]]).bool()
    less = torch.tensor([[1, 1, 1, 0, 0, 0], [1, 1, 0, 1, 1, 0], [0, 0, 0, 0, 0, 1]]).bool()
    e = BATCHES["subjects"][0][:3]
    alike = loss(e, torch.tensor([0, 0, 1])).item()
    assert loss(e, half).item() == pytest.approx(alike)
    assert loss(e, less).item() != pytest.approx(alike)
    if loss not in (sct_loss, wat_loss):
        assert loss(e, less, positive_from=0.4).item() == pytest.approx(alike)
        assert loss(e, half, positive_from=0.6).item() == loss(e, less).item()


def test_an_image_without_findings_is_neither_alike_nor_unlike():
    findings = torch.tensor([[1, 0], [1, 0], [0, 1], [0, 0]], dtype=torch.bool)
    e = on_circle(0, 50, 20, 10)
    with_it = ada_triplet_loss(e, findings, mining="all")
    without = ada_triplet_loss(e[:3], findings[:3], mining="all")
    assert with_it.item() == pytest.approx(without.item())


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda e: triplet_loss(e, torch.zeros(3)), r"got \(4, 2\) and \(3,\)"),
        (lambda e: triplet_loss(e[0], torch.zeros(2)), r"expected embeddings \(B, D\)"),
        (lambda e: triplet_loss(e, None), "expected labels, or indices_tuple"),
        (lambda e: triplet_loss(e, GRADES, mining="easy"), "mining is 'easy'"),
        (lambda e: triplet_loss(e, GRADES, margin=float("nan")), "margin is nan"),
        (lambda e: triplet_loss(e, GRADES, margin=-0.1), "margin is -0.1; expected 0 or above"),
        (lambda e: triplet_loss(e, torch.zeros(4, 1, 1)), r"and \(4, 1, 1\)"),
        (lambda e: triplet_loss(e, GRADES, None, e), r"expected ref_labels \(4,\)"),
        (lambda e: triplet_loss(e, GRADES, None, e[:, :1], GRADES), r"expected ref_emb \(R, 2\)"),
        (lambda e: triplet_loss(e, GRADES, (GRADES, GRADES)), "3 or 4 index tensors"),
        (lambda e: fine_triplet_loss(e[:, :1], GRADES), "1 columns, an odd number"),
    ],
)
def test_wrong_arguments_are_named(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call(FOUR)


def test_modules_call_the_functions_with_their_settings():
    e, labels = BATCHES["subjects"]
    for module, expected in (
        (TripletLoss(margin=0.4, mining="hard"), triplet_loss(e, labels, margin=0.4, mining="hard")),
        (FineTripletLoss(scale=2.0), fine_triplet_loss(e, labels, scale=2.0)),
        (FineTripletHingeLoss(weight=2.0), fine_triplet_hinge_loss(e, labels, weight=2.0)),
        (AdaTripletLoss(beta=0.2), ada_triplet_loss(e, labels, beta=0.2)),
        (SCTLoss(temperature=0.2), sct_loss(e, labels, temperature=0.2)),
        (WATLoss(least=0.3), wat_loss(e, labels, least=0.3)),
    ):
        assert module(e, labels).item() == expected.item()
    assert repr(TripletLoss(margin=0.4)) == "TripletLoss(margin=0.4)"
    with pytest.raises(TypeError, match="unexpected keyword argument 'marign'"):
        TripletLoss(marign=0.4)


@pytest.mark.parametrize("kind", [TripletLoss, FineTripletLoss, FineTripletHingeLoss, AdaTripletLoss, SCTLoss, WATLoss])
def test_a_module_names_every_setting_of_its_function_with_the_same_default(kind):
    of_function, of_module = signature(kind.function).parameters, signature(kind).parameters
    settings = {n: each.default for n, each in of_function.items() if each.kind is each.KEYWORD_ONLY}
    assert {n: each.default for n, each in of_module.items() if n != "auto"} == settings
    assert kind().settings == settings
    assert repr(kind()) == f"{kind.__name__}()"


@pytest.mark.parametrize(("module", "function"), [(TripletLoss(), triplet_loss), (AdaTripletLoss(), ada_triplet_loss)])
def test_modules_hand_on_indices_and_references(module, function):
    e, labels = BATCHES["grades"]
    few = tuple(x[::3] for x in listed(labels))
    assert module(e, labels, few).item() == function(e, labels, few).item()
    assert module(e, labels, few).item() != function(e, labels).item()
    arguments = (e, labels, None, *REFERENCES)
    assert module(*arguments).item() == function(*arguments).item()
    assert module(*arguments).item() != function(e, labels).item()


def test_auto_margin_takes_the_place_of_the_settings():
    criterion = AdaTripletLoss(AutoMargin(margin=0.1, beta=0.2), margin=0.5, beta=0.4)
    triplets = listed(GRADES)
    expected = ada_triplet_loss(FOUR, None, triplets, margin=0.1, beta=0.2)
    assert criterion(FOUR, None, triplets).item() == expected.item()


def test_ada_triplet_with_auto_margin_learns_from_training_batches_only():
    criterion = AdaTripletLoss(AutoMargin(margin=0.25, beta=0.1))
    assert criterion.eval()(FOUR, GRADES).item() == pytest.approx(0.67)
    criterion.auto.step()
    assert (criterion.auto.margin, criterion.auto.beta) == (0.25, 0.1)
    criterion.train()(FOUR, GRADES)
    criterion.auto.step()
    assert (criterion.auto.margin, criterion.auto.beta) == pytest.approx((0.13, 0.77))
    expected = ada_triplet_loss(FOUR, GRADES, margin=0.13, beta=0.77).item()
    assert criterion(FOUR, GRADES).item() == pytest.approx(expected)

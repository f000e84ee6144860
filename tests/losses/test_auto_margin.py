"""AutoMargin against every similarity kept, and over two ranks."""

import itertools

import numpy as np
import pytest
import slow_losses as slow
import torch
from torch import multiprocessing

from foveola.losses import AutoMargin, gather_batch, triplet_loss

FOUR = torch.tensor([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]], dtype=torch.float64)
LABELS = torch.tensor([0, 0, 1, 1])


def epoch(batches=5, size=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(batches):
        e = torch.randn(size, 4, generator=generator, dtype=torch.float64) + 0.3
        yield e, torch.randint(0, 4, (size,), generator=generator)


def everything(batches):
    """Every difference over triplets and every negative pair's cosine, as the authors keep them."""
    differences, negatives = [], []
    for e, labels in batches:
        s = slow.cosines(e)
        differences += [(s[a, p] - s[a, n]).item() for a, p, n in slow.triplets(labels)]
        pairs = itertools.combinations(range(len(labels)), 2)
        negatives += [s[i, j].item() for i, j in pairs if labels[i] != labels[j]]
    return np.array(differences), np.array(negatives)


def fed(auto, batches):
    for e, labels in batches:
        auto.update(e, labels)
    auto.step()
    return auto


def test_auto_margin_reproduces_the_published_vector():
    auto = fed(AutoMargin(), [(FOUR, LABELS)])
    assert auto.margin == pytest.approx(0.13, abs=1e-5)
    assert auto.beta == pytest.approx(0.77, abs=1e-5)


def test_means_are_those_of_everything_kept():
    differences, negatives = everything(epoch())
    auto = fed(AutoMargin(k_margin=3, k_beta=1.5), epoch())
    assert auto.margin == pytest.approx(max(0, differences.mean() / 3), abs=1e-12)
    assert auto.beta == pytest.approx(1 - (1 - negatives.mean()) / 1.5, abs=1e-12)


@pytest.mark.parametrize(("mode", "at"), [("Q1", (0.25, 0.75)), ("Q2", (0.5, 0.5))])
def test_quartiles_are_those_of_everything_kept_to_a_bin(mode, at):
    batches = [(e, torch.arange(12) // 3) for e, _ in epoch()]
    batches = [(e + 3 * torch.eye(4, dtype=torch.float64)[labels], labels) for e, labels in batches]
    differences, negatives = everything(batches)
    auto = fed(AutoMargin(mode=mode), batches)
    assert np.quantile(differences, at[0]) > 0.05  # else the floor of 0 would hide a fault
    assert auto.margin == pytest.approx(np.quantile(differences, at[0]), abs=1 / 256)
    assert auto.beta == pytest.approx(np.quantile(negatives, at[1]), abs=1 / 256)


def test_a_step_forgets_the_epoch_and_keeps_what_was_not_seen():
    auto = fed(AutoMargin(), [(FOUR, LABELS)])
    before = (auto.margin, auto.beta)
    auto.step()
    assert (auto.margin, auto.beta) == before
    auto = fed(AutoMargin(margin=0.4), [(FOUR[:2], torch.tensor([0, 1]))])  # no triplet
    assert auto.margin == 0.4
    assert auto.beta == pytest.approx(1 - (1 - 0.8) / 2)


def test_a_negative_mean_gives_margin_zero():
    auto = fed(AutoMargin(), [(FOUR[[0, 3, 1]], torch.tensor([0, 0, 1]))])
    assert auto.margin == 0


def test_a_checkpoint_in_the_middle_of_an_epoch_goes_on():
    batches = list(epoch())
    first = AutoMargin(mode="Q1")
    for e, labels in batches[:3]:
        first.update(e, labels)
    second = AutoMargin(mode="Q1")
    second.load_state_dict(first.state_dict())
    for e, labels in batches[3:]:
        second.update(e, labels)
    second.step()
    whole = fed(AutoMargin(mode="Q1"), batches)
    assert (second.margin, second.beta) == (whole.margin, whole.beta)


def test_collecting_takes_no_gradient():
    e = FOUR.clone().requires_grad_()
    fed(AutoMargin(mode="Q2"), [(e, LABELS)])
    assert e.grad is None


@pytest.mark.parametrize("settings", [{"mode": "Q3"}, {"k_margin": 0}, {"k_beta": float("nan")}])
def test_wrong_settings_are_refused(settings):
    with pytest.raises(ValueError, match="expected"):
        AutoMargin(**settings)


def _rank(rank, folder, out):
    """One of two ranks: half of each batch, with a learnt projection under DDP."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    projection = torch.nn.Linear(4, 3, bias=False, dtype=torch.float64)
    torch.nn.init.eye_(projection.weight)
    model = torch.nn.parallel.DistributedDataParallel(projection)
    auto = AutoMargin()
    for e, labels in epoch(batches=2):
        half = slice(6 * rank, 6 * rank + 6)
        everyone, all_labels = gather_batch(model(e[half]), labels[half])
        triplet_loss(everyone, all_labels).backward()
        auto.update(model.module(e[half]), labels[half])
    auto.step()
    out[rank] = (projection.weight.grad.tolist(), auto.margin, auto.beta)
    torch.distributed.destroy_process_group()


def test_two_ranks_train_as_one(tmp_path):
    """Same gradient as one process with the whole batch; AutoMargin adds the ranks' sums."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        out = manager.dict()
        ranks = [context.Process(target=_rank, args=(r, tmp_path, out)) for r in range(2)]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join(120)
        results = [out[rank] for rank in range(2)]
    weight = torch.eye(3, 4, dtype=torch.float64).requires_grad_()
    auto = AutoMargin()
    for e, labels in epoch(batches=2):
        triplet_loss(e @ weight.T, labels).backward()
        for half in (slice(0, 6), slice(6, 12)):
            auto.update((e @ weight.T)[half], labels[half])
    auto.step()
    for gradient, margin, beta in results:
        np.testing.assert_allclose(gradient, weight.grad.numpy(), atol=1e-10)
        assert (margin, beta) == pytest.approx((auto.margin, auto.beta))


def test_without_ranks_a_batch_is_gathered_as_it_is():
    e, labels = gather_batch(FOUR, LABELS)
    assert e is FOUR
    assert labels is LABELS

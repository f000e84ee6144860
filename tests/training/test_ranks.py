"""Two processes on the CPU train as one does with the whole batch, and release once."""

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from torch import multiprocessing
from torch.utils.data import BatchSampler, RandomSampler

from foveola.encoders.encoder import Encoder
from foveola.errors import ConfigError
from foveola.phantom import generate
from foveola.training import ranks
from foveola.training.compare import compare
from made_readers import SIZE, config_of, run_of

# no batch normalisation, whose means are those of each process's part; no augmentation
CONFIG = """
name = "small"
epochs = 2
precision = "32-true"
[data]
manifests = ["phantoms/manifest.csv"]
held_out = 0.25
validation = 0.3
augment = "none"
[model]
backbone = "test_convnext"
dimension = 8
image_size = 64
[batch]
groups = 4
images_per_group = 2
batches_per_epoch = 2
[loss]
name = "ada_triplet"
auto_margin = true
mining = "all"
margin = 1.0
grade_weight = 0.5
label_weight = 0.5
findings_weight = 0.5
"""

# `foveola train`, which keeps what it descends along
DRIVER = """
    import os
    import torch
    from foveola.cli.commands import main
    from foveola.training.descriptor import DescriptorTraining

    def keep(self, _):
        torch.save(
            {name: p.grad for name, p in self.named_parameters() if p.grad is not None},
            f"{os.environ['KEPT']}-{ranks.rank()}-{self.global_step}.pt",
        )

    from foveola.training import ranks
    DescriptorTraining.on_before_optimizer_step = keep
    main()
"""


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def train(folder, out, processes):
    start = [sys.executable]
    if processes > 1:
        start += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return subprocess.run(
        [*start, "driver.py", "train", "config.toml", out, "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env=ENVIRONMENT | {"KEPT": out},
    )


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """One run by one process and one by two."""
    folder = tmp_path_factory.mktemp("ranks")
    generate(folder / "phantoms", subjects=30, visits=2, seed=3, size=128, masks=False)
    (folder / "config.toml").write_text(CONFIG)
    (folder / "driver.py").write_text(textwrap.dedent(DRIVER))
    done = {name: train(folder, name, count) for name, count in (("one", 1), ("two", 2))}
    for each in done.values():
        assert each.returncode == 0, each.stderr
    return folder, done


def logged(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "log"))
    events.Reload()
    return {tag: [e.value for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_two_processes_have_the_loss_and_gradients_of_one(both):
    folder, _ = both
    one, two = logged(folder / "one"), logged(folder / "two")
    assert {"loss/ada_triplet", "loss/proxy", "loss/grade", "loss/label", "margin"} <= set(one)
    for tag, values in one.items():
        assert two[tag] == pytest.approx(values, rel=1e-4, abs=1e-5), tag
    gradients = [torch.load(folder / f"{of}-0.pt") for of in ("one-0", "two-0", "two-1")]
    assert sum(each.norm() for each in gradients[0].values()) > 0.1
    for name, gradient in gradients[0].items():
        for other in gradients[1:]:
            assert (other[name] - gradient).norm() <= 1e-5 * gradient.norm() + 1e-7


def test_they_release_one_encoder_and_say_so_once(both):
    folder, done = both
    assert json.loads(done["two"].stdout) == {"encoder": "two/encoder"}
    assert done["two"].stderr.count("exporting the encoder") == 1
    assert len(list((folder / "two/log").glob("events*"))) == 1
    pixels = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    ours, theirs = (Encoder.load(folder / f"{n}/encoder").encode(pixels) for n in ("one", "two"))
    assert (ours * theirs).sum(axis=1) == pytest.approx(1, abs=1e-3)


def test_two_processes_go_on_where_they_were_killed(both):
    folder, _ = both
    kept = sorted((folder / "two/checkpoints").glob("epoch=*.ckpt"))
    first = torch.load(kept[-1], weights_only=True)
    kept[-1].unlink()
    again = train(folder, "two", 2)
    assert again.returncode == 0, again.stderr
    second = torch.load(kept[-1], weights_only=True)
    assert second["global_step"] == first["global_step"] == 4
    for name, value in first["state_dict"].items():
        torch.testing.assert_close(second["state_dict"][name], value, rtol=1e-4, atol=1e-5)


def reader_batch():
    """Eight people, of whom one has a single eye; a finding is not known."""
    generator = torch.Generator().manual_seed(2)
    pixels = torch.randint(0, 256, (8, 2, SIZE, SIZE, 3), generator=generator, dtype=torch.uint8)
    truth = (torch.rand(8, 3, generator=generator) < 0.4).float()
    truth[1, 2] = torch.nan
    present = torch.ones(8, 2, dtype=torch.bool)
    present[6, 0] = False
    return pixels, present, truth, truth[:, None].repeat(1, 2, 1)


def reader_gradients(part):
    """Of a reader's step on a part of the batch, and its loss."""
    module = run_of(config_of(dropout=0.0)).module
    torch.manual_seed(5)  # of the eyes that are taken away
    loss = module.training_step(tuple(x[part] for x in reader_batch()), 0)
    loss.backward()
    return loss.item(), {n: p.grad for n, p in module.named_parameters() if p.grad is not None}


def _reader(rank, folder, out):
    """One of two processes: a reader's step, what is judged, and whom it draws."""
    torch.set_num_threads(1)
    os.environ["RANK"] = str(rank)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    loss, gradients = reader_gradients(slice(4 * rank, 4 * rank + 4))
    for gradient in gradients.values():  # as DistributedDataParallel does
        torch.distributed.all_reduce(gradient)
        gradient /= 2
    judged = ranks.in_order(torch.tensor(list(ranks.EvenRows(range(5)))), 5)
    torch.manual_seed(rank)
    batches = BatchSampler(RandomSampler(range(10)), 4, drop_last=True)
    out[rank] = (
        loss,
        {n: g.numpy() for n, g in gradients.items()},
        judged.tolist(),
        list(ranks.SharedBatches(batches)),
    )
    torch.distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore")  # Lightning misses its trainer
def test_two_processes_train_a_reader_as_one_does(tmp_path):
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        out = manager.dict()
        both = [context.Process(target=_reader, args=(r, tmp_path, out)) for r in range(2)]
        for process in both:
            process.start()
        for process in both:
            process.join(300)
        (one, two) = (out[rank] for rank in range(2))
    loss, gradients = reader_gradients(slice(None))
    for of in (one, two):
        assert of[0] == pytest.approx(loss, rel=1e-5)
        assert set(of[1]) == set(gradients)
        for name, gradient in gradients.items():
            np.testing.assert_allclose(of[1][name], gradient.numpy(), rtol=1e-4, atol=1e-5)
        assert of[2] == [0, 1, 2, 3, 4]
    drawn = [a + b for a, b in zip(one[3], two[3], strict=True)]
    assert [len(batch) for batch in drawn] == [4, 4]
    assert len({number for batch in drawn for number in batch}) == 8  # nobody twice


@pytest.fixture
def second_of_three(monkeypatch):
    monkeypatch.setattr(ranks, "world", lambda: 3)
    monkeypatch.setenv("RANK", "1")


@pytest.mark.usefixtures("second_of_three")
def test_a_batch_is_parted_evenly_or_refused():
    assert ranks.share(list(range(12))) == [4, 5, 6, 7]
    with pytest.raises(ConfigError, match="a batch of 10 can't be shared evenly by 3 processes"):
        ranks.share(list(range(10)))


@pytest.mark.usefixtures("second_of_three")
@pytest.mark.parametrize("count", [1, 2, 3, 7, 9])
def test_rows_that_were_parted_come_back_in_order(count, monkeypatch):
    parts = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        rows = ranks.EvenRows(range(count))
        assert len(list(rows)) == len(rows)
        parts += rows
    monkeypatch.setattr(ranks, "gather", lambda _: torch.tensor(parts))
    assert ranks.in_order(torch.empty(0), count).tolist() == list(range(count))


def test_a_comparison_is_refused_to_several_processes(monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="torchrun started 2 processes, and a comparison runs"):
        compare([tmp_path / "x.toml"], tmp_path)

"""Time the losses over all triplets of a batch beside pytorch-metric-learning, on the CPU.

    python benchmarks/losses.py [B]... [--processor]

Random descriptors of 128 numbers under two kinds of labels: "grades" are five DR grades as
often as in screening, "subjects" have 4 images each. A time is the median of a forward and a
backward pass. MB is by how much the peak resident memory of a fresh process grew in a first
call of ours. "same" says whether both values agree to 1e-5 of the value.
Theirs is skipped where it would need more memory than most machines have.

With --processor the seconds are those of the processor, for a machine that does other work.
"""

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.losses import TripletMarginLoss
from torch import Tensor

from foveola.losses import ada_triplet_loss, fine_triplet_loss, triplet_loss

D = 128
MARGIN = 0.25
GRADES = (0.735, 0.069, 0.151, 0.025, 0.020)  # shares of DR 0 to 4 in the Kaggle set
PER_SUBJECT = 4
SIZES = (64, 128, 256, 512, 1024, 2048, 4096)
# pytorch-metric-learning holds some 150 bytes a triplet: 60 million would fill 9 GB
MOST_TRIPLETS = 60_000_000
LEAST, MOST, ENOUGH = 3, 15, 2.0  # repeats, and seconds after which LEAST will do

Loss = Callable[[Tensor, Tensor], Tensor]
OURS: dict[str, Loss] = {
    "triplet": lambda e, labels: triplet_loss(e, labels, margin=MARGIN),
    "ada semihard": lambda e, labels: ada_triplet_loss(e, labels, mining="semihard"),
    "fine": lambda e, labels: fine_triplet_loss(e, labels),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES)
    parser.add_argument("--processor", action="store_true")
    options = parser.parse_args()
    clock = time.process_time if options.processor else time.perf_counter
    kind = "processor" if options.processor else "wall"
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {kind} seconds")
    names = ("labels", "B", "triplets", "loss", "ours s", "MB", "theirs s", "ratio", "ours", "same")
    print(row(names))
    for setting in ("grades", "subjects"):
        for size in options.sizes:
            for name in OURS:
                print(row(measure(setting, size, name, clock)), flush=True)


def row(cells: list[str] | tuple[str, ...]) -> str:
    return "".join(f"{cell:>14}" for cell in cells)


def batch(setting: str, size: int) -> tuple[Tensor, Tensor]:
    """(B, D) descriptors and (B,) labels, the same in each process."""
    rng = np.random.default_rng(0)
    labels = rng.choice(len(GRADES), size, p=GRADES) if setting == "grades" else np.arange(size) // PER_SUBJECT
    descriptors = rng.normal(size=(size, D)).astype(np.float32)
    return torch.from_numpy(descriptors).requires_grad_(), torch.from_numpy(labels)


def measure(setting: str, size: int, name: str, clock: Callable[[], float]) -> list[str]:
    e, labels = batch(setting, size)
    alike = labels.bincount()[labels]
    triplets = int(((alike - 1) * (size - alike)).sum())
    seconds, value = median_seconds(OURS[name], e, labels, clock)
    cells = [setting, str(size), str(triplets), name, f"{seconds:.4f}"]
    cells.append(f"{in_a_fresh_process(setting, size, name):.0f}")
    if name != "triplet":
        return [*cells, "", "", f"{value:.6f}"]
    if triplets > MOST_TRIPLETS:
        return [*cells, "skipped", "", f"{value:.6f}"]
    theirs = TripletMarginLoss(margin=MARGIN, distance=CosineSimilarity())
    slow, expected = median_seconds(theirs, e, labels, clock)
    same = abs(value - expected) <= 1e-5 * abs(expected)
    cells += [f"{slow:.4f}", f"{slow / seconds:.1f}", f"{value:.6f}"]
    return [*cells, "yes" if same else f"no: {expected:.6f}"]


def median_seconds(loss: Loss, e: Tensor, labels: Tensor, clock: Callable[[], float]) -> tuple[float, float]:
    """Median time of a pass forth and back after one that does not count, and the loss."""
    value, times = step(loss, e, labels), []
    while len(times) < LEAST or (len(times) < MOST and sum(times) < ENOUGH):
        begin = clock()
        step(loss, e, labels)
        times.append(clock() - begin)
    return statistics.median(times), value


def step(loss: Loss, e: Tensor, labels: Tensor) -> float:
    e.grad = None
    value = loss(e, labels)
    value.backward()
    return value.item()


def in_a_fresh_process(setting: str, size: int, name: str) -> float:
    # Not spawned: Linux hands a parent's peak on to what it executes, and a new process would
    # begin with the gigabytes of the last measurement. The fork server stays small.
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(added_megabytes, setting, size, name).result()


def added_megabytes(setting: str, size: int, name: str) -> float:
    """By how much a call raises the peak of this process, after a tiny call that loads things."""
    step(OURS[name], *batch(setting, 16))
    e, labels = batch(setting, size)
    before = peak()
    step(OURS[name], e, labels)
    return (peak() - before) / 1e6


def peak() -> int:
    """Bytes of resident memory at most so far; Linux counts in KiB."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()

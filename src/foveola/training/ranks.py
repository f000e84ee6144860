"""Several processes that train as one, a device each.

    torchrun --nproc-per-node 2 -m foveola train recipe.toml runs/one

Each process takes its part of every batch, and the losses see the parts of all, so that the run
is that of one process with the whole batch: but for batch normalisation that still learns, whose
means are those of a part. The first process prepares, reports and exports.
"""

import os
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import BatchSampler, Sampler

from foveola.errors import ConfigError
from foveola.losses.pairs import gather

S = TypeVar("S", list[int], Tensor)

_PATIENCE = timedelta(days=1)  # of the others while the first prepares or exports


def started() -> int:
    """Return how many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Return which of them this is, from 0."""
    return int(os.environ.get("RANK", "0"))


def first() -> bool:
    """Tell whether this is the process that prepares, reports and exports."""
    return rank() == 0


def world() -> int:
    """Return how many processes train together now."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


@contextmanager
def joined() -> Iterator[None]:
    """Meet the other processes that torchrun started, and part when all are done."""
    if started() == 1 or world() > 1:
        yield
        return
    gpus = torch.cuda.is_available()
    if gpus:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if gpus else "gloo", timeout=_PATIENCE)
    yield  # after an error nobody is waited for: torchrun ends the others
    dist.barrier()
    dist.destroy_process_group()


@contextmanager
def first_before_others() -> Iterator[None]:
    """Let the first process do something, then the others, who find what it wrote."""
    if world() > 1 and not first():
        dist.barrier()
    yield
    if world() > 1 and first():
        dist.barrier()


def share(batch: S) -> S:
    """Return this process's part of a batch: numbers of images, or rows of a tensor.

    Raises:
        ConfigError: it can't be parted evenly.
    """
    size, rest = divmod(len(batch), world())
    if rest:
        raise ConfigError(
            f"a batch of {len(batch)} can't be shared evenly by {world()} processes; "
            "change the batch size or --nproc-per-node"
        )
    start = size * (rank() if world() > 1 else 0)
    return batch[start : start + size]


class SharedBatches(Sampler[list[int]]):
    """This process's part of each batch; the batches are those that the first process draws."""

    def __init__(self, batches: BatchSampler) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        drawn = [list(self.batches)]
        if world() > 1:
            dist.broadcast_object_list(drawn)
        yield from map(share, drawn[0])


class EvenRows(Sampler[int]):
    """Every W-th of N rows; some come twice where N is not a multiple of W processes."""

    def __init__(self, rows: Sized) -> None:
        self.count = len(rows)

    def __len__(self) -> int:
        return -(-self.count // world())

    def __iter__(self) -> Iterator[int]:
        begin = rank() if world() > 1 else 0
        return ((begin + i * world()) % self.count for i in range(len(self)))


def in_order(mine: Tensor, count: int) -> Tensor:
    """Gather what all processes made of the rows that EvenRows gave them: (count, ...) in order."""
    everyone = gather(mine)
    parts = everyone.reshape(world(), -1, *everyone.shape[1:])
    return parts.transpose(0, 1).flatten(0, 1)[:count]

"""Descriptors of all ranks in one batch, with gradients back to each."""

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_gather


def gather_batch(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The batch over all ranks of torch.distributed, in their order; itself without them.

    A loss on the gathered batch, the same on each rank, sends each rank the gradient of its own
    descriptors times the number of ranks, which DistributedDataParallel's mean undoes. So W
    ranks of B / W images train exactly as one of B.

    Args:
        embeddings: (B, D), B the same on every rank.
        labels: (B,) or (B, L).

    Returns:
        (W B, D) and (W B,) or (W B, L).
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return embeddings, labels
    gathered: list[Tensor] = [torch.empty_like(labels) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, labels.contiguous())
    everyone = all_gather(embeddings.contiguous())  # type: ignore[no-untyped-call]
    return torch.cat(tuple(everyone)), torch.cat(gathered)

"""Descriptors of all ranks in one batch, with gradients back to each."""

import torch
import torch.distributed as dist
from torch import Tensor


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
    return gather(embeddings), gather(labels)


def gather(values: Tensor) -> Tensor:
    """(B, ...) of this rank -> (W B, ...) of all in their order, with gradients back to each."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return values
    fixed, ranks = values.detach().contiguous(), dist.get_world_size()
    gathered = [torch.empty_like(fixed) for _ in range(ranks)]
    dist.all_gather(gathered, fixed)
    if values.requires_grad:
        # each rank has the whole loss, so the gradient of its own part needs no other rank
        gathered[dist.get_rank()] = fixed + ranks * (values - fixed)
    return torch.cat(gathered)

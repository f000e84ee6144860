"""Which pairs of a batch are alike, and how similar their descriptors are.

Every loss here takes what pytorch-metric-learning's losses take, so its miners, samplers and
wrappers work with ours. This module turns those arguments into three matrices, in single precision
at least: under autocast a product of matrices is rounded to half precision, cosines then step by
1 / 256, more than what is left between two descriptors near convergence, and counts overflow.
What is not finite gives NaN, not 0. `gather` makes one batch of those of several processes.

Letters: A anchors, R references (the anchors themselves unless others are given), D of the
descriptors, L possible findings.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple, ParamSpec, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import normalize

P = ParamSpec("P")

# Pairs (a, p, a', n) or triplets (a, p, n), as pytorch-metric-learning's miners return them.
Indices = tuple[Tensor, ...]


class Pairs(NamedTuple):
    """A batch as the losses see it."""

    similarity: Tensor  # (A, R) cosine, float32 or float64
    positive: Tensor  # (A, R) bool; never a descriptor with itself
    negative: Tensor  # (A, R) bool


def pairs_of(
    embeddings: Tensor,
    labels: Tensor | None,
    indices_tuple: Indices | None = None,
    ref_emb: Tensor | None = None,
    ref_labels: Tensor | None = None,
    *,
    positive_from: float = 0.5,
) -> Pairs:
    """Compute cosine similarities with their positives and negatives.

    Args:
        embeddings: (A, D) float of any length; half precision is widened to float32.
        labels: (A,) int, equal for alike; or (A, L) bool, the findings of each image, whose
            Jaccard index then decides. May be None where indices_tuple is given.
        indices_tuple: only these pairs count.
        ref_emb: (R, D) to compare with instead of the batch.
        ref_labels: (R,) or (R, L), of these.
        positive_from: Jaccard index from which two sets of findings are alike, in (0, 1].
            Sets that share nothing are unlike; what lies between is neither.

    Raises:
        ValueError: shapes that do not fit, or labels that are none; see `check`.
    """
    check(embeddings, labels, indices_tuple, ref_emb, ref_labels)
    with without_autocast(embeddings):
        anchors = unit(embeddings)
        references = anchors if ref_emb is None else unit(ref_emb)
        similarity = anchors @ references.mT
    if indices_tuple is not None:
        return Pairs(similarity, *_chosen(similarity.shape, indices_tuple, similarity.device))
    assert labels is not None  # noqa: S101 - check saw to it
    other = labels if ref_labels is None else ref_labels
    alike, unlike = relevance(labels, other, positive_from)
    if ref_emb is None:
        alike.fill_diagonal_(False)  # nobody is their own positive; nor their negative, as they are
    return Pairs(similarity, alike, unlike)


def pair_loss(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Let a loss on pairs compute without autocast, and be NaN of what says nothing.

    That is a descriptor that is not finite, and descriptors that are all zero: no pair of them has
    an angle, and the loss of hinges would be 0 with a gradient of 0. One zero among others has
    cosine 0 with all of them, and its own gradient is 0.
    """

    @wraps(function)
    def computed(
        embeddings: Tensor,
        labels: Tensor | None,
        indices_tuple: Indices | None = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
        **settings: Any,
    ) -> Tensor:
        every: Any = (embeddings, labels, indices_tuple, ref_emb, ref_labels)
        check_tensors(embeddings=embeddings, labels=labels, ref_emb=ref_emb, ref_labels=ref_labels)
        with without_autocast(embeddings):
            loss = function(*every, **settings)
        for some in (embeddings, ref_emb):
            if some is not None and some.numel():
                loss = loss * torch.where(some.detach().any(), 1.0, torch.nan)
        return nan_unless_finite(loss, embeddings, ref_emb)

    return cast(Callable[P, Tensor], computed)


def unit(embeddings: Tensor) -> Tensor:
    """(B, D) -> (B, D) of unit length, in float32 at least; zeros stay zeros."""
    return normalize(near_one(wide(embeddings)), dim=1)


def once(negative: Tensor) -> Tensor:
    """(B, B) bool pairs of a batch with itself -> each unordered pair once."""
    return (negative | negative.mT).triu(1)


def relevance(labels: Tensor, other: Tensor, positive_from: float = 0.5) -> tuple[Tensor, Tensor]:
    """(A, R) bool twice: which pairs are alike, and which are unlike."""
    if labels.ndim == 1:
        same = labels[:, None] == other[None, :]
        return same, ~same
    index = jaccard(labels, other)
    return index >= positive_from, index == 0


def jaccard(labels: Tensor, other: Tensor) -> Tensor:
    """Compute shared findings / findings of either, (A, L) and (R, L) bool -> (A, R) float.

    >>> sets = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.bool)
    >>> jaccard(sets, sets)[0].tolist()
    [1.0, 0.5, 0.0]


    NaN where either image has no finding at all: nothing is known of the pair, and every
    comparison with NaN is false. A healthy eye has the finding "normal".
    """
    a, b = labels.float(), other.float()
    with without_autocast(a):
        shared = a @ b.mT
    size_a, size_b = a.sum(1)[:, None], b.sum(1)[None, :]
    index = shared / (size_a + size_b - shared).clamp(min=1)
    return index.masked_fill((size_a == 0) | (size_b == 0), torch.nan)


def _chosen(shape: torch.Size, indices: Indices, device: torch.device) -> tuple[Tensor, Tensor]:
    """Masks of the pairs that a miner chose; the losses combine those of each anchor."""
    positive = torch.zeros(shape, dtype=torch.bool, device=device)
    negative = torch.zeros_like(positive)
    anchors_p, p, *rest = indices
    anchors_n, n = rest if len(rest) == 2 else (anchors_p, rest[0])
    positive[anchors_p, p] = True
    negative[anchors_n, n] = True
    return positive, negative


def check(
    embeddings: Tensor,
    labels: Tensor | None,
    indices: Indices | None = None,
    ref_emb: Tensor | None = None,
    ref_labels: Tensor | None = None,
) -> None:
    """Refuse what would be compared in silence to no end; see `pairs_of` for the shapes.

    Raises:
        ValueError: embeddings that are no matrix, labels for other images or of one column,
            sets that are not of 0 and 1, or references without labels.
    """
    check_tensors(embeddings=embeddings, labels=labels, ref_emb=ref_emb, ref_labels=ref_labels)
    if embeddings.ndim != 2:
        raise ValueError(f"expected embeddings (B, D), got {tuple(embeddings.shape)}")
    if labels is None and indices is None:
        raise ValueError("expected labels, or indices_tuple that says which pairs are alike")
    if labels is not None:
        _check_labels(labels, embeddings, "embeddings (B, D) and labels (B,) or (B, L)")
    if indices is not None and len(indices) not in (3, 4):
        raise ValueError(f"expected 3 or 4 index tensors in indices_tuple, got {len(indices)}")
    if ref_emb is None:
        return
    if ref_emb.ndim != 2 or ref_emb.shape[1] != embeddings.shape[1]:
        raise ValueError(f"expected ref_emb (R, {embeddings.shape[1]}), got {tuple(ref_emb.shape)}")
    if ref_labels is not None:
        _check_labels(ref_labels, ref_emb, f"ref_labels ({len(ref_emb)},) beside ref_emb")
    if indices is None and (ref_labels is None or ref_labels.shape[1:] != labels.shape[1:]):  # type: ignore[union-attr]
        got = None if ref_labels is None else tuple(ref_labels.shape)
        raise ValueError(f"expected ref_labels ({len(ref_emb)},) beside ref_emb, got {got}")


def _check_labels(labels: Tensor, of: Tensor, expected: str) -> None:
    if labels.ndim not in (1, 2) or len(labels) != len(of):
        shapes = f"{tuple(of.shape)} and {tuple(labels.shape)}"
        raise ValueError(f"expected {expected}, got {shapes}")
    if labels.ndim == 2 and labels.shape[1] == 1:
        raise ValueError(
            f"labels are {tuple(labels.shape)}, sets of one finding, in which nothing is unlike; "
            f"expected ({len(of)},), which labels[:, 0] is"
        )
    if labels.ndim == 2 and not ((labels == 0) | (labels == 1)).all():
        raise ValueError("labels (B, L) are sets of findings; expected 0 and 1, or bool")
    if labels.is_floating_point() and not labels.isfinite().all():
        raise ValueError("labels are not all finite; expected whole numbers")


def wide(values: Tensor) -> Tensor:
    """Return float64 as it is, and everything else as float32."""
    return values if values.dtype == torch.float64 else values.float()


def near_one(rows: Tensor) -> Tensor:
    """Return float (B, D) with each row's greatest value brought to 0.5 to 1 by a power of two.

    No bit of an angle changes by it, but squares of 1e20 overflow in float32, and those of 1e-23
    are nothing.
    """
    if not rows.numel():
        return rows
    return torch.ldexp(rows, -torch.frexp(rows.detach().abs().amax(1, keepdim=True)).exponent)


def without_autocast(like: Tensor) -> torch.autocast:
    """Switch autocast off, as a context, on the device of a tensor."""
    return torch.autocast(like.device.type, enabled=False)


def check_tensors(**given: object) -> None:
    """Refuse what is no tensor, by name; None is left out.

    Raises:
        TypeError: one is something else.
    """
    for name, value in given.items():
        if value is not None and not isinstance(value, Tensor):
            raise TypeError(
                f"expected {name} as a torch.Tensor, got {type(value).__name__}; torch.as_tensor "
                "makes one of a list or an array"
            )


def nan_unless_finite(loss: Tensor, *given: Tensor | None) -> Tensor:
    """Return a () loss as it is, or NaN with a gradient of NaN where a tensor is not finite.

    Hinges drop what compares with nothing, and the mean over no term is 0: a loss that looks
    perfect. A gradient of NaN is what a `GradScaler` skips a step for.
    """
    for each in given:
        if each is not None:
            loss = loss * torch.where(each.detach().isfinite().all(), 1.0, torch.nan)
    return loss


def gather_batch(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the batch over all ranks of torch.distributed, in their order; itself without them.

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

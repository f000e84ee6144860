"""Which pairs of a batch are alike, and how similar their descriptors are.

Every loss here takes what pytorch-metric-learning's losses take, so its miners, samplers and
wrappers work with ours. This module turns those arguments into three matrices.

Letters: A anchors, R references (the anchors themselves unless others are given), D of the
descriptors, L possible findings.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

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
    """Cosine similarities with their positives and negatives.

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
        ValueError: shapes that do not fit.
    """
    _check(embeddings, labels, ref_emb, ref_labels, indices_tuple)
    anchors = unit(embeddings)
    references = anchors if ref_emb is None else unit(ref_emb)
    similarity = anchors @ references.mT
    if indices_tuple is not None:
        return Pairs(similarity, *_chosen(similarity.shape, indices_tuple, similarity.device))
    assert labels is not None  # noqa: S101 - _check saw to it
    other = labels if ref_labels is None else ref_labels
    alike, unlike = relevance(labels, other, positive_from)
    if ref_emb is None:
        alike.fill_diagonal_(False)  # nobody is their own positive; nor their negative, as they are
    return Pairs(similarity, alike, unlike)


def unit(embeddings: Tensor) -> Tensor:
    """(B, D) -> (B, D) of unit length, in float32 at least."""
    wide = embeddings if embeddings.dtype == torch.float64 else embeddings.float()
    return normalize(wide, dim=1)


def relevance(labels: Tensor, other: Tensor, positive_from: float = 0.5) -> tuple[Tensor, Tensor]:
    """(A, R) bool twice: which pairs are alike, and which are unlike."""
    if labels.ndim == 1:
        same = labels[:, None] == other[None, :]
        return same, ~same
    index = jaccard(labels, other)
    return index >= positive_from, index == 0


def jaccard(labels: Tensor, other: Tensor) -> Tensor:
    """Shared findings / findings of either, (A, L) and (R, L) bool -> (A, R) float.

    NaN where either image has no finding at all: nothing is known of the pair, and every
    comparison with NaN is false. A healthy eye has the finding "normal".
    """
    a, b = labels.float(), other.float()
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


def _check(
    embeddings: Tensor,
    labels: Tensor | None,
    ref_emb: Tensor | None,
    ref_labels: Tensor | None,
    indices: Indices | None,
) -> None:
    if embeddings.ndim != 2:
        raise ValueError(f"expected embeddings (B, D), got {tuple(embeddings.shape)}")
    if labels is None and indices is None:
        raise ValueError("expected labels, or indices_tuple that says which pairs are alike")
    if labels is not None and (labels.ndim not in (1, 2) or len(labels) != len(embeddings)):
        raise ValueError(
            "expected embeddings (B, D) and labels (B,) or (B, L), got "
            f"{tuple(embeddings.shape)} and {tuple(labels.shape)}"
        )
    if indices is not None and len(indices) not in (3, 4):
        raise ValueError(f"expected 3 or 4 index tensors in indices_tuple, got {len(indices)}")
    if ref_emb is None:
        return
    if ref_emb.ndim != 2 or ref_emb.shape[1] != embeddings.shape[1]:
        raise ValueError(f"expected ref_emb (R, {embeddings.shape[1]}), got {tuple(ref_emb.shape)}")
    if indices is None and (ref_labels is None or len(ref_labels) != len(ref_emb)):
        got = None if ref_labels is None else tuple(ref_labels.shape)
        raise ValueError(f"expected ref_labels ({len(ref_emb)},) beside ref_emb, got {got}")

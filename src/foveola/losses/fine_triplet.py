"""The fine triplet loss: positives are pulled by their self-supervised degree of relevance.

The descriptor is two halves side by side, one for each mirror view: e = [a; b]. An image whose
halves agree is a typical one; the ratio of two images' agreement says how far they are the
same kind of positive:

    r_i  = cos(a_i, b_i)           agreement of an image's own halves, needs no label
    d_ij = r_j / r_i               relevance degree of the pair (i, j)

Source: Fang et al., Biomed. Signal Process. Control 80 (2023) 104277, in the form of its
author's repository fjssharpsword/FundusDR at 1b050ef. The clamp of r, and the options
`symmetric` and `detach_degree`, are ours.
"""

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, relu, softplus

from foveola.losses.pairs import Indices, near_one, pair_loss, pairs_of, wide
from foveola.losses.triplet import hinge_mean

LEAST_AGREEMENT = 0.05  # a degree is a ratio: an agreement near 0 would make it explode


@pair_loss
def fine_triplet_loss(
    embeddings: Tensor,
    labels: Tensor | None,
    indices_tuple: Indices | None = None,
    ref_emb: Tensor | None = None,
    ref_labels: Tensor | None = None,
    *,
    margin: float = 0.25,
    scale: float = 1.0,
    symmetric: bool = False,
    detach_degree: bool = False,
    positive_from: float = 0.5,
) -> Tensor:
    """Compute the circle loss over all pairs, with the relevance degree for the scale of positives.

        L = log(1 + sum_P exp(-d_ij ap_ij (s_ij - 1 + m)) * sum_N exp(scale an_ij (s_ij - m)))
        ap_ij = [1 + m - s_ij]+,   an_ij = [s_ij + m]+

    P and N are the pairs i < j of the batch, alike and unlike; all pairs (i, j) where there are
    references. The weights ap and an are part of the gradient, as in the author's code.

    Args:
        embeddings: (A, 2 D) float, the two halves side by side; normalised here.
        labels: (A,) int or (A, L) bool findings, see `pairs_of`.
        indices_tuple: only these pairs count, in the order in which the miner gives them.
        ref_emb: (R, D) to compare with instead of the batch itself.
        ref_labels: of these.
        margin: m, in (0, 1).
        scale: of the negatives' term, above 0.
        symmetric: take the smaller agreement over the larger, so that a degree is at most 1 and
            does not depend on the order of the batch. The author's does.
        detach_degree: no gradient through the degree.
        positive_from: Jaccard index from which findings are alike.

    Returns:
        () float, differentiable in every case; 0 where P or N is empty.

    Raises:
        ValueError: an odd number of columns: there are no two halves.
    """
    pairs = pairs_of(embeddings, labels, indices_tuple, ref_emb, ref_labels, positive_from=positive_from)
    degree = relevance_degree(embeddings, ref_emb, symmetric=symmetric)
    s, d = pairs.similarity, degree.detach() if detach_degree else degree
    positive, negative = pairs.positive, pairs.negative
    if ref_emb is None and indices_tuple is None:
        positive, negative = positive.triu(1), negative.triu(1)
    pull = -d * relu(1 + margin - s) * (s - 1 + margin)
    push = scale * relu(s + margin) * (s - margin)
    if not (positive.any() and negative.any()):
        return (pull.sum() + push.sum()) * 0
    return softplus(pull[positive].logsumexp(0) + push[negative].logsumexp(0))


def relevance_degree(embeddings: Tensor, ref_emb: Tensor | None = None, *, symmetric: bool = False) -> Tensor:
    """(A, 2 D) and (R, 2 D) -> (A, R) degrees d_ij = r_j / r_i.

    With symmetric the smaller agreement over the larger.
    """
    ours = _agreement(embeddings)[:, None]
    theirs = ours.mT if ref_emb is None else _agreement(ref_emb)[None, :]
    if symmetric:
        return torch.minimum(ours, theirs) / torch.maximum(ours, theirs)
    return theirs / ours


def _agreement(embeddings: Tensor) -> Tensor:
    """(B, 2 D) -> (B,) r = cos(a, b) of each row, in [LEAST_AGREEMENT, 1]."""
    if embeddings.shape[1] % 2:
        raise ValueError(f"expected two halves side by side, got {embeddings.shape[1]} columns, an odd number")
    a, b = map(near_one, wide(embeddings).chunk(2, dim=1))
    return cosine_similarity(a, b, dim=1).clamp(LEAST_AGREEMENT, 1)


@pair_loss
def fine_triplet_hinge_loss(
    embeddings: Tensor,
    labels: Tensor | None,
    indices_tuple: Indices | None = None,
    ref_emb: Tensor | None = None,
    ref_labels: Tensor | None = None,
    *,
    margin: float = 0.25,
    weight: float = 1.0,
    detach_degree: bool = False,
    positive_from: float = 0.5,
) -> Tensor:
    """Compute our reading with an explicit hinge; the printed paper's form is not known.

        mean of [D_ap - D_an + m]+ over triplets above zero
          + weight * mean of [D_ap - (1 - d_ap)]+ over positive pairs
        D = 1 - s,  d the symmetric relevance degree

    Two positives of the same kind (d = 1) are drawn together wholly, others only as far as
    1 - d. Arguments as in `fine_triplet_loss`.
    """
    pairs = pairs_of(embeddings, labels, indices_tuple, ref_emb, ref_labels, positive_from=positive_from)
    degree = relevance_degree(embeddings, ref_emb, symmetric=True)
    d = degree.detach() if detach_degree else degree
    beyond = relu(1 - pairs.similarity - (1 - d)) * pairs.positive
    return hinge_mean(pairs, margin) + weight * beyond.sum() / pairs.positive.sum().clamp(min=1)

"""AdaTriplet: a triplet loss with a second hinge on the negatives.

Source: Nguyen, Nguyen and Tiulpin, MICCAI 2022 (arXiv:2205.02849) and its repository
Oulu-IMEDS/AdaTriplet at 60073c5, from which the defaults are.
"""

from torch import Tensor

from foveola.losses.pairs import Indices, once, pair_loss, pairs_of
from foveola.losses.triplet import Mining, hinge_mean, listed, mean_above_zero


@pair_loss
def ada_triplet_loss(
    embeddings: Tensor,
    labels: Tensor | None,
    indices_tuple: Indices | None = None,
    ref_emb: Tensor | None = None,
    ref_labels: Tensor | None = None,
    *,
    margin: float = 0.25,
    beta: float = 0.0,
    weight: float = 1.0,
    mining: Mining = "semihard",
    positive_from: float = 0.5,
) -> Tensor:
    """AdaTriplet over every triplet and every negative pair of the batch.

        mean of [s_an - s_ap + margin]+ over mined triplets above zero
          + weight * mean of [s_an - beta]+ over negative pairs with s_an >= beta

    With the authors' mining, "semihard", the first term never sees a triplet with
    s_an >= s_ap: such a negative is pushed away by the second term alone, without pulling at
    the positive. That is the point of the loss.

    A pair of images counts as a negative even if neither has a positive in the batch, which
    can't happen in the authors' P x K batches. A batch of one label, or of one image, has
    loss 0.

    Args:
        embeddings: (A, D) float, normalised here.
        labels: (A,) int or (A, L) bool findings, see `pairs_of`.
        indices_tuple: triplets of a miner count as they are, without further mining, and
            their negative pairs once each; of pairs, all combinations of an anchor's.
        ref_emb: (R, D) to compare with instead of the batch itself.
        ref_labels: of these.
        margin: by which s_ap should exceed s_an, in [0, 2].
        beta: cosine that a negative pair may keep, in [-1, 1].
        weight: of the second term; 0 leaves the triplet loss.
        mining: "semihard" (the authors'), "all" or "hard", see `triplet_loss`.
        positive_from: Jaccard index from which findings are alike.

    Returns:
        () float, differentiable in every case.
    """
    pairs = pairs_of(embeddings, labels, indices_tuple, ref_emb, ref_labels, positive_from=positive_from)
    if indices_tuple is not None and len(indices_tuple) == 3:
        triplet = mean_above_zero(margin - listed(embeddings, labels, indices_tuple, ref_emb))
    else:
        triplet = hinge_mean(pairs, margin, mining)
    negative = pairs.negative
    if ref_emb is None:
        negative = once(negative)
    near = negative & (pairs.similarity >= beta)
    excess = ((pairs.similarity - beta) * near).sum() / near.sum().clamp(min=1)
    return triplet + weight * excess

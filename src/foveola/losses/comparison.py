"""Rivals of AdaTriplet that pytorch-metric-learning does not have: SCT and WAT.

Letters as in `pairs`: s_ap and s_an are cosines of an anchor with a positive and a negative.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import softplus

from foveola.losses.pairs import Indices, Pairs, pair_loss, pairs_of
from foveola.losses.triplet import listed, triplet_sums


@pair_loss
def sct_loss(
    embeddings: Tensor,
    labels: Tensor | None,
    indices_tuple: Indices | None = None,
    ref_emb: Tensor | None = None,
    ref_labels: Tensor | None = None,
    *,
    weight: float = 1.0,
    temperature: float = 0.1,
) -> Tensor:
    """Selectively contrastive triplet loss (SCT).

    The mean over all triplets of

        weight * s_an                                    where s_an > s_ap
        log(1 + exp((s_an - s_ap) / temperature))        elsewhere

    A negative nearer than the positive is pushed away on its own; pulling the positive in at
    the same time is what makes plain triplets collapse.

    Source: Xuan et al., ECCV 2020 (arXiv:2007.12749), weight 1 and temperature 0.1. Triplets
    from a miner come in as pairs: each anchor's positives meet each of its negatives.

    Returns:
        () float. Time grows as B^3 and memory as B^2 rows at a time: use B of a few hundred.
    """
    pairs = pairs_of(embeddings, labels, indices_tuple, ref_emb, ref_labels)
    total, count = pairs.similarity.sum() * 0, 0
    for p, n in _each_anchor(pairs):
        difference = n[None, :] - p[:, None]
        hard = difference > 0
        easy = softplus(difference / temperature)
        total = total + torch.where(hard, weight * n[None, :].expand_as(hard), easy).sum()
        count += difference.numel()
    return total / max(1, count)


def _each_anchor(pairs: Pairs) -> Iterator[tuple[Tensor, Tensor]]:
    for s, positive, negative in zip(*pairs, strict=True):
        if positive.any() and negative.any():
            yield s[positive], s[negative]


@pair_loss
def wat_loss(
    embeddings: Tensor,
    labels: Tensor | None,
    indices_tuple: Indices | None = None,
    ref_emb: Tensor | None = None,
    ref_labels: Tensor | None = None,
    *,
    least: float = 0.1,
) -> Tensor:
    """Triplet loss whose margin grows where a triplet is hard.

        d = s_ap - s_an,   m(d) = (2 - 2 d) / (4 - least) + least   (a constant in the gradient)
        mean of [m(d) - d]+ over the terms above zero

    Source: Zhao et al., ICCV workshops 2019, as "weakly adaptive triplet" in the AdaTriplet
    repository (60073c5), which gives `least` no default of its own; 0.1 is ours.
    """
    slope = 2 / (4 - least)
    offset = slope + least  # m(d) - d = offset - (1 + slope) d, above zero below this:
    edge = offset / (1 + slope)
    if indices_tuple is not None and len(indices_tuple) == 3:
        d = listed(embeddings, labels, indices_tuple, ref_emb)
        above = d < edge
        difference, count = -(d * above).sum(), above.sum()
    else:
        pairs = pairs_of(embeddings, labels, indices_tuple, ref_emb, ref_labels)
        difference, count = triplet_sums(pairs, edge)
    number = count.to(difference.dtype)
    margins = offset * number + slope * difference.detach()
    return (difference + margins) / number.clamp(min=1)

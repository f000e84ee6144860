"""Triplet losses over every triplet of a batch, without a tensor that holds every triplet.

The plain one, AdaTriplet, and two rivals that pytorch-metric-learning does not have: SCT and WAT.

A batch of B descriptors has up to B^3 triplets (anchor, positive, negative). For one anchor and
one positive, though, the negatives that count are an interval of the anchor's sorted negatives,
and what the loss needs of them is their number and their sum:

    sort each anchor's negatives; prefix sums; the interval's ends by binary search

which takes O(B^2 log B) time and O(B^2) memory and is exact, in value and in gradient.

Letters: A anchors, R references, P at most positives and N negatives of an anchor, s a cosine of
an anchor with a positive (s_ap) or a negative (s_an).
"""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad, softplus

from foveola.losses.pairs import Indices, Pairs, check, once, pair_loss, pairs_of, unit

Mining = Literal["all", "hard", "semihard"]

# Anchors taken at a time; bounds the temporary tensors at B = 4096 to some 100 MB.
ROWS = 256

# Up to this many positives an anchor, a comparison of each with every negative is cheaper than a
# sort: by half at 3 positives and B = 512, not at 15.
FEW = 12


@pair_loss
def triplet_loss(
    embeddings: Tensor,
    labels: Tensor | None,
    indices_tuple: Indices | None = None,
    ref_emb: Tensor | None = None,
    ref_labels: Tensor | None = None,
    *,
    margin: float = 0.25,
    mining: Mining = "all",
    positive_from: float = 0.5,
) -> Tensor:
    """Compute the triplet loss on cosines, over all triplets of the batch that mining lets through.

        mean of [s_an - s_ap + margin]+  over the terms above zero

    With mining "all" it has the value of pytorch-metric-learning's TripletMarginLoss with
    CosineSimilarity over all triplets. A batch without such a term has loss 0.

    Args:
        embeddings: (A, D) float, normalised here.
        labels: (A,) int or (A, L) bool findings, see `pairs_of`.
        indices_tuple: a miner's choice: triplets count as they are, without further mining;
            of pairs, each anchor's positives meet each anchor's negatives.
        ref_emb: (R, D) to compare with instead of the batch itself.
        ref_labels: of these.
        margin: by which s_ap should exceed s_an, 0 or above.
        mining: "all" takes s_ap - s_an <= margin, "hard" those of them with s_ap <= s_an,
            "semihard" those with s_ap > s_an.
        positive_from: Jaccard index from which findings are alike.

    Returns:
        () float, differentiable in every case.

    >>> embeddings = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> triplet_loss(embeddings, torch.tensor([1, 1, 2]), margin=0.25).item()
    0.75
    """
    if indices_tuple is not None and len(indices_tuple) == 3:
        return mean_above_zero(margin - listed(embeddings, labels, indices_tuple, ref_emb))
    pairs = pairs_of(embeddings, labels, indices_tuple, ref_emb, ref_labels, positive_from=positive_from)
    return hinge_mean(pairs, margin, mining)


def hinge_mean(pairs: Pairs, margin: float, mining: Mining = "all") -> Tensor:
    """Return the mean of s_an - s_ap + margin over the mined triplets in which it is above zero, or 0."""
    difference, count = triplet_sums(pairs, margin, mining)
    number = count.to(difference.dtype)  # margin * count would be float32
    return (difference + margin * number) / number.clamp(min=1)


def listed(embeddings: Tensor, labels: Tensor | None, triplets: Indices, ref_emb: Tensor | None = None) -> Tensor:
    """(T,) s_ap - s_an of T triplets given by their indices."""
    check(embeddings, labels, triplets, ref_emb)
    anchors = unit(embeddings)
    references = anchors if ref_emb is None else unit(ref_emb)
    a, p, n = triplets
    return (anchors[a] * (references[p] - references[n])).sum(1)


def mean_above_zero(terms: Tensor) -> Tensor:
    """Return the mean over the terms that are above zero; zero with a gradient if there is none."""
    above = terms > 0
    return (terms * above).sum() / above.sum().clamp(min=1)


def triplet_sums(pairs: Pairs, margin: float, mining: Mining = "all") -> tuple[Tensor, Tensor]:
    """Add up s_an - s_ap over the mined triplets with s_an - s_ap + margin > 0, and their number.

    A term counts as above zero where s_an > s_ap - margin in floating point.

    Returns:
        () float with a gradient to the similarities, () int64 without one.

    Raises:
        ValueError: an unknown mining, or a margin below 0.
    """
    if mining not in ("all", "hard", "semihard"):
        raise ValueError(f"mining is {mining!r}; expected 'all', 'hard' or 'semihard'")
    if not margin >= 0:
        raise ValueError(f"margin is {margin}; expected 0 or above")
    total, count = _TripletSums.apply(*pairs, float(margin), mining)
    return total, count


class _TripletSums(torch.autograd.Function):
    """The sum's gradient is a count for each pair, and is made along with the value."""

    @staticmethod
    def forward(
        ctx: Any, s: Tensor, positive: Tensor, negative: Tensor, margin: float, mining: Mining
    ) -> tuple[Tensor, Tensor]:
        gradient = torch.zeros_like(s) if ctx.needs_input_grad[0] else None
        total = s.new_zeros((), dtype=torch.float64)
        count = torch.zeros((), dtype=torch.int64, device=s.device)
        for start in range(0, len(s), ROWS):
            rows = slice(start, start + ROWS)
            into = None if gradient is None else gradient[rows]
            part, n = _rows(s[rows], positive[rows], negative[rows], margin, mining, into)
            total += part
            count += n
        ctx.mark_non_differentiable(count)
        ctx.save_for_backward(*([] if gradient is None else [gradient]))
        return total.to(s.dtype), count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_total: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        gradient = ctx.saved_tensors[0] * grad_total if ctx.saved_tensors else None
        return gradient, None, None, None, None


def _rows(
    s: Tensor, positive: Tensor, negative: Tensor, margin: float, mining: Mining, gradient: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Sum and number of terms of some anchors; their gradient is written into `gradient`."""
    at_p, p = _compact(s, positive)  # (a, P)
    one = _few_positives if p.shape[1] <= FEW else _many_positives
    total, terms = one(s, p, negative, margin, mining, gradient)
    if gradient is not None:
        gradient.scatter_add_(1, at_p, -terms.to(s.dtype))
    return total, terms.sum()


def _few_positives(
    s: Tensor, p: Tensor, negative: Tensor, margin: float, mining: Mining, gradient: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Sum of the terms and their number for each positive, (a, P); by comparison with each s."""
    total, terms = s.new_zeros((), dtype=torch.float64), []
    n = s.masked_fill(~negative, -torch.inf)  # below everything: no term
    for at in range(p.shape[1]):
        level = p[:, at : at + 1]
        counted = n > level - margin
        if mining == "hard":
            counted &= n >= level
        elif mining == "semihard":
            counted &= n < level
        # summed along a row in float32, whose terms are small, and over the rows in float64
        total += (n - level).masked_fill(~counted, 0).sum(1).double().sum()
        terms.append(counted.sum(1, keepdim=True))
        if gradient is not None:
            gradient += counted
    return total, torch.cat(terms, 1) if terms else p.long()


def _many_positives(
    s: Tensor, p: Tensor, negative: Tensor, margin: float, mining: Mining, gradient: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The same by sorting each anchor's negatives."""
    n, order = s.masked_fill(~negative, torch.inf).sort(dim=1)
    low, high = _interval(p, n, negative.sum(1, keepdim=True), margin, mining)
    known = torch.isfinite(p)
    terms = torch.where(known, high - low, 0)
    # In float64, as the difference of two long float32 sums would lose what it is after.
    prefix = pad(n.masked_fill(torch.isinf(n), 0).double().cumsum(1), (1, 0))
    sums = prefix.gather(1, high) - prefix.gather(1, low)
    total = (sums - terms * p.masked_fill(~known, 0)).masked_fill(~known, 0).sum()
    if gradient is not None:
        # A negative's gradient is the number of intervals it lies in: +1 where one starts, -1
        # where it ends, summed up along the row.
        steps = s.new_zeros(len(s), n.shape[1] + 1)
        steps.scatter_add_(1, low, known.to(s.dtype)).scatter_add_(1, high, -known.to(s.dtype))
        gradient.scatter_add_(1, order, steps.cumsum(1)[:, :-1] * torch.isfinite(n))
    return total, terms


def _compact(s: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Columns (a, M) int64 and values (a, M) of what mask chooses, padded by infinity.

    M is the most that any row has; padding points at column 0.
    """
    rows, columns = mask.nonzero(as_tuple=True)
    slot = (mask.cumsum(1) - 1)[rows, columns]
    width = int(slot.max()) + 1 if len(slot) else 0
    at = torch.zeros(len(s), width, dtype=torch.int64, device=s.device)
    values = s.new_full((len(s), width), torch.inf)
    at[rows, slot] = columns
    values[rows, slot] = s[rows, columns]
    return at, values


def _interval(p: Tensor, n: Tensor, negatives: Tensor, margin: float, mining: Mining) -> tuple[Tensor, Tensor]:
    """(a, P) twice: where in the sorted negatives each positive's terms start and end."""
    p = p.contiguous()
    low = torch.searchsorted(n, p - margin, right=True)  # the first s_an > s_ap - margin
    if mining == "all":
        high = negatives.expand_as(low)
    else:
        level = torch.searchsorted(n, p)  # the first s_an >= s_ap
        if mining == "hard":
            low, high = torch.maximum(low, level), negatives.expand_as(low)
        else:
            high = torch.maximum(low, level)
    return low.clamp(max=n.shape[1]), torch.maximum(low, high).clamp(max=n.shape[1])


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
    """Compute AdaTriplet over every triplet and every negative pair of the batch.

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

    >>> embeddings = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> ada_triplet_loss(embeddings, torch.tensor([1, 1, 2]), margin=0.25).item()
    0.5
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
    """Compute the selectively contrastive triplet loss (SCT).

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
    for s, positive, negative in zip(*pairs, strict=True):
        p, n = s[positive], s[negative]
        if not (len(p) and len(n)):
            continue
        difference = n[None, :] - p[:, None]
        hard = difference > 0
        easy = softplus(difference / temperature)
        total = total + torch.where(hard, weight * n[None, :].expand_as(hard), easy).sum()
        count += difference.numel()
    return total / max(1, count)


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
    """Compute the triplet loss whose margin grows where a triplet is hard.

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

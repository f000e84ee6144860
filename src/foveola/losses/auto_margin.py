"""AutoMargin: margin and beta of a loss from the similarities of the epoch before.

    margin = max(0, mean of (s_ap - s_an) over all triplets / k_margin)
    beta   = 1 - (1 - mean of s_an over all negative pairs) / k_beta

Source: Nguyen et al., MICCAI 2022 (arXiv:2205.02849), and Oulu-IMEDS/AdaTriplet at 60073c5.
"""

from collections.abc import Callable
from typing import Literal, Self

import torch
import torch.distributed as dist
from torch import Tensor, nn

from foveola.losses.pairs import Indices, Pairs, check_tensors, once, pairs_of

Mode = Literal["mean", "Q1", "Q2"]

BINS = 2048  # of the interval [-1, 1] of a cosine; a quantile is off by at most 1 / 512


class AutoMargin(nn.Module):
    """Collects during an epoch and sets margin and beta at its end.

        auto = AutoMargin()
        for batch in epoch:
            loss = ada_triplet_loss(e, labels, margin=auto.margin, beta=auto.beta)
            auto.update(e, labels)
        auto.step()

    The authors keep every similarity of an epoch. Here means come from running sums, which are
    exact, and quartiles from histograms, whose memory does not grow. Everything is in buffers,
    so it is part of a checkpoint; over ranks of torch.distributed the sums are added in `step`.
    They stay float64 under `half()` and the like, as float16 ends at 65504 triplets.

    Args:
        k_margin, k_beta: above 0. The authors' configuration has 2 and 2.
        margin, beta: of the first epoch.
        mode: "mean" as above; "Q1" takes the 25 % quantile of s_ap - s_an for the margin and the
            75 % quantile of s_an for beta, "Q2" both medians (the repository's alternatives).
    """

    def __init__(
        self, k_margin: float = 2.0, k_beta: float = 2.0, margin: float = 0.25, beta: float = 0.0, mode: Mode = "mean"
    ) -> None:
        super().__init__()
        if mode not in ("mean", "Q1", "Q2"):
            raise ValueError(f"mode is {mode!r}; expected 'mean', 'Q1' or 'Q2'")
        if not (k_margin > 0 and k_beta > 0):
            raise ValueError(f"k_margin and k_beta are {k_margin} and {k_beta}; expected above 0")
        self.k_margin, self.k_beta, self.mode = k_margin, k_beta, mode
        values = torch.tensor([margin, beta], dtype=torch.float64)
        self.register_buffer("_values", values)
        # sum and number of s_ap - s_an over triplets, then of s_an over negative pairs
        self.register_buffer("_sums", torch.zeros(4, dtype=torch.float64))
        bins = 0 if mode == "mean" else BINS
        self.register_buffer("_differences", torch.zeros(2 * bins, dtype=torch.float64))
        self.register_buffer("_negatives", torch.zeros(bins, dtype=torch.float64))

    @property
    def margin(self) -> float:
        """Return the margin to use now, 0 or above."""
        return float(self.get_buffer("_values")[0])

    @property
    def beta(self) -> float:
        """Return the beta to use now, at most 1."""
        return float(self.get_buffer("_values")[1])

    def _apply(self, fn: Callable[..., Tensor], recurse: bool = True) -> Self:
        """Move with the module that this is part of, but keep every digit."""
        kept = dict(self.named_buffers())
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, buffer in kept.items():
            moved = self.get_buffer(name)
            if moved.dtype != buffer.dtype:
                setattr(self, name, buffer.to(moved.device))
        return self

    @torch.no_grad()
    def update(
        self,
        embeddings: Tensor,
        labels: Tensor | None,
        indices_tuple: Indices | None = None,
        ref_emb: Tensor | None = None,
    ) -> None:
        """Take in a batch: (B, D) and (B,), or (B, L) findings.

        Where there are no labels, a miner's pairs: each anchor's positives with each of its
        negatives, among the references where there are any. A pair with a descriptor that is
        not finite is passed over.
        """
        check_tensors(embeddings=embeddings, labels=labels, ref_emb=ref_emb)
        if labels is not None:
            indices_tuple = ref_emb = None
        pairs = _finite(pairs_of(embeddings.detach(), labels, indices_tuple, ref_emb))
        apart = once(pairs.negative) if ref_emb is None else pairs.negative
        self.get_buffer("_sums").add_(_sums(pairs, apart))
        if self.mode != "mean":
            differences, negatives = _histograms(pairs, apart)
            self.get_buffer("_differences").add_(differences)
            self.get_buffer("_negatives").add_(negatives)

    @torch.no_grad()
    def step(self) -> None:
        """Set margin and beta from what was collected, and forget it.

        What was not seen, a triplet or a negative pair, leaves its value as it is.
        """
        collected = [self.get_buffer(n) for n in ("_sums", "_differences", "_negatives")]
        if dist.is_available() and dist.is_initialized():
            for buffer in collected:
                if buffer.numel():
                    dist.all_reduce(buffer)
        sums, differences, negatives = collected
        values = self.get_buffer("_values")
        if sums[1] > 0:
            values[0] = max(0.0, self._margin(sums, differences))
        if sums[3] > 0:
            values[1] = self._beta(sums, negatives)
        for buffer in collected:
            buffer.zero_()

    def _margin(self, sums: Tensor, histogram: Tensor) -> float:
        if self.mode == "mean":
            return float(sums[0] / sums[1]) / self.k_margin
        return _quantile(histogram, 0.25 if self.mode == "Q1" else 0.5, -2.0, 2.0)

    def _beta(self, sums: Tensor, histogram: Tensor) -> float:
        if self.mode == "mean":
            return 1 - (1 - float(sums[2] / sums[3])) / self.k_beta
        return _quantile(histogram, 0.75 if self.mode == "Q1" else 0.5, -1.0, 1.0)


def _finite(pairs: Pairs) -> Pairs:
    known = pairs.similarity.isfinite()
    return Pairs(pairs.similarity.nan_to_num(), pairs.positive & known, pairs.negative & known)


def _sums(pairs: Pairs, apart: Tensor) -> Tensor:
    """Sum and number of s_ap - s_an over triplets, and of s_an over the pairs apart.

    An anchor with P positives and N negatives has P N triplets, in which each positive stands
    N times and each negative P times; so no triplet need be formed.
    """
    s = pairs.similarity.double()
    p, n = pairs.positive.sum(1), pairs.negative.sum(1)
    s_p, s_n = (s * pairs.positive).sum(1), (s * pairs.negative).sum(1)
    return torch.stack([(s_p * n - s_n * p).sum(), (p * n).sum(), (s * apart).sum(), apart.sum()])


def _histograms(pairs: Pairs, apart: Tensor) -> tuple[Tensor, Tensor]:
    """Of s_ap - s_an over triplets (2 BINS from -2 to 2), and of s_an (BINS from -1 to 1).

    The first is each anchor's histogram of positives correlated with that of its negatives.
    """
    bins = ((pairs.similarity + 1) * (BINS / 2)).long().clamp(0, BINS - 1)
    p, n = _count(bins, pairs.positive), _count(bins, pairs.negative)
    spectrum = torch.fft.rfft(p, 2 * BINS) * torch.fft.rfft(n, 2 * BINS).conj()
    # lag k stands at k for k >= 0 and at 2 BINS + k below; -BINS first
    differences = torch.fft.irfft(spectrum.sum(0), 2 * BINS).roll(BINS).round()
    return differences, _count(bins, apart).sum(0)


def _count(bins: Tensor, mask: Tensor) -> Tensor:
    """(A, R) bins -> (A, BINS) float64 numbers of those in mask."""
    counts = torch.zeros(len(bins), BINS, dtype=torch.float64, device=bins.device)
    return counts.scatter_add_(1, bins, mask.double())


def _quantile(histogram: Tensor, q: float, low: float, high: float) -> float:
    """Where the cumulative histogram passes q: the middle of that bin."""
    passed = histogram.cumsum(0) >= q * histogram.sum()
    index = int(passed.to(torch.uint8).argmax())
    return low + (index + 0.5) * (high - low) / len(histogram)

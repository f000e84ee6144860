"""How an evaluation is done, and the names of what it measures."""

from dataclasses import dataclass
from typing import Literal, get_args

Exclude = Literal["subject", "eye", "visit", "none"]

WHOLE = ("mAP", "mAP@R", "R-precision", "MRR")  # of whole rankings
AT_K = ("mHR@{}", "hit@{}", "mAP@{}", "mAP@{} per hit", "nDCG@{}")


def metric_names(ks: tuple[int, ...]) -> list[str]:
    """Names of the metrics, in the order of their columns."""
    return [*(name.format(k) for name in AT_K for k in ks), *WHOLE]


@dataclass(frozen=True)
class Settings:
    """How it was evaluated; see `foveola.metrics.evaluate_retrieval`.

    Raises:
        ValueError: a setting is out of range.
    """

    ks: tuple[int, ...]
    exclude: Exclude
    leave_one_out: bool
    bootstrap: int
    confidence: float
    seed: int

    def __post_init__(self) -> None:
        if not self.ks or min(self.ks) < 1:
            raise ValueError(f"ks must be at least 1, got {self.ks}")
        if self.exclude not in get_args(Exclude):
            raise ValueError(f"exclude is {self.exclude!r}; expected {', '.join(get_args(Exclude))}")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence must lie between 0 and 1, got {self.confidence}")
        if self.bootstrap < 0:
            raise ValueError(f"bootstrap must not be negative, got {self.bootstrap}")

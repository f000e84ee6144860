"""What an archive learnt from its own labels: made, kept beside it, and asked."""

from foveola.learned.kept import (
    RELEVANCE,
    Learned,
    advice,
    is_current,
    label_table,
    learn_archive,
    load_learned,
    refresh,
    unlearnt,
)
from foveola.learned.ranker import Ranker

__all__ = [
    "RELEVANCE",
    "Learned",
    "Ranker",
    "advice",
    "is_current",
    "label_table",
    "learn_archive",
    "load_learned",
    "refresh",
    "unlearnt",
]

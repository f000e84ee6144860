"""How far a hit can be trusted: what similarities are worth in one archive.

`calibrate` learns it from the archive's own photographs and keeps it beside them; a calibration
judges hits, `judge_picture` whether a query is a fundus photograph at all, and `judge_answer`
whether anything in the archive is sufficiently like it.
"""

from foveola.answers import HitTrust, Looks, QueryTrust
from foveola.trust.calibration import (
    ALIKE,
    TRUST,
    Calibration,
    calibrate,
    is_far,
    is_missing,
    judge_answer,
    judge_hit,
    judge_picture,
    label_values,
    load,
    refresh,
)
from foveola.trust.familiarity import FAMILIARITY, SEEN, Familiarity, Seen

__all__ = [
    "ALIKE",
    "FAMILIARITY",
    "SEEN",
    "TRUST",
    "Calibration",
    "Familiarity",
    "HitTrust",
    "Looks",
    "QueryTrust",
    "Seen",
    "calibrate",
    "is_far",
    "is_missing",
    "judge_answer",
    "judge_hit",
    "judge_picture",
    "label_values",
    "load",
    "refresh",
]

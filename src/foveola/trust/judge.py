"""What is said of a query: of the picture itself, and of the answer as a whole."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from foveola.answers import HitTrust, Looks, QueryTrust, Suggestion
from foveola.images.gradability import WARN_BELOW
from foveola.records import Case
from foveola.relevance.curve import percentile
from foveola.trust.calibration import FALSE_REJECT, Calibration, label_values
from foveola.trust.familiarity import Familiarity

POOR = 0.05  # gradability below which likeness says little
LEAST = 128  # pixels of the shorter side; of less no lesion can be told


def judge_picture(
    known: Familiarity | None,
    pooled: NDArray[np.float32],
    gradability: float,
    camera: str | None = None,
    side: int = LEAST,
) -> Looks:
    """Whether a picture is a photograph of the retina, and good enough to be compared.

    Args:
        known: of the encoder, where it has one.
        pooled: (C,) what the encoder made of the picture.
        gradability: see `foveola.images.gradability`; 0 says that no field in colour was found.
        camera: that took it, where the archive has no photograph of that one.
        side: pixels of its shorter side, as decoded.
    """
    unlike = None if known is None else known.unlike(pooled)
    foreign = gradability == 0
    if known is not None and unlike is not None:
        foreign |= known.foreign(pooled, unlike, doubtful=gradability < WARN_BELOW)
    return Looks(unlike, foreign, poor=gradability < POOR or side < LEAST, camera=camera)


def is_far(known: Calibration | None, nearest: float | None) -> bool:
    """Whether a nearest case is not sufficiently similar; None is no case at all."""
    return nearest is None or (known is not None and nearest < known.threshold)


def judge_answer(
    known: Calibration | None,
    looks: Looks,
    nearest: float | None,
    suggestion: Suggestion | None,
    anywhere: float | None = None,
) -> QueryTrust:
    """Judge how far to trust an answer.

    Args:
        known: of the archive; None where it has too few people.
        looks: of the query.
        nearest: similarity to the nearest case considered; None where there was none.
        suggestion: what the archive learnt suggests of the query, if anything.
        anywhere: similarity to the nearest case of the archive, where a condition let only some be
            considered: what the archive suggests does not depend on that condition.
    """
    sufficient = looks.comparable and not is_far(known, nearest)
    told = sufficient or (looks.comparable and not is_far(known, anywhere))
    return QueryTrust(
        suggestion=suggestion if told else None,
        nearest=None if known is None or nearest is None else percentile(nearest, known.nearest),
        threshold=None if known is None else known.threshold,
        false_reject=FALSE_REJECT,
        sufficient=sufficient,
        looks=looks,
        trained=None if known is None or known.new else known.trained,
    )


def judge_hit(known: Calibration | None, answer: QueryTrust, similarity: float, case: Case) -> HitTrust | None:
    """Judge how far to trust one hit; of an answer that is not sufficient nothing is told."""
    if known is None and answer.suggestion is None:
        return None
    judged = HitTrust(None, None, None, None, True) if known is None else known.hit(similarity, case)
    if not answer.sufficient:
        return replace(judged, same=None, other=None, agreement=None)
    if answer.suggestion is None:
        return judged
    label = answer.suggestion.label
    values = label_values(case, label)
    chance = None if values is None else answer.suggestion.of(values)
    if judged.label != label:  # pairs were compared by another one
        judged = replace(judged, same=None, other=None)
    return replace(judged, label=label, agreement=chance)

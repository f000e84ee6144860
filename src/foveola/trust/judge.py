"""What is said of a query: of the picture itself, and of the answer as a whole."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foveola.cases import Case
from foveola.images.gradability import WARN_BELOW
from foveola.trust.calibration import FALSE_REJECT, Calibration, label_of
from foveola.trust.curve import percentile, wilson
from foveola.trust.familiarity import FOREIGN, UNUSUAL, Familiarity
from foveola.trust.judged import Looks, QueryTrust

POOR = 0.05  # gradability below which likeness says little


def judge_picture(
    known: Familiarity | None,
    pooled: NDArray[np.float32],
    gradability: float,
    camera: str | None = None,
) -> Looks:
    """Whether a picture is a photograph of the retina, and good enough to be compared.

    Args:
        known: of the encoder, where it has one.
        pooled: (C,) what the encoder made of the picture.
        gradability: see `foveola.images.gradability`; 0 says that no field in colour was found.
        camera: that took it, where the archive has no photograph of that one.
    """
    unlike = None if known is None else known.unlike(pooled)
    line = FOREIGN if gradability >= WARN_BELOW else UNUSUAL  # two doubts are worse than one
    foreign = gradability == 0 or (unlike is not None and unlike >= line)
    return Looks(unlike, foreign, poor=gradability < POOR, camera=camera)


def judge_answer(
    known: Calibration | None, looks: Looks, similarities: Sequence[float], cases: Sequence[Case]
) -> QueryTrust:
    """How far to trust an answer.

    Args:
        known: of the archive; None where it has too few people.
        looks: of the query.
        similarities: of the hits, best first.
        cases: of the hits; of each person the first one counts.
    """
    first = {case.identity: case for case in reversed(cases)}
    label = None if known is None else known.label
    keys = [key for case in first.values() if label and (key := label_of(case, label)) is not None]
    commonest, count = next(iter(Counter(sorted(keys)).most_common(1)), (None, 0))
    nearest = max(similarities, default=None)
    near = nearest is not None and (known is None or nearest >= known.threshold)
    return QueryTrust(
        label=label,
        nearest=None if known is None or nearest is None else percentile(nearest, known.nearest),
        threshold=None if known is None else known.threshold,
        false_reject=FALSE_REJECT,
        sufficient=near and not looks.foreign and not looks.poor,
        commonest=commonest,
        neighbours=len(keys),
        local=wilson(count, len(keys)) if keys else None,
        looks=looks,
        trained=None if known is None or known.new else known.trained,
    )

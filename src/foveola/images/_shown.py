"""Whether a picture that was to be shown in 8 bits has lost what its data held."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_LOOKED_AT = 1 << 18  # pixels, at most; enough to know how many levels there are
_BLACK, _ALIKE = 20, 4  # of 255: below the one nothing can be seen, nor within the other
_FEWER = 4  # times: so many levels in one of what is shown are a loss


def is_lost(data: NDArray[Any], shown: NDArray[np.uint8]) -> bool:
    """Whether a picture is nearly black, or of one shade, though its data is not.

    Nearly black is what reaches 20 of 255 in less than half a percent of its pixels. Data that is
    as poor as what is shown of it (a photograph taken in the dark) has lost nothing.

    Args:
        data: (H, W) or (H, W, C), as stored.
        shown: of the same height and width.
    """
    step = max(1, int(np.sqrt(shown.shape[0] * shown.shape[1] / _LOOKED_AT)))
    seen = shown[::step, ::step]
    low, high = np.percentile(seen, (0.5, 99.5))
    if high >= _BLACK and high - low >= _ALIKE:
        return False
    return len(np.unique(data[::step, ::step])) >= _FEWER * (len(np.unique(seen)) + 1)

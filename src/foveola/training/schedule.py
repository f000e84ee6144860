"""How the learning rate goes over a run."""

import math
from collections.abc import Callable


def warm_cosine(steps: int) -> Callable[[int], float]:
    """Share of the peak at each step: warm-up over a twentieth of the run, then a cosine to 0."""
    warm_up = max(1, steps // 20)

    def share(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        done = min(1.0, (step - warm_up) / max(1, steps - warm_up))
        return 0.5 * (1 + math.cos(math.pi * done))

    return share

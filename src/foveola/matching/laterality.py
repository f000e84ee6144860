"""Left or right eye, from the photograph alone.

The mirror image of a right eye looks like a left one, so what tells the side is what changes under
the mirror: with f the descriptor and m the mirror,

    log odds of right = w . ( f(x) - f(m x) )

Mirroring the photograph flips the sign exactly, so a rule learnt from few eyes favours neither
side. The rule is ours; the clinician's is the same: in a right eye the disc lies to the right.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveola.cases import Eye
from foveola.encoders.encoder import Encoder
from foveola.errors import FoveolaError, MatchingError
from foveola.images.decode import decode
from foveola.images.fundus import prepare

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]

LATERALITY = "laterality.json"  # in the folder of an encoder
_STEPS = 200
_SCALE_PENALTY = 1e-3  # of the one number; bounds it where no side is wrong


@dataclass(frozen=True)
class Side:
    """Which eye a photograph seems to show.

    Attributes:
        eye: the likelier.
        probability: of that, from 0.5 to 1.
    """

    eye: Eye
    probability: float


@dataclass(frozen=True, kw_only=True)
class Laterality:
    """The rule.

    Attributes:
        encoder: fingerprint of the encoder of the descriptors.
        weights: (D,).
        photographs: that it was fitted to.
    """

    encoder: str
    weights: tuple[float, ...]
    photographs: int

    def of(self, changes: ArrayLike) -> list[Side]:
        """Of photographs whose descriptors change by (N, D) under the mirror."""
        odds = np.asarray(changes, dtype=np.float64) @ np.array(self.weights)
        chances = 1 / (1 + np.exp(-np.clip(odds, -50, 50)))
        return [
            Side("right", float(p)) if p >= 0.5 else Side("left", float(1 - p)) for p in chances
        ]

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path, encoder: str) -> "Laterality":
        """Read from JSON.

        Raises:
            MatchingError: it can't be read, or belongs to another encoder.
        """
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            weights = tuple(map(float, values["weights"]))
            if not weights or not all(map(math.isfinite, weights)):
                raise ValueError("expected finite weights")
            made = cls(
                encoder=str(values["encoder"]), weights=weights,
                photographs=int(values["photographs"]),
            )  # fmt: skip
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise MatchingError(f"the rule for sides {path} can't be used: {error}") from None
        if made.encoder != encoder:
            raise MatchingError(f"the rule for sides {path.name} belongs to another encoder")
        return made


def mirror_change(encoder: Encoder, photograph: Pixels) -> NDArray[np.float32]:
    """(D,): descriptor of a decoded photograph less that of its mirror image."""
    prepared = prepare(photograph, encoder.contract)
    mirrored = np.ascontiguousarray(prepared[:, ::-1])
    plain, other = encoder.encode(np.stack([prepared, mirrored]))
    change: NDArray[np.float32] = plain - other
    return change


def read_change(encoder: Encoder, path: Path) -> NDArray[np.float32] | None:
    """`mirror_change` of a file; None where it can't be read."""
    try:
        return mirror_change(encoder, decode(path, min_side=encoder.contract.size))
    except (FoveolaError, OSError):
        return None


def fit_laterality(
    changes: ArrayLike, eyes: Sequence[Eye], encoder: str, penalty: float = 1e-3
) -> Laterality:
    """Fit the rule by logistic regression without a constant.

    The penalty that makes it right most often makes it too modest, so its odds are then scaled to
    the photographs by one number, which changes no side.

    Args:
        changes: (N, D), from `mirror_change`.
        eyes: of the N photographs, as recorded; a few wrong ones do no harm.
        encoder: fingerprint.
        penalty: on the squared weights, of the mean loss.

    Raises:
        ValueError: numbers do not fit.
    """
    x = np.asarray(changes, dtype=np.float64)
    y = np.array([eye == "right" for eye in eyes], dtype=np.float64)
    if x.ndim != 2 or len(x) != len(y) or not len(y):
        raise ValueError(f"expected changes (N, D) of N eyes, got {x.shape} and {len(y)}")
    weights = _logistic(x, y, penalty)
    scale = _logistic((x @ weights)[:, None], y, _SCALE_PENALTY)[0]
    scaled = weights * max(1.0, float(scale))
    return Laterality(encoder=encoder, weights=tuple(scaled.tolist()), photographs=len(y))


def _logistic(x: Floats, y: Floats, penalty: float) -> Floats:
    """(D,) weights by Newton's method."""
    weights = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -50, 50)))
        gradient = x.T @ (p - y) / len(y) + penalty * weights
        hessian = (x * (p * (1 - p))[:, None]).T @ x / len(y) + penalty * np.eye(x.shape[1])
        step = np.linalg.solve(hessian, gradient)
        weights -= step * min(1.0, 10 / max(float(np.linalg.norm(step)), 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    return weights

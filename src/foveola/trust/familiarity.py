"""Whether a photograph is of the kind that an encoder knows, and which ones it was trained on.

A descriptor says what a photograph is like among those it was trained on; of anything else it says
that, too: to a classifier's features a chest X-ray is as near to some fundus photograph as another
fundus photograph is. What gives it away is what these features leave unexplained: the network's
last map, averaged over positions, lies close to the plane of the principal axes of fundus
photographs, and that of other pictures lies off it. (Reconstruction error of a principal component
analysis, Jackson and Mudholkar, Technometrics 1979.)

The plane alone is not enough: an X-ray in the colours of a retina lies no farther off than a retina
with a rare disease. So a logistic regression tells the features of photographs of the retina from
those of other pictures, and the plane is asked where it is not sure.

The features are brought to unit length first. Channel by channel in deviations, as it was once
done, a few channels that fundus photographs hardly ever excite decide alone: of an encoder all of
whose layers were trained, one photograph in a hundred lay as far off as noise does.

The labels of photographs that an encoder was trained on are known to it: they lie nearer to
photographs of their own label than a new one does, and an archive that learns from them how far to
trust a hit learns too much.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveola import files
from foveola.errors import EncoderError, ImageError, damaged
from foveola.images.decode import read_bytes
from foveola.relevance.calibrate import percentile

Floats = NDArray[np.float64]
FAMILIARITY = "familiarity.npz"  # in the folder of an encoder
AXES = 150
UNUSUAL = 0.99  # share of fundus photographs that are less unlike: a warning
FOREIGN = 0.999  # likewise: not taken for a fundus photograph
DOUBT, SURE = -0.5, 4.0  # log-odds of a retina: below the one foreign; above the other never
_POINTS = 2001  # of the distribution that is kept
SEEN = "seen.npy"  # in the folder of an encoder
_BYTES = 8  # of a digest that are kept: enough to meet by chance once in 10^13 photographs


@dataclass(frozen=True, eq=False)
class Familiarity:
    """The plane of the photographs an encoder knows. C channels, K axes.

    Attributes:
        mean, deviation: (C,) of the channels; the deviation is 1 where features are of unit length.
        axes: (K, C), orthonormal.
        quantiles: ascending, at equal steps, of how far fundus photographs of people it was not
            fitted to lie off the plane.
        unit: whether features are brought to unit length first; not in older files.
        weights: (C,) of the log-odds that a picture shows a retina; None in older files.
        bias: of these.
    """

    mean: Floats
    deviation: Floats
    axes: Floats
    quantiles: Floats
    unit: bool = True
    weights: Floats | None = None
    bias: float = 0.0

    @classmethod
    def fit(cls, known: ArrayLike, others: ArrayLike, axes: int = AXES) -> Self:
        """Fit to photographs.

        Args:
            known: (N, C) pooled features of photographs, N above `axes`.
            others: (M, C) of photographs of other people, by which distances are judged.
            axes: K.
        """
        x = _of_unit_length(known)
        mean, deviation = x.mean(axis=0), np.ones(x.shape[1])
        *_, right = np.linalg.svd(x - mean, full_matrices=False)
        made = cls(mean, deviation, right[:axes], np.zeros(1))
        distances = made.distance(others)
        steps = np.linspace(0, 1, _POINTS)
        return cls(mean, deviation, right[:axes], np.quantile(distances, steps))

    def distance(self, pooled: ArrayLike) -> Floats:
        """Return (..., C) -> (...): mean square of what the plane leaves over, in deviations."""
        features = _of_unit_length(pooled) if self.unit else np.asarray(pooled, np.float64)
        x = (features - self.mean) / self.deviation
        rest = x - (x @ self.axes.T) @ self.axes
        return np.asarray((rest * rest).mean(axis=-1))

    def unlike(self, pooled: ArrayLike) -> float:
        """Return the share, from 0 to 1, of fundus photographs that are less unlike what it knows; pooled is (C,)."""
        return percentile(float(self.distance(pooled)), self.quantiles)

    def foreign(self, pooled: ArrayLike, off: float, *, doubtful: bool) -> bool:
        """Return whether a picture is taken for no fundus photograph; pooled is (C,).

        Args:
            pooled: features of the picture.
            off: of it, from `unlike`.
            doubtful: whether it may not be gradable, which is another doubt. It counts in older
                files alone: what is doubtful there is often a retina with a severe disease.
        """
        if self.weights is None:
            return off >= (UNUSUAL if doubtful else FOREIGN)
        odds = float(_of_unit_length(pooled) @ self.weights + self.bias)
        return odds < DOUBT or (odds < SURE and off >= FOREIGN)

    def save(self, path: Path) -> None:
        """Write; half precision for the axes, which is finer than what they are used for."""
        told = {} if self.weights is None else {"weights": self.weights.astype(np.float32), "bias": np.array(self.bias)}
        files.save_arrays(
            path,
            told
            | {
                "mean": self.mean.astype(np.float32),
                "deviation": self.deviation.astype(np.float32),
                "axes": self.axes.astype(np.float16),
                "quantiles": self.quantiles.astype(np.float32),
                "unit": np.array(self.unit),
            },
        )

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Read it from the folder of an encoder; None where there is none.

        Raises:
            EncoderError: it is damaged.
        """
        path = folder / FAMILIARITY
        try:
            kept = files.load_arrays(path)
            mean, deviation, axes, quantiles = (
                kept[name].astype(np.float64) for name in ("mean", "deviation", "axes", "quantiles")
            )
            weights, bias = None, 0.0
            if "weights" in kept:
                weights, bias = kept["weights"].astype(np.float64), float(kept["bias"])
            unit = "unit" in kept and bool(kept["unit"])
            return cls(mean, deviation, axes, quantiles, unit, weights, bias)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, KeyError):
            raise EncoderError(damaged(path)) from None


def _of_unit_length(pooled: ArrayLike) -> Floats:
    """(..., C); zeros stay zeros, as of a picture that excites nothing."""
    x = np.asarray(pooled, np.float64)
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    return np.asarray(x / np.where(length == 0, 1, length))


@dataclass(frozen=True, eq=False)
class Seen:
    """Photographs by the content of their files. N photographs.

    Nothing of a photograph can be told from its mark; who has the file can tell that it is there.

    Attributes:
        marks: (N,) the first bytes of their digests, ascending.
    """

    marks: NDArray[np.uint64]

    @classmethod
    def of(cls, digests: Iterable[bytes]) -> Self:
        """Make it from BLAKE2b digests of files with 16 bytes, as an archive keeps them."""
        return cls(np.unique(_marks(digests)))

    @classmethod
    def of_files(cls, paths: Iterable[Path]) -> Self:
        """Make it from the files; those that can't be read any more are left out."""
        return cls.of(digest for path in paths if (digest := _digest(path)) is not None)

    def among(self, digests: Iterable[bytes]) -> NDArray[np.bool_]:
        """Return which photographs are among them, bool (M,) in the order given."""
        return np.isin(_marks(digests), self.marks)

    def without(self, digests: Iterable[bytes]) -> Self:
        """Return the others."""
        return type(self)(np.setdiff1d(self.marks, _marks(digests)))

    def save(self, folder: Path) -> None:
        """Write it beside an encoder: wholly, or not at all."""
        files.save_array(folder / SEEN, self.marks.astype("<u8"))

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Read it from the folder of an encoder; None where there is none.

        Raises:
            EncoderError: it is damaged.
        """
        path = folder / SEEN
        try:
            marks = files.load_array(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError):
            raise EncoderError(damaged(path)) from None
        if marks.ndim != 1 or marks.dtype != np.dtype("<u8"):
            raise EncoderError(damaged(path))
        return cls(marks.astype(np.uint64))


def _digest(path: Path) -> bytes | None:
    try:
        return blake2b(read_bytes(path), digest_size=16).digest()
    except ImageError:
        return None


def _marks(digests: Iterable[bytes]) -> NDArray[np.uint64]:
    heads = b"".join(digest[:_BYTES] for digest in digests)
    return np.frombuffer(heads, ">u8").astype(np.uint64)

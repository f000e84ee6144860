"""Why two photographs are alike to a model: their cosine, written as a sum over positions.

`similarity_map`: the descriptor is the pooled map, projected and brought to unit length, so the
cosine with another descriptor is linear in what each position gives to the pooled values. Nothing
is approximated: the map and the constant sum to the cosine. `removal_map` is for any other
descriptor: what is lost without a part. `occlusion_map` asks the same of the photograph itself, and
so checks the other two, at a pass of the network for each place. All need numpy, not torch.

Shapes: C channels, h x w positions, D of the descriptor, V maps of the attention (2 for mirror
attention, else 1).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveola.encoders.parts import Pooling

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class Head:
    """What follows the attended maps in a model: pooling, the projection, the fusion of halves.

    Attributes:
        p: GeM's exponent, above 0; None: the plain average, in which negative activations count.
        eps: GeM's floor of the activations, above 0.
        weight: (D / V, C) for fusion "concat", (D, C) for "sum"; None: no projection.
        bias: (D / V,) or (D,); None: no bias.
        fusion: how V maps become one descriptor: "concat" projects each by the same weights
            into a part of it, "sum" adds what is pooled.
    """

    p: float | None = 3.0
    eps: float = 1e-6
    weight: ArrayLike | None = None
    bias: ArrayLike | None = None
    fusion: Literal["concat", "sum"] = "concat"

    def __post_init__(self) -> None:
        if (self.p is not None and self.p <= 0) or self.eps <= 0:
            raise ValueError(f"p is {self.p} and eps {self.eps}; expected both above 0")
        if self.fusion not in ("concat", "sum"):
            raise ValueError(f"fusion is {self.fusion!r}; expected 'concat' or 'sum'")


@dataclass(frozen=True, eq=False)
class SimilarityMap:
    """A cosine and where in the image it comes from.

    Attributes:
        contributions: (h, w) float64, what each position adds; negative where it speaks against.
        constant: what the projection's bias adds, which lies nowhere in the image.
    """

    contributions: Floats
    constant: float

    @property
    def cosine(self) -> float:
        """Return the cosine of the two descriptors."""
        return float(self.contributions.sum() + self.constant)


def similarity_map(maps: ArrayLike, other: ArrayLike, head: Head) -> SimilarityMap:
    """Compute the cosine of an image with another descriptor, position by position.

    Position i gives to channel c of the pooled map y the part y_ci = y_c x_ci^p / sum_j x_cj^p,
    with x raised to eps as in GeM, or x_ci / (h w) of a plain average. With
    y = (mean_i x_i^p)^(1/p), q = W y + b and a = W' o:

        cos(q, o) = sum_i sum_c a_c y_ci / |q|  +  b . o / |q|

    Of an average the parts are what is summed; for another p they are one way to share out a sum
    that is not linear: that of the powers, which GeM averages. The maps of both halves of mirror
    attention are added.

    The length |q| is the whole image's, so a contribution says what the position adds to the
    similarity of this image, not what would be left of it without the position.

    Args:
        maps: (V, C, h, w) or (C, h, w), attended maps before pooling.
        other: (D,) descriptor of the other image, of unit length.
        head: of the model.

    Raises:
        ValueError: the shapes don't fit one another.
    """
    x = np.asarray(maps, dtype=np.float64)
    x = x[None] if x.ndim == 3 else x
    if x.ndim != 4 or not x.size:
        raise ValueError(f"expected maps (V, C, h, w), got {x.shape}")
    parts = _parts(x, head)
    given = np.asarray(other, dtype=np.float64)
    own, asked = _projected(parts.sum(axis=(2, 3)), head, given)
    length = float(np.linalg.norm(own))
    contributions = np.einsum("vc,vchw->hw", asked, parts) / length
    return SimilarityMap(contributions, _constant(head, given) / length)


def _parts(x: Floats, head: Head) -> Floats:
    """What each position gives to the pooled values: (V, C, h, w), summing to these."""
    if head.p is None:
        each: Floats = x / (x.shape[2] * x.shape[3])
        return each
    x = np.maximum(x, head.eps)
    most = x.max(axis=(2, 3), keepdims=True)
    powers = (x / most) ** head.p  # of values up to 1: no exponent is too large
    pooled = most * powers.mean(axis=(2, 3), keepdims=True) ** (1 / head.p)
    parts: Floats = pooled * powers / powers.sum(axis=(2, 3), keepdims=True)
    return parts


def _projected(pooled: Floats, head: Head, other: Floats) -> tuple[Floats, Floats]:
    """The image's descriptor before unit length, (D,), and W' o, (V, C)."""
    V, C = pooled.shape
    weight = np.eye(C) if head.weight is None else np.asarray(head.weight, dtype=np.float64)
    bias = np.zeros(len(weight)) if head.bias is None else np.asarray(head.bias, dtype=np.float64)
    halves = V if head.fusion == "concat" else 1
    if weight.shape[1:] != (C,) or bias.shape != weight.shape[:1]:
        raise ValueError(f"maps of {C} channels don't fit weights {weight.shape}, {bias.shape}")
    if other.shape != (halves * len(weight),):
        raise ValueError(f"expected a descriptor ({halves * len(weight)},), got {other.shape}")
    summed = pooled if head.fusion == "concat" else pooled.sum(axis=0, keepdims=True)
    own = (summed @ weight.T + bias).ravel()
    return own, np.broadcast_to(other.reshape(halves, -1) @ weight, (V, C))


def _constant(head: Head, other: Floats) -> float:
    if head.bias is None:
        return 0.0
    bias = np.asarray(head.bias, dtype=np.float64)
    return float((other.reshape(-1, len(bias)) @ bias).sum())


class Taken(Protocol):
    """An encoder taken apart, as `foveola.encoders.parts.Parts`."""

    pooling: Pooling

    def descriptors(self, pooled: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the unit descriptors (B, D) of pooled maps (B, C)."""


def removal_map(maps: ArrayLike, other: ArrayLike, parts: Taken, width: int = 3) -> SimilarityMap:
    """Compute what each part of an image adds to its similarity to another, for any descriptor.

    A square of positions is left out of the pooling, and the descriptor made of the rest: what
    the cosine loses is what the square added, and is shared evenly among its positions. For
    descriptors that are no linear function of the pooled map, as those that carry probabilities of
    labels; of a linear one `similarity_map` is exact. This is occlusion (Zeiler and Fergus, ECCV
    2014) on the last map in place of the photograph, so it takes one pass. As positions can stand
    in for one another, the parts do not sum to the cosine; `constant` is what they leave.

    Args:
        maps: (C, h, w) feature map.
        other: (D,) descriptor of the other image, of unit length.
        parts: of the encoder.
        width: of the square, in positions, odd.

    Raises:
        ValueError: the shapes don't fit, or nothing would be left of the map.
    """
    x = np.asarray(maps, dtype=np.float32)
    if x.ndim != 3 or width % 2 != 1 or min(x.shape[1:]) <= width:
        raise ValueError(f"expected maps (C, h, w) larger than {width} x {width}, got {x.shape}")
    powers = parts.pooling.powers(x)
    squares = _squares(x.shape[1], x.shape[2], width)  # (S, h, w)
    removed = np.einsum("shw,chw->sc", squares, powers)
    whole = powers.sum(axis=(1, 2))
    left = x.shape[1] * x.shape[2] - squares.sum(axis=(1, 2))
    rest = np.maximum(whole - removed, 0) / left[:, None]
    pooled = parts.pooling.root(np.vstack([whole / (x.shape[1] * x.shape[2]), rest]))
    cosines = parts.descriptors(pooled).astype(np.float64) @ np.asarray(other, np.float64)
    lost = cosines[0] - cosines[1:]
    parts_of = np.tensordot(lost / squares.sum(axis=(1, 2)), squares, axes=1)
    return SimilarityMap(parts_of, float(cosines[0] - parts_of.sum()))


def removal_maps(own: ArrayLike, other: ArrayLike, parts: Taken) -> tuple[SimilarityMap, SimilarityMap]:
    """Compute what makes two images alike, as a `removal_map` of each.

    Args:
        own: (C, h, w) feature map of one image.
        other: likewise of the other.
        parts: of the encoder.
    """
    pooling = parts.pooling
    pooled = [pooling.root(pooling.powers(np.asarray(each)).mean(axis=(1, 2))) for each in (own, other)]
    first, second = parts.descriptors(np.stack(pooled))
    return removal_map(own, second, parts), removal_map(other, first, parts)


def occlusion_map(
    prepared: Pixels, other: ArrayLike, encode: Callable[[Pixels], NDArray[np.float32]], cells: int = 10, width: int = 3
) -> SimilarityMap:
    """Compute what each part of a photograph adds to its similarity to another, by covering it up.

    A square of cells is painted in the mean colour of the field of view and the photograph encoded
    again: what the cosine loses is what the square added, and is shared evenly among its cells
    (Zeiler and Fergus, ECCV 2014). Nothing is assumed of the model, so it checks `removal_map`; it
    takes cells * cells + 1 passes of the network. A cover is itself something to see, so a loss
    may also come from its edge; `constant` is what the parts leave of the cosine.

    Args:
        prepared: (S, S, 3) uint8 as the encoder takes it, black outside the field of view.
        other: (D,) descriptor of the other image, of unit length.
        encode: (B, S, S, 3) uint8 -> (B, D) float32 unit descriptors, as `Encoder.encode`.
        cells: of the map on each side.
        width: of the square, in cells, odd.

    Raises:
        ValueError: the shapes don't fit, or the square would cover everything.
    """
    if prepared.ndim != 3 or width % 2 != 1 or not width < cells <= min(prepared.shape[:2]):
        raise ValueError(
            f"expected a photograph (S, S, 3), and an odd width below the number of cells; got "
            f"{prepared.shape}, width {width} and {cells} cells"
        )
    squares = _squares(cells, cells, width)  # (cells * cells, cells, cells)
    edges = np.linspace(0, prepared.shape[0], cells + 1).round().astype(int)
    at = np.repeat(np.arange(cells), np.diff(edges))  # of each pixel row its cell
    seen = prepared.max(axis=2) > 0
    colour = prepared[seen].mean(axis=0) if seen.any() else np.zeros(3)
    cosines = [encode(prepared[None])[0] @ np.asarray(other, np.float64)]
    for square in squares:
        covered = prepared.copy()
        covered[seen & (square[np.ix_(at, at)] > 0)] = colour.round()
        cosines.append(encode(covered[None])[0] @ np.asarray(other, np.float64))
    lost = cosines[0] - np.array(cosines[1:])
    parts_of = np.tensordot(lost / squares.sum(axis=(1, 2)), squares, axes=1)
    return SimilarityMap(parts_of, float(cosines[0] - parts_of.sum()))


def _squares(h: int, w: int, width: int) -> Floats:
    """(h * w, h, w): of each position the square around it, cut off at the border, as 0 and 1."""
    reach = width // 2
    rows = np.abs(np.arange(h)[:, None] - np.arange(h)) <= reach
    columns = np.abs(np.arange(w)[:, None] - np.arange(w)) <= reach
    squares = rows[:, None, :, None] & columns[None, :, None, :]
    return np.asarray(squares.reshape(h * w, h, w), np.float64)

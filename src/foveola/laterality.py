"""Left or right eye, upright or upside down: from the photograph alone.

The mirror image of a right eye looks like a left one, so what tells the side is what changes under
the mirror; and what tells up from down, what changes when that is exchanged. With f the descriptor,
m the mirror and u the mirror from top to bottom,

    log odds of right, were it upright    w . ( f(x) - f(m x) )
    log odds of upright                   v . ( f(x) - f(u x) + f(m x) - f(u m x) ) / 2

Mirroring the photograph flips the signs exactly, so a rule learnt from few eyes favours no side.
Some cameras show the retina as their lens does, upside down; such a photograph looks like the other
eye. Photographs of one visit come from one camera, so their odds are added up. How many visits are
upside down is a matter of the set, so it is estimated from the set, by expectation and maximisation
of its share (Saerens, Latinne and Decaestecker, Neural Computation 2002). The rules are ours; the
clinician's are the same: in a right eye the disc lies to the right, and the fovea lies a little
below it.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveola import files
from foveola.encoders.encoder import UNUSABLE, Encoder
from foveola.encoders.release import MATCHER
from foveola.errors import FoveolaError, ImageError, MatchingError, PairError
from foveola.images.decode import decode
from foveola.images.fundus import prepare
from foveola.records import Eye
from foveola.relevance.linear import logistic

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]

LATERALITY = "laterality.json"  # in the folder of an encoder
TWICE = "both eyes show the same photograph, or two of the same eye; give each eye's own, or one eye alone"
SAME_EYE = 0.9  # cosine from which two photographs show one eye; fellow eyes have up to .86
SURE = 0.9  # probability below which nobody is told which eye it is, nor refused for it
EXCHANGED = (
    "left and right seem to be exchanged: either photograph looks like one of the other eye; "
    "exchange them, unless the camera mirrors the retina or shows it upside down"
)
_PENALTY = 1e-3  # on the squared weights of the side, of the mean loss
_UPRIGHT_PENALTY = 1e-5  # likewise; by cross-validation over the people that are trained on
_SCALE_PENALTY = 1e-3  # of the one number; bounds it where no side is wrong
_EXPECTED = 0.02, 10.0  # share upside down before looking, and the visits that it weighs
_ROUNDS = 200


@dataclass(frozen=True)
class Side:
    """Which eye a photograph seems to show.

    Attributes:
        eye: the likelier.
        probability: of that, from 0.5 to 1.
        upside_down: probability that the photograph is.
        descriptor: (D,) of the photograph, where it is to be compared with the other eye's.
    """

    eye: Eye
    probability: float
    upside_down: float = 0.0
    descriptor: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class Laterality:
    """The rules.

    Attributes:
        encoder: fingerprint of the encoder of the descriptors.
        right: (D,), w.
        upright: (D,), v.
        photographs: that they were fitted to.
    """

    encoder: str
    right: tuple[float, ...]
    upright: tuple[float, ...]
    photographs: int

    def of(self, views: ArrayLike, upside_down: float = 0.0, visits: Sequence[Hashable] | None = None) -> list[Side]:
        """Tell the sides of photographs by their four views.

        Args:
            views: (N, 4, D), from `four_views`.
            upside_down: share of the set's visits that are, from 0 to below 1.
            visits: of the N photographs; those of one visit are upright or not together. None
                takes each for a visit of its own.
        """
        views = _checked(views)
        right = _chance(_mirror_change(views) @ np.array(self.right))
        odds, of = self._odds_down(views, visits)
        down = _updated(odds, upside_down)[of]
        chances = (1 - down) * right + down * (1 - right)
        return [_side(float(p), float(d)) for p, d in zip(chances, down, strict=True)]

    def of_upright(self, views: ArrayLike) -> Side:
        """Tell the side of one photograph that is taken to be upright.

        Args:
            views: (2, D), descriptors of the photograph and of it mirrored.
        """
        plain, mirrored = np.asarray(views, dtype=np.float64)
        return _side(float(_chance((plain - mirrored) @ np.array(self.right))))

    def left_first(self, first: ArrayLike, second: ArrayLike) -> float:
        """Return the probability that of two photographs of fellow eyes the first shows the left one.

        One of the two is the left eye, so what speaks for the other being the right one counts
        as much. Upright photographs are taken for granted.

        Args:
            first: (4, D), from `four_views`.
            second: likewise, of the same person at the same visit.
        """
        views = _checked(np.stack([first, second]))
        of_first, of_second = _mirror_change(views) @ np.array(self.right)
        return float(_chance(np.array(of_second - of_first)))

    def share_upside_down(self, views: ArrayLike, visits: Sequence[Hashable] | None = None) -> float:
        """Estimate the share of the visits of a set that are upside down, from 0 to 1.

        Few visits say little: the estimate starts from 2 %, worth 10 visits.

        Args:
            views: (N, 4, D).
            visits: as for `of`.
        """
        odds, _ = self._odds_down(_checked(views), visits)
        expected, weight = _EXPECTED
        share = 0.5
        for _ in range(_ROUNDS):
            seen = float(_updated(odds, share).sum())
            share = (seen + expected * weight) / (len(odds) + weight)
        return share

    def _odds_down(self, views: Floats, visits: Sequence[Hashable] | None) -> tuple[Floats, NDArray[np.int64]]:
        """(V,) log odds that each visit is upside down, and (N,) the visit of each photograph."""
        each = -_turn_change(views) @ np.array(self.upright)
        if visits is None:
            return each, np.arange(len(each))
        places: dict[Hashable, int] = {}
        of = np.array([places.setdefault(visit, len(places)) for visit in visits], dtype=np.int64)
        return np.asarray(np.bincount(of, each, len(places)), dtype=np.float64), of

    def save(self, path: Path) -> None:
        """Write as JSON."""
        files.write_json(path, asdict(self))

    @classmethod
    def load(cls, path: Path, encoder: str) -> "Laterality":
        """Read from JSON.

        Raises:
            MatchingError: it can't be read, or belongs to another encoder.
        """
        try:
            values = files.read_json(path)
            right, upright = (tuple(map(float, values[name])) for name in ("right", "upright"))
            if not right or len(right) != len(upright) or not np.isfinite([right, upright]).all():
                raise ValueError("expected finite weights, as many of the one as of the other")
            made = cls(
                encoder=str(values["encoder"]), right=right, upright=upright, photographs=int(values["photographs"])
            )
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise MatchingError(f"the rule for sides {path} can't be used: {error}") from None
        if made.encoder != encoder:
            raise MatchingError(f"the rule for sides {path.name} belongs to another encoder")
        return made


def check_eye(stated: Eye | None, eye: Eye, name: str) -> None:
    """Refuse a photograph that is given as one eye and says in its header that it is the other.

    Args:
        stated: which eye its header says, see `foveola.images.decode.stated`; only a DICOM image says so.
        eye: as which it is given.
        name: of the file, for the message.

    Raises:
        ImageError: the two contradict each other.
    """
    if stated not in (None, eye):
        other = "left" if eye == "right" else "right"
        raise ImageError(
            f"{name} is given as the {eye} eye, and its header says that it is the {other} one; "
            "exchange the two, or correct the header"
        )


class Sides(NamedTuple):
    """An encoder with its rule, to tell which eye a photograph shows. Safe for several threads."""

    encoder: Encoder
    rule: Laterality

    def of(self, photograph: Pixels) -> Side:
        """Tell which eye (H, W, 3) uint8 RGB as decoded, taken to be upright, seems to show."""
        plain = prepare(photograph, self.encoder.contract)
        views = self.encoder.encode(np.stack([plain, plain[:, ::-1]]))
        return replace(self.rule.of_upright(views), descriptor=views[0])


@cache
def shipped_sides() -> Sides | None:
    """Load what comes with Foveola, once; None where somebody took it out."""
    try:
        encoder = Encoder.load(MATCHER)
        path = encoder.release.folder / LATERALITY
        return Sides(encoder, Laterality.load(path, encoder.fingerprint))
    except FoveolaError:
        return None


def check_sides(given: Mapping[Eye, Side | None]) -> tuple[str, ...]:
    """Refuse two photographs that surely show one eye or side; say where two seem exchanged.

    Exchanged ones are no fault of whose camera mirrors them, or shows the retina as its lens does.

    Args:
        given: of the photograph given as each eye which it seems to show; None is not known.

    Raises:
        PairError: they show one eye, or each shows the same side with a probability of SURE or
            more.
    """
    seen = [side.descriptor for side in given.values() if side and side.descriptor is not None]
    if len(seen) == 2 and float(seen[0] @ seen[1]) >= SAME_EYE:
        raise PairError(TWICE)
    surely = {eye: side.eye for eye, side in given.items() if side is not None and side.probability >= SURE}
    if len(surely) < 2:
        return ()
    if surely["left"] == surely["right"]:
        raise PairError(f"both photographs seem to show a {surely['left']} eye; give one of each eye, or one eye alone")
    return () if surely["left"] == "left" else (EXCHANGED,)


def first_of_two(
    sides: Sequence[Side | None], known: Sequence[Eye | None] = (None, None)
) -> tuple[Eye, float | None] | None:
    """Tell which eye the first of two photographs of fellow eyes shows.

    Args:
        sides: which each seems to show; None where no rule is there.
        known: which each is known to show.

    Returns:
        The eye and the probability that this is right, None where it is known; or None where the
        photographs are not sure, and somebody has to say it.

    >>> first_of_two([Side("right", 0.98), Side("left", 0.97)])
    ('right', 0.9506)
    >>> first_of_two([Side("right", 0.98), Side("right", 0.97)]) is None
    True
    """
    if known[0] is not None:
        return known[0], None
    if known[1] is not None:
        return ("right" if known[1] == "left" else "left"), None
    first, second = (side or Side("left", 0.5) for side in sides)
    sure = first.probability * second.probability
    return (first.eye, sure) if first.eye != second.eye and sure >= SURE else None


def four_views(encoder: Encoder, photograph: Pixels) -> NDArray[np.float32]:
    """Encode (4, D) a photograph, mirrored, mirrored from top to bottom, and both.

    Args:
        encoder: of the descriptors.
        photograph: (H, W, 3) uint8 RGB as decoded.
    """
    plain = prepare(photograph, encoder.contract)
    seen = [plain, plain[:, ::-1], plain[::-1], plain[::-1, ::-1]]
    return encoder.encode(np.ascontiguousarray(np.stack(seen)))


def read_views(encoder: Encoder, path: Path) -> NDArray[np.float32] | None:
    """Encode the `four_views` of a file; None where it can't be read."""
    try:
        return four_views(encoder, decode(path, min_side=encoder.contract.min_side))
    except UNUSABLE:
        return None


def fit_laterality(views: ArrayLike, eyes: Sequence[Eye], encoder: str) -> Laterality:
    """Fit the rules by logistic regression without a constant.

    The penalty that makes them right most often makes them too modest, so their odds are then
    scaled to the photographs by one number each, which changes no answer.

    Args:
        views: (N, 4, D), from `four_views`; of photographs that are upright but for a few.
        eyes: of the N photographs, as recorded; a few wrong ones do no harm.
        encoder: fingerprint.

    Raises:
        ValueError: numbers do not fit.
    """
    views = _checked(views)
    if len(views) != len(eyes) or not len(eyes):
        raise ValueError(f"expected views (N, 4, D) of N eyes, got {views.shape} and {len(eyes)}")
    y = np.array([eye == "right" for eye in eyes], dtype=np.float64)
    right = _fit(_mirror_change(views), y, _PENALTY)
    # seen in the mirror a photograph is as upright: twice the examples
    turned = np.concatenate([views[:, 0] - views[:, 2], views[:, 1] - views[:, 3]])
    upright = _fit(turned, np.ones(len(turned)), _UPRIGHT_PENALTY)
    return Laterality(encoder=encoder, right=tuple(right.tolist()), upright=tuple(upright.tolist()), photographs=len(y))


def _fit(changes: Floats, y: Floats, penalty: float) -> Floats:
    """(D,) weights whose odds are scaled to the examples."""
    share = 1 / len(y)
    weights = logistic(changes, y, share, penalty)
    (scale,) = logistic((changes @ weights)[:, None], y, share, _SCALE_PENALTY)
    return np.asarray(weights * max(1.0, float(scale)))


def _side(right: float, upside_down: float = 0.0) -> Side:
    return Side("right", right, upside_down) if right >= 0.5 else Side("left", 1 - right, upside_down)


def _checked(views: ArrayLike) -> Floats:
    checked = np.asarray(views, dtype=np.float64)
    if checked.ndim != 3 or checked.shape[1] != 4:
        raise ValueError(f"expected views (N, 4, D), got {checked.shape}")
    return checked


def _mirror_change(views: Floats) -> Floats:
    return np.asarray(views[:, 0] - views[:, 1])


def _turn_change(views: Floats) -> Floats:
    return np.asarray(views[:, 0] - views[:, 2] + views[:, 1] - views[:, 3]) / 2


def _updated(odds: Floats, share: float) -> Floats:
    """Probability of each, where that share of the set is."""
    return _chance(odds + math.log(share / (1 - share))) if share > 0 else np.zeros(len(odds))


def _chance(odds: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(odds, -50, 50))))

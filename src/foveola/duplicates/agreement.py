"""One map between two photographs that many of their local features agree on.

A feature has a place, a size and a direction. Two that match therefore say by themselves how the
one photograph lies in the other: moved, turned, larger. Every match is taken at its word once, and
the map that most others bear out is kept (after Lowe, IJCV 2004, section 7.3; all pairs of matches
are compared in place of his bins). RANSAC has to draw three right matches at once, so that it needs
matches that are right more often than not, and must throw away the doubtful; here doubtful ones do
no harm, and hard second visits have few others.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveola.duplicates.registration import Features

Vectors = NDArray[np.float32]

_SCALES = 0.35, 2.9  # of a believable map
_STRETCH = 1.5  # longer to shorter axis of a believable map: copies may be squeezed a little
_LOOSE = 15.0  # pixels within which another match bears out a single match's own map
_CLOSE = 6.0  # likewise, once the map is fitted to several
_WITHIN = 3.0  # likewise, at the end
_TURN = np.deg2rad(15.0)  # by which a match's own turn may differ from the map's
_GROWTH = np.log(1.3)  # likewise its own scale
_TRIED = 10  # maps that are fitted: those with most support
_FEWEST = 3  # matches below which there is no map
_AFFINE = 6  # matches from which it may stretch, too


@dataclass(frozen=True)
class Agreement:
    """One map that features agree on.

    Attributes:
        inliers: features that agree, 0 where no believable map was found.
        affine: (2, 3) float32, from the second photograph to the first.
    """

    inliers: int
    affine: Vectors


@dataclass(frozen=True)
class _Matches:
    """Places as complex numbers, x + iy; `own` is each match's turn and scale, as one too."""

    first: NDArray[np.complex64]
    second: NDArray[np.complex64]
    own: NDArray[np.complex64]

    def __len__(self) -> int:
        return len(self.own)

    def where(self, kept: Any) -> "_Matches":
        return _Matches(self.first[kept], self.second[kept], self.own[kept])


def agree(a: Features, b: Features) -> Agreement:
    """The map from b to a that most features agree on; 3 ms on one core with 400 each.

    Args:
        a: of the first photograph.
        b: of the second.
    """
    matches = _matched(a, b)
    best = _nowhere()
    if len(matches) < _FEWEST:
        return best
    for supporters in _supported(matches):
        found = _fitted(matches, supporters)
        if found.inliers > best.inliers:
            best = found
    return best


def _nowhere() -> Agreement:
    return Agreement(0, np.eye(2, 3, dtype=np.float32))


def _matched(a: Features, b: Features) -> _Matches:
    """Features that are each other's nearest, of a scale that a map may have."""
    if not len(a.points) or not len(b.points):
        nothing = np.empty(0, np.complex64)
        return _Matches(nothing, nothing, nothing)
    i, j = _mutual(_unit(a.vectors) @ _unit(b.vectors).T)
    scale = a.frames[i, 0] / b.frames[j, 0]
    own = scale * np.exp(1j * (a.frames[i, 1] - b.frames[j, 1]))
    matches = _Matches(_complex(a.points[i]), _complex(b.points[j]), own.astype(np.complex64))
    return matches.where((scale > _SCALES[0]) & (scale < _SCALES[1]))


def _mutual(cosines: Vectors) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns that are each other's largest; of equal rows the first."""
    nearest = cosines.argmax(axis=1)
    # the largest of each column, not where it is: numpy takes 17 times as long for that
    largest = cosines.max(axis=0)[nearest]
    rows = np.flatnonzero(np.take_along_axis(cosines, nearest[:, None], axis=1)[:, 0] == largest)
    rows = rows[np.sort(np.unique(nearest[rows], return_index=True)[1])]
    return rows, nearest[rows]


def _unit(vectors: NDArray[np.uint8]) -> Vectors:
    """Of unit length but for rounding, as RootSIFT is."""
    rows: Vectors = vectors.astype(np.float32)
    lengths: Vectors = np.sqrt((rows * rows).sum(axis=1, keepdims=True)) + np.float32(1e-6)
    return rows / lengths


def _complex(points: NDArray[Any]) -> NDArray[np.complex64]:
    return np.asarray(points[:, 0] + 1j * points[:, 1], dtype=np.complex64)


def _supported(matches: _Matches) -> list[NDArray[np.bool_]]:
    """Who bears out the maps of the matches with most support, (M,) each."""
    moved = matches.first - matches.own * matches.second
    missed = matches.own[:, None] * matches.second + moved[:, None] - matches.first
    near = missed.real**2 + missed.imag**2 < _LOOSE**2
    near &= _alike(matches.own, matches.own[:, None])
    support = near.sum(axis=1)
    first = np.argsort(-support, kind="stable")[:_TRIED]
    # matches that bear each other out mostly have the same supporters: one fit does for all
    apart = {near[h].tobytes(): near[h] for h in first if support[h] >= _FEWEST}
    return list(apart.values())


def _alike(own: NDArray[np.complex64], turn: Any) -> NDArray[np.bool_]:
    """Whether matches' own turn and scale are about those of a map."""
    one, other = np.abs(own), np.abs(turn)
    straight = ((own / one) * np.conj(turn / other)).real > np.cos(_TURN)
    return np.asarray(straight & (np.abs(np.log(one) - np.log(other)) < _GROWTH))


def _fitted(matches: _Matches, kept: NDArray[np.bool_]) -> Agreement:
    """A map fitted to its supporters and to whom it then finds, four times over."""
    affine = np.eye(2, 3)
    for within in (_CLOSE, _CLOSE, _WITHIN, _WITHIN):
        if np.count_nonzero(kept) < _FEWEST:
            return _nowhere()
        affine = _least_squares(matches.where(kept))
        turn = complex(affine[0, 0] + affine[1, 1], affine[1, 0] - affine[0, 1]) / 2
        if not abs(turn) > 1e-6:
            return _nowhere()
        places = np.column_stack([matches.second.real, matches.second.imag])
        error = _complex(places @ affine[:, :2].T + affine[:, 2]) - matches.first
        kept = (np.abs(error) < within) & _alike(matches.own, turn)
    if not _believable(affine):
        return _nowhere()
    return Agreement(_places(matches.where(kept)), affine.astype(np.float32))


def _least_squares(matches: _Matches) -> NDArray[np.float64]:
    """(2, 3): an affine map, or one that only moves, turns and scales if there are few."""
    x, y = matches.second.astype(np.complex128), matches.first.astype(np.complex128)
    if len(x) >= _AFFINE:
        columns = np.column_stack([x.real, x.imag, np.ones(len(x))])
        solved = np.linalg.lstsq(columns, np.column_stack([y.real, y.imag]), rcond=None)[0]
        return np.ascontiguousarray(solved.T)
    turn, move = np.linalg.lstsq(np.column_stack([x, np.ones(len(x))]), y, rcond=None)[0]
    return np.array([[turn.real, -turn.imag, move.real], [turn.imag, turn.real, move.imag]])


def _places(matches: _Matches) -> int:
    """How many places agree: one that has features in several directions counts once."""
    return min(len(np.unique(np.round(z))) for z in (matches.first, matches.second))


def _believable(affine: NDArray[Any]) -> bool:
    """Not turned inside out, and neither scaled nor squeezed beyond reason."""
    large, small = np.linalg.svd(affine[:, :2], compute_uv=False)
    turned = float(np.linalg.det(affine[:, :2])) <= 0
    return not turned and _SCALES[0] < small <= large < _SCALES[1] and large / small < _STRETCH

"""What is asked of a place, and what a region search gives."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foveola.records import Case
from foveola.regions.box import Box, Field
from foveola.trust import Looks


class Places(NamedTuple):
    """A query's photograph as the archive keeps its own.

    Attributes:
        vectors: (n, n, D) float32 of unit length, zero outside the field of view.
        field: where that lies.
    """

    vectors: NDArray[np.float32]
    field: Field


@dataclass(frozen=True)
class RegionHit:
    """A case, and where in it the region is found.

    Attributes:
        rank: 1 is the most similar.
        similarity: mean cosine of the region with the places of the box, in [-1, 1].
        case: the photograph and its record.
        id: of the case in its archive.
        box: where, in shares of the picture's width and height.
        square: the same in shares of the square around the field of view, as thumbnails show it.
    """

    rank: int
    similarity: float
    case: Case
    id: int
    box: Box
    square: Box


@dataclass(frozen=True, kw_only=True)
class RegionResult:
    """What a region search found, and what it left out.

    Attributes:
        query: the photograph asked about; its record is the archive's if it is in there.
        in_archive: whether the archive holds this very file; None, as the two counts, for who may
            not match people.
        region: the part that was compared: the positions of the grid that were marked, in shares
            of the picture.
        square: the same in shares of the square around its field of view.
        hits: best first.
        itself: what the region gets against itself, which is below 1 where it is not uniform.
        typical: half of the cases compared have a box this alike or more; None where there are
            none. A first hit that is hardly above it says that the region is nothing special.
        excluded_same_subject: images of the query's own subject that were left out.
        considered: cases compared, after filter and exclusions.
        undescribed: cases that pass the filter but whose places are not kept, as after an
            addition without `foveola regions update`.
        where: the filter as given.
        encoder: name of the encoder.
        fingerprint: of the encoder.
        milliseconds: from the places of the query to the hits.
        gradability: of the query, from 0 to 1.
        looks: whether the query is a fundus photograph.
    """

    query: Case
    in_archive: bool | None
    region: Box
    square: Box
    hits: tuple[RegionHit, ...]
    itself: float
    typical: float | None
    excluded_same_subject: int | None
    considered: int | None
    undescribed: int
    where: str | None
    encoder: str
    fingerprint: str
    milliseconds: float
    gradability: float
    looks: Looks

"""What goes into an archive and what a search gives back."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foveola.records import Case, Eye

DIGEST_BYTES = 16  # blake2b with digest_size=16


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A case to be stored.

    Attributes:
        case: the record; its `path` is the key of the archive.
        descriptor: (D,) float32, a unit vector.
        digest: blake2b of the file with 16 bytes.
        size: of the file in bytes.
        mtime_ns: of the file, nanoseconds since 1970.
    """

    case: Case
    descriptor: NDArray[np.float32]
    digest: bytes
    size: int
    mtime_ns: int


class Photographed(NamedTuple):
    """Whose eye a photograph shows, and when it was taken; None is unknown."""

    subject: str | None
    collection: str
    visit: float | str | None
    eye: Eye | None


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a search gives, best first.

    Attributes:
        ids: (n,) int64, n <= k.
        similarities: (n,) float32 cosine in [-1, 1]; equal ones are ordered by id.
        scores: (n,) float32, by which they are ordered; the similarities, unless another order was
            asked for.
        nearest: greatest cosine of any case considered; None where none was.
        cases: the n records, of the same state of the archive as the ids.
        excluded_same_subject: images of the query's subject that pass the filter and were left out.
        considered: cases compared, after filter and exclusions.
    """

    ids: NDArray[np.int64]
    similarities: NDArray[np.float32]
    scores: NDArray[np.float32]
    nearest: float | None
    cases: tuple[Case, ...]
    excluded_same_subject: int
    considered: int

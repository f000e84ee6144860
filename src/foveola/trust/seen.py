"""Which photographs an encoder was trained on.

Their labels are known to it: they lie nearer to photographs of their own label than a new one does,
and an archive that learns from them how far to trust a hit learns too much.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from foveola import files
from foveola.errors import EncoderError, ImageError, damaged
from foveola.images.decode import read_bytes

SEEN = "seen.npy"  # in the folder of an encoder
_BYTES = 8  # of a digest that are kept: enough to meet by chance once in 10^13 photographs


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
        """From BLAKE2b digests of files with 16 bytes, as an archive keeps them."""
        return cls(np.unique(_marks(digests)))

    @classmethod
    def of_files(cls, paths: Iterable[Path]) -> Self:
        """From the files; those that can't be read any more are left out."""
        return cls.of(digest for path in paths if (digest := _digest(path)) is not None)

    def among(self, digests: Iterable[bytes]) -> NDArray[np.bool_]:
        """Which photographs are among them, bool (M,) in the order given."""
        return np.isin(_marks(digests), self.marks)

    def without(self, digests: Iterable[bytes]) -> Self:
        """The others."""
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

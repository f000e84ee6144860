"""The archive as a researcher opens it: its cases, its descriptors, and searches by photograph.

    archive = Archive.open("archive/")
    archive.search("fundus.jpg", k=5, where="grade >= 2")

It is a `Retriever`, and so the archive and its own encoder. The class of that name in
`foveola.archive` keeps cases on the disk: it lies on a floor below, where no photograph can be
encoded, and is what programs write with.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from foveola.archive import ArchiveInfo
from foveola.records import Case
from foveola.retrieval.retriever import Retriever


class Archive(Retriever):
    """An archive opened for searching, with its own encoder. A context manager.

    Made by `open`; `foveola.add_missing` makes a new archive and adds to one.
    """

    def __len__(self) -> int:
        return len(self.archive)

    def __repr__(self) -> str:
        return f"Archive of {len(self):,} cases by the encoder {self.encoder.name}"

    def cases(self) -> list[Case]:
        """Return the N cases, in order of addition."""
        return [case for _, case in self.archive.cases()]

    def vectors(self) -> NDArray[np.float32]:
        """Return the descriptors, float32 (N, D) of unit length, row i of case i; read-only."""
        return self.archive.vectors()[1]

    def info(self) -> ArchiveInfo:
        """Return what the archive holds, in numbers."""
        return replace(self.archive.info(), learned=self.labels())

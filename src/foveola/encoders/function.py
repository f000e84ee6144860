"""An encoder that is a function of yours, in Python.

    def describe(pixels):  # (1, S, S, 3) uint8 -> (1, D)
        ...
    encoder = FunctionEncoder(
        describe, name="my-model", version="1", dimension=1024, contract=Contract(size=224)
    )
    add_missing(Path("archive"), cases, encoder)
    Retriever.open(Path("archive"), encoder)

The archive keeps no copy of a function, only its name, version and contract. It is opened by giving
the function again; the command line and the service can't, and say so.
"""

import hashlib
import json
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveola.encoders.card import render_card
from foveola.encoders.compiling import Cores
from foveola.encoders.encoder import Encoder
from foveola.encoders.graph import DIMENSIONS
from foveola.encoders.release import FUNCTION, Release, checked_name, write_description
from foveola.images.fundus import Contract
from foveola.resources import AnyPath

Pixels = NDArray[np.uint8]
Vectors = NDArray[np.float32]


class FunctionEncoder(Encoder):
    """A function as an encoder; it does all that a released one does, but for maps and places.

    The function is called with one photograph at a time, as a descriptor must not depend on its
    neighbours, and from one thread at a time. It must give the same for the same pixels.

    Args:
        function: (B, S, S, 3) uint8 prepared pixels -> (B, D) numbers, of any length but 0.
        name: of the encoder.
        version: raise it whenever the function gives other descriptors: it is all that tells two
            functions of a name apart. Name, version, dimension and contract make the fingerprint.
        dimension: D, from 2 to 8192.
        contract: how photographs are prepared. Its mean and std are not applied; the function
            does that.
        threads: processor cores that prepare photographs; None takes all.
        licence: of the model, for the card.

    Raises:
        ValueError: the dimension is out of range, or the version empty.
        EncoderError: the name can't be an encoder's.
    """

    def __init__(
        self,
        function: Callable[[Pixels], Any],
        *,
        name: str,
        version: str,
        dimension: int,
        contract: Contract | None = None,
        threads: int | None = None,
        licence: str = "",
    ) -> None:
        if not DIMENSIONS[0] <= dimension <= DIMENSIONS[1]:
            raise ValueError(f"dimension is {dimension}; expected {DIMENSIONS[0]} to {DIMENSIONS[1]}")
        if not version:
            raise ValueError("version is empty; expected something that changes with the function")
        contract = contract or Contract()
        card = {"task": "brought in", "origin": {"kind": FUNCTION, "version": version}, "licence": licence}
        said = json.dumps([FUNCTION, checked_name(name), version, dimension, contract.hash])
        mark = hashlib.sha256(said.encode()).hexdigest()[:32]
        # no folder holds it, so what looks for files beside it finds none
        self.release = Release(Path("/dev/null/function"), name, dimension, contract, mark, card)
        self.threads = Cores.of(threads).threads
        self._function = function
        self._one = threading.Lock()
        self._free: deque[Any] = deque()

    def save(self, folder: AnyPath) -> None:
        """Write encoder.json and CARD.md into a new folder, so that an archive knows its encoder.

        Raises:
            OSError: it exists, or can't be written.
        """
        folder = Path(folder)
        folder.mkdir(parents=True)
        write_description(folder, self.release)
        (folder / "CARD.md").write_text(render_card(self.release), encoding="utf-8")

    def wait(self) -> None:
        """Return at once: a function is ready."""

    def _run(self, image: Pixels) -> tuple[Vectors, Vectors]:
        with self._one:
            rows = np.asarray(self._function(image[None]), np.float32)
        if rows.shape != (1, self.dimension):
            raise ValueError(
                f"the function of encoder {self.name!r} gave {rows.shape} for one photograph; "
                f"expected (1, {self.dimension})"
            )
        return self._unit(rows[0]), rows[0]

"""Run an encoder on a CPU: a released one, or a function of the user's (`FunctionEncoder`).

Every image goes through the network alone (batch of 1) and in float32, whatever the processor
offers: a descriptor then depends on its photograph only, not on its neighbours in a batch or
on where an interrupted run went on, and archives of two machines can be compared.
"""

import hashlib
import json
import os
import shutil
import tempfile
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple, Self

import cv2
import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13

from foveola.encoders.card import render_card
from foveola.encoders.compiling import Cores, begun, compiled, in_order
from foveola.encoders.graph import DIMENSIONS
from foveola.encoders.release import DEFAULT, FUNCTION, Release, checked_name, read_release, write_description
from foveola.errors import EncoderError, FoveolaError, ImageError
from foveola.files import stamp_of
from foveola.images.decode import Photograph, as_file, at_hand, decode, is_one, naming
from foveola.images.fundus import Contract, FieldOfView, find_field_of_view, prepare
from foveola.images.gradability import gradability
from foveola.records import Case, Eye
from foveola.resources import AnyPath

Pixels = NDArray[np.uint8]
Vectors = NDArray[np.float32]

# Cases a core may be ahead of whoever takes the results: writing a batch to disk takes as long
# as encoding some ten.
AHEAD = 32

# As many as there are workers while photographs are indexed (compiling.py). Forty threads of a service
# with one each would hold a gigabyte and be no faster.
REQUESTS_PER_CORE = 2

# OpenVINO looks numpy's interface up at its first use, and two threads that come to it together
# wait for each other for ever (one holds the lock, the other the interpreter). An import happens
# on one thread only, so the first use is here.
ov.Tensor(np.zeros(1, np.float32))


@dataclass(frozen=True)
class Encoded:
    """One photograph's descriptor, and what tells whether the file has changed since.

    Attributes:
        case: the photograph.
        descriptor: (D,) float32, unit length.
        digest: BLAKE2b of the file, 16 bytes.
        size: of the file in bytes.
        mtime_ns: time of its last change.
        gradability: chance that its quality suffices for grading, from 0 to 1.
        pooled: (C,) float32, what the network made of it.
    """

    case: Case
    descriptor: Vectors
    digest: bytes
    size: int
    mtime_ns: int
    gradability: float
    pooled: Vectors


class Description(NamedTuple):
    """One photograph as the network sees it.

    Attributes:
        descriptor: (D,) float32, unit length.
        pooled: (C,) float32, its last map averaged over the positions.
        gradability: chance that its quality suffices for grading, from 0 to 1.
        prepared: (S, S, 3) uint8, what the network saw.
    """

    descriptor: Vectors
    pooled: Vectors
    gradability: float
    prepared: Pixels


# What a file that can't be used raises when it is read, decoded or prepared; a picture of odd shape
# may ask for more memory than there is.
UNUSABLE = (OSError, FoveolaError, MemoryError, cv2.error)


@dataclass(frozen=True)
class Failed:
    """A photograph that can't be encoded, with the reason in one sentence."""

    case: Case
    reason: str

    @classmethod
    def of(cls, case: Case, error: Exception) -> Self:
        """For what reading or decoding its file raised, one of UNUSABLE."""
        if isinstance(error, OSError):
            return cls(case, f"can't be read: {error.strerror or type(error).__name__}")
        if isinstance(error, MemoryError | cv2.error):
            return cls(case, "takes more memory than there is; export it smaller")
        return cls(case, str(error))


class Encoder:
    """A released encoder, ready to run. Safe to use from several threads.

    Args:
        release: what to run.
        threads: processor cores to use; None takes all that this process may use.
        together: how many of them work on one photograph. 1 describes most photographs a second;
            2 describes one in half the time, for whoever waits for it.
    """

    def __init__(self, release: Release, threads: int | None = None, together: int = 1) -> None:
        self.release = release
        cores = Cores.of(threads, together)
        self.threads = cores.threads
        self._compiling = begun(f"encoder {release.name!r}", lambda: _compile(release, cores))
        self._slots = threading.BoundedSemaphore(REQUESTS_PER_CORE * self.threads)
        self._free: deque[Any] = deque()

    @classmethod
    def load(cls, source: str | Path = DEFAULT, threads: int | None = None, together: int = 1) -> "Encoder":
        """Load an encoder; its first use waits until it is compiled.

        Args:
            source: name of a shipped encoder, the folder of one, or an ONNX file (`*.onnx`) of a
                network that takes an image of fixed size; `foveola encoder add` has more settings.
            threads: processor cores to use; None takes all.
            together: how many of them work on one photograph.

        Raises:
            EncoderError: it is missing, damaged or made for another version; or the file is no
                network of one image that gives a vector.
        """
        if Path(source).suffix.lower() == ".onnx" and not Path(source).is_dir():
            return cls._of_onnx(Path(source), threads, together)
        return cls(read_release(source), threads, together)

    @classmethod
    def _of_onnx(cls, path: Path, threads: int | None, together: int) -> "Encoder":
        """An encoder whose folder is temporary and goes with it."""
        from foveola.encoders.add import add_onnx

        home = tempfile.mkdtemp(prefix="foveola-")
        try:
            made = cls(add_onnx(path, Path(home) / "encoder"), threads, together)
        except BaseException:
            shutil.rmtree(home, ignore_errors=True)
            raise
        weakref.finalize(made, shutil.rmtree, home, ignore_errors=True)
        return made

    @property
    def name(self) -> str:
        """Return the encoder's name."""
        return self.release.name

    @property
    def fingerprint(self) -> str:
        """Return the hash of weights, graph and contract."""
        return self.release.fingerprint

    @property
    def dimension(self) -> int:
        """Return D of the descriptors."""
        return self.release.dimension

    @property
    def contract(self) -> Contract:
        """Return what is done to a photograph before it is encoded."""
        return self.release.contract

    def encode(
        self, photographs: Photograph | Iterable[Photograph], *, eyes: Sequence[Eye | None] | None = None
    ) -> Vectors:
        """Encode photographs into unit descriptors, on all cores.

        Each photograph is decoded, cut to its field of view and encoded alone, so its descriptor
        is that of an archive, whatever else is in the list.

        Args:
            photographs: a photograph or any list of them. A photograph is the path of a file (text
                or Path), the bytes of a file, an array (H, W, 3) uint8 RGB upright, or a PIL image.
                One array (B, S, S, 3) uint8 with S = contract.size holds prepared squares, which
                are given to the network as they are; give photographs as a list.
            eyes: "left", "right" or None for each photograph; only an encoder that mirrors left
                eyes (`Contract.orient`) asks for it.

        Returns:
            float32 of unit length: (D,) for one photograph, (N, D) for a list, also of one or none.

        Raises:
            ImageError: a photograph can't be used; the sentence begins with its place in the list.
            ValueError: something is no photograph, or eyes are of another number.
        """
        if isinstance(photographs, np.ndarray) and photographs.ndim == 4:
            return self._encode_squares(photographs)
        if is_one(photographs):
            if eyes is not None and len(eyes) != 1:
                raise ValueError(f"expected one eye for one photograph, got {len(eyes)}")
            return self._encode_one(photographs, eyes[0] if eyes else None)
        several: list[Photograph] = list(photographs)  # type: ignore[arg-type]  # not one
        sides = eyes or [None] * len(several)
        if len(sides) != len(several):
            raise ValueError(f"expected {len(several)} eyes, got {len(sides)}")

        def work(at: int) -> Vectors:
            try:
                return self._encode_one(several[at], sides[at])
            except (ImageError, ValueError) as error:
                kind = ImageError if isinstance(error, ImageError) else ValueError
                raise kind(f"photographs[{at}]: {error}") from error

        rows = list(in_order(work, range(len(several)), self.threads, AHEAD))
        return np.stack(rows) if rows else np.empty((0, self.dimension), np.float32)

    def _encode_one(self, photograph: Photograph, eye: Eye | None) -> Vectors:
        """(D,) of a photograph in any form."""
        if isinstance(photograph, str | os.PathLike) and (path := Path(photograph)).is_file():
            with at_hand(path, self.contract.min_side) as data:
                return self._encode_file(data, path.name, eye)
        file = as_file(photograph)
        return self._encode_file(file.data, file.name, eye)

    def _encode_file(self, data: bytes, name: str, eye: Eye | None) -> Vectors:
        image = decode(data, min_side=self.contract.min_side, name=name)
        with naming(name):
            return self.encode_photograph(image, eye)

    def _encode_squares(self, prepared: Pixels) -> Vectors:
        """(B, S, S, 3) uint8 -> (B, D)."""
        size = self.contract.size
        if prepared.dtype != np.uint8 or prepared.shape[1:] != (size, size, 3):
            raise ValueError(f"expected (B, {size}, {size}, 3) uint8, got {prepared.shape} {prepared.dtype}")
        rows = [self._run(image)[0] for image in prepared]
        return np.stack(rows) if rows else np.empty((0, self.dimension), np.float32)

    def encode_photograph(self, image: Pixels, eye: Eye | None = None) -> Vectors:
        """Encode (H, W, 3) uint8 RGB as decoded -> (D,) float32 unit descriptor."""
        return self._run(prepare(image, self.contract, eye))[0]

    def embed_with_quality(self, image: Pixels, eye: Eye | None = None) -> Description:
        """Encode (H, W, 3) uint8 RGB as decoded, with what `foveola.trust` needs beside the descriptor."""
        view = find_field_of_view(image)
        prepared = prepare(image, self.contract, eye, view)
        # What the network saw will do where it is the whole field, and saves time.
        whole = FieldOfView(*(self.contract.size / 2,) * 3, view.round)
        seen = (prepared, whole) if self.contract.crop else (image, view)
        return Description(*self._run(prepared), gradability(*seen), prepared)

    def wait(self) -> None:
        """Return when the encoder can be used without delay.

        Raises:
            EncoderError: it can't be run.
        """
        self._compiling.result()

    def encode_case(self, case: Case) -> Encoded | Failed:
        """Read, decode, prepare and encode one file; a file that can't be used is no exception."""
        path = Path(case.path)
        try:
            size, mtime_ns = stamp_of(path)
            with at_hand(path, self.contract.min_side) as data:
                digest = blake2b(data, digest_size=16).digest()
                image = decode(data, min_side=self.contract.min_side, name=path.name)
                with naming(path.name):
                    seen = self.embed_with_quality(image, case.eye)
        except UNUSABLE as error:
            return Failed.of(case, error)
        return Encoded(case, seen.descriptor, digest, size, mtime_ns, seen.gradability, seen.pooled)

    def encode_cases(self, cases: Iterable[Case]) -> Iterator[Encoded | Failed]:
        """Encode many files on all cores; results come in the order of the cases.

        Holds two images a core at a time, however many cases there are, and works ahead of
        the caller, who may be waiting for a disk.
        """
        return in_order(self.encode_case, cases, self.threads, AHEAD)

    def _run(self, image: Pixels) -> tuple[Vectors, Vectors]:
        """Descriptor and pooled map of a prepared photograph."""
        with self._lent() as request:
            request.infer({0: image[None]}, share_inputs=True)
            vector = np.array(request.get_tensor("descriptor").data[0], np.float32)
            pooled = np.array(request.get_tensor("pooled").data[0], np.float32)
        return self._unit(vector), pooled

    def _unit(self, vector: Vectors) -> Vectors:
        """At unit length; a network brought in may give what has none."""
        length = np.linalg.norm(vector).astype(np.float32)
        if not 0 < length < np.inf:  # nor if it is NaN
            raise EncoderError(f"encoder {self.name!r} gives zeros, or what is no number, for this photograph")
        return vector / length

    @contextmanager
    def _lent(self) -> Iterator[Any]:
        """A request, each of which holds the maps of a whole network, so there are but a few."""
        compiled = self._compiling.result()
        with self._slots:
            try:
                request = self._free.pop()
            except IndexError:
                request = compiled.create_infer_request()
            try:
                yield request
            finally:
                self._free.append(request)


def _compile(release: Release, cores: Cores) -> Any:
    model = ov.Core().read_model(release.folder / "model.xml")
    model.reshape({0: [1, release.contract.size, release.contract.size, 3]})
    # of the feature map only the mean: copying the whole of it takes 3 % of the time
    features = model.output("features").get_node().input_value(0)
    pooled = opset13.reduce_mean(features, np.array([2, 3]))
    pooled.output(0).set_names({"pooled"})
    reduced = ov.Model([model.output("descriptor"), pooled.output(0)], model.get_parameters())
    return compiled(reduced, cores)


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

    An archive keeps no copy of a function, only its name, version and contract. It is opened by giving
    the function again (`add_missing(folder, cases, encoder)`, `Retriever.open(folder, encoder)`); the
    command line and the service can't, and say so.

    >>> mean = lambda pixels: pixels.mean((1, 2))  # (B, S, S, 3) uint8 -> (B, 3)
    >>> encoder = FunctionEncoder(mean, name="mean", version="1", dimension=3, contract=Contract(size=32))
    >>> encoder.encode(np.full((64, 64, 3), 90, np.uint8)).round(3)
    array([0.577, 0.577, 0.577], dtype=float32)
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

"""Run a released reader: both eyes of a person in, probabilities of findings out.

The folder of a reader:
    reader.json    name, labels, thresholds, preprocessing, checksums, fingerprint, card
    model.xml      OpenVINO IR: pixels (1, 2, S, S, 3) uint8 and present (1, 2) float32 in;
                   "probabilities", "eyes", "feature" and "evidence" out
    model.bin      its weights
    CARD.md        what it was trained on and how good it is, for people

Every person goes through the network alone and in float32, as photographs do in an encoder: what
is said of a person does not depend on who else is read.
"""

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from foveola import files
from foveola.encoders.compiling import Cores, begun, compiled
from foveola.encoders.release import RELEASED, fingerprint, locate, read_json
from foveola.errors import EncoderError
from foveola.images.fundus import Contract, enhance, prepare

FORMAT = 1
DEFAULT_READER = "fundus-reading-1"
FILE = "reader.json"

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ReaderRelease:
    """What reader.json says, checked against the files beside it.

    Attributes:
        folder: where the files lie.
        name: of the reader.
        labels: L names, in the order of the probabilities.
        thresholds: L, above which a label is called found; chosen on people for validation.
        alone: L, likewise of one eye alone, whose own probabilities are told then; None where
            the fusion without the other eye tells them.
        contract: what is done to a photograph before it is read.
        enhance: whether its lightness is equalised then.
        fingerprint: 32 hexadecimal digits, of all of these and the weights.
        card: what it was trained on and how good it is.
    """

    folder: Path
    name: str
    labels: tuple[str, ...]
    thresholds: tuple[float, ...]
    alone: tuple[float, ...] | None
    contract: Contract
    enhance: bool
    fingerprint: str
    card: Mapping[str, Any]


def is_reader(source: str | Path) -> bool:
    """Return whether a name, or a folder, is that of a reader."""
    return any((folder / FILE).is_file() for folder in (Path(source), RELEASED / str(source)))


def read_reader(source: str | Path) -> ReaderRelease:
    """Read and check a released reader, by name or from its folder.

    Raises:
        EncoderError: it is missing, damaged, or made for another version of the program.
    """
    folder = locate(source, FILE, "reader")
    values = read_json(folder / FILE, "a reader")
    if values.get("format") != FORMAT:
        raise EncoderError(f"{folder} has reader format {values.get('format')!r}; this program reads {FORMAT}")
    try:
        release = ReaderRelease(
            folder,
            str(values["name"]),
            tuple(map(str, values["labels"])),
            tuple(map(float, values["thresholds"])),
            tuple(map(float, values["alone"])) if values.get("alone") is not None else None,
            Contract.from_mapping(values["contract"]),
            bool(values["enhance"]),
            str(values["fingerprint"]),
            dict(values["card"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise EncoderError(f"{folder / FILE} can't be used: {error}") from None
    alone = release.thresholds if release.alone is None else release.alone
    for thresholds in (release.thresholds, alone):
        if len(release.labels) != len(thresholds) or not release.labels:
            raise EncoderError(f"{folder / FILE} has {len(thresholds)} thresholds for {len(release.labels)} labels")
    if _fingerprint(release) != release.fingerprint:
        raise EncoderError(
            f"the files of reader {release.name!r} in {folder} are not those it was released "
            "with; copy the folder again"
        )
    return release


def write_reader(
    folder: Path,
    *,
    name: str,
    labels: tuple[str, ...],
    thresholds: tuple[float, ...],
    contract: Contract,
    enhance: bool,
    card: Mapping[str, Any],
    alone: tuple[float, ...] | None = None,
) -> ReaderRelease:
    """Write reader.json beside a model.xml and model.bin that are there already."""
    bare = ReaderRelease(folder, name, labels, thresholds, alone, contract, enhance, "", card)
    made = replace(bare, fingerprint=_fingerprint(bare))
    values = {
        "format": FORMAT,
        "name": name,
        "labels": list(labels),
        "thresholds": list(thresholds),
        "alone": None if alone is None else list(alone),
        "contract": contract.to_mapping(),
        "enhance": enhance,
        "fingerprint": made.fingerprint,
        "card": dict(card),
    }
    files.write_json(folder / FILE, values, indent=2)
    return made


def _fingerprint(release: ReaderRelease) -> str:
    """Of all that what is said depends on."""
    of_one = [] if release.alone is None else [release.alone]  # older readers say nothing of it
    said = json.dumps([release.labels, release.thresholds, release.enhance, *of_one])
    files = fingerprint(release.folder, release.contract)
    return hashlib.sha256(f"{files} {said}".encode()).hexdigest()[:32]


@dataclass(frozen=True, eq=False)
class ReadingOutput:
    """What a reader says of one person.

    Attributes:
        probabilities: (L,), of the person; of one eye alone its own, if the release says so.
        thresholds: (L,), above which a label counts as found.
        eyes: (2, L), of each eye by itself, left first; NaN of a missing one.
        feature: (F,) the fused feature.
        evidence: (2, L, h, w), what each position of an eye adds to its logit, whose mean over
            the positions and a constant make the logit; NaN of a missing eye.
    """

    probabilities: Floats
    thresholds: tuple[float, ...]
    eyes: Floats
    feature: Floats
    evidence: Floats


class ReadingModel:
    """A released reader, ready to run. Safe to use from several threads.

    Args:
        release: what to run.
        threads: processor cores to use; None takes all that this process may use.
        together: how many of them work on one person, as for `Encoder`.
    """

    def __init__(self, release: ReaderRelease, threads: int | None = None, together: int = 1) -> None:
        cores = Cores.of(threads, together)
        self.release, self.threads = release, cores.threads
        # meanwhile the first photographs are decoded
        self._compiling = begun(f"reader {release.name!r}", lambda: _compile(release, cores))
        self._local = threading.local()

    @classmethod
    def load(cls, source: str | Path = DEFAULT_READER, threads: int | None = None, together: int = 1) -> "ReadingModel":
        """Load a shipped reader by name, or one from its folder; its first use waits for it.

        Raises:
            EncoderError: it is missing, damaged or made for another version.
        """
        return cls(read_reader(source), threads, together)

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the L names."""
        return self.release.labels

    def prepare(self, image: Pixels, eye: str | None = None) -> Pixels:
        """Prepare a photograph, (H, W, 3) uint8 RGB as decoded -> (S, S, 3) uint8."""
        prepared = prepare(image, self.release.contract, eye)  # type: ignore[arg-type]
        return enhance(prepared) if self.release.enhance else prepared

    def read(self, left: Pixels | None, right: Pixels | None) -> ReadingOutput:
        """Read a person from prepared photographs of both eyes, or of the one there is.

        Args:
            left: (S, S, 3) uint8, from `prepare`.
            right: likewise.

        Raises:
            ValueError: neither is given, or one has another shape or dtype.
            EncoderError: the network can't be run.
        """
        size = self.release.contract.size
        pixels = np.zeros((1, 2, size, size, 3), np.uint8)
        for side, image in enumerate((left, right)):
            if image is not None:
                if image.shape != (size, size, 3) or image.dtype != np.uint8:
                    raise ValueError(f"expected ({size}, {size}, 3) uint8, got {image.shape} {image.dtype}")
                pixels[0, side] = image
        present = np.array([[left is not None, right is not None]])
        if not present.any():
            raise ValueError("neither eye is given; expected one or both")
        return self._run(pixels, present)

    def _run(self, pixels: Pixels, present: NDArray[np.bool_]) -> ReadingOutput:
        request = getattr(self._local, "request", None)
        if request is None:
            request = self._local.request = self._compiling.result().create_infer_request()
        request.infer({"pixels": pixels, "present": present.astype(np.float32)})
        probabilities, eyes, feature, evidence = (
            np.array(request.get_tensor(name).data[0], np.float32)
            for name in ("probabilities", "eyes", "feature", "evidence")
        )
        eyes[~present[0]] = np.nan
        evidence[~present[0]] = np.nan
        thresholds, alone = self.release.thresholds, self.release.alone
        if alone is not None and not present.all():
            probabilities, thresholds = eyes[int(present[0, 1])].copy(), alone
        return ReadingOutput(probabilities, thresholds, eyes, feature, evidence)


def _compile(release: ReaderRelease, cores: Cores) -> Any:
    size = release.contract.size
    model = ov.Core().read_model(release.folder / "model.xml")
    model.reshape({"pixels": [1, 2, size, size, 3], "present": [1, 2]})
    return compiled(model, cores)

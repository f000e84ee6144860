"""The folder of a released encoder, and the checks it must pass before it is run.

    encoder.json   name, dimension, preprocessing contract, fingerprint, parts, card
    model.xml      OpenVINO IR: (1, S, S, 3) uint8 in, "descriptor" and "features" out
    model.bin      its weights
    CARD.md        what it was trained on and how good it is, for people

The fingerprint is a hash of the weights, the graph and the contract. Two encoders whose
descriptors could differ have different fingerprints; card and parts are not in it. Parts are files
beside these, each with a checksum of its own, without which something would not be looked at: a
listed one that is missing is an error. Encoders from before list none.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foveola import files
from foveola.errors import EncoderError
from foveola.images.fundus import Contract

FORMAT = 1
RELEASED = Path(__file__).parent / "released"
DEFAULT = "fundus-similarity-5"
MATCHER = "fundus-matching-1"  # tells eyes apart, and left from right
FUNCTION = "Python function"  # kind of origin of what has no model.xml, see encoders/encoder.py
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FILES = ("model.xml", "model.bin")


@dataclass(frozen=True)
class Release:
    """What encoder.json says, checked against the files beside it.

    Attributes:
        folder: where the files lie.
        name: of the encoder.
        dimension: D of its descriptors.
        contract: what is done to a photograph before it is encoded.
        fingerprint: 32 hexadecimal digits.
        card: what it was trained on and how good it is.
        parts: names of the files that belong to it beside its network.
    """

    folder: Path
    name: str
    dimension: int
    contract: Contract
    fingerprint: str
    card: Mapping[str, Any]
    parts: tuple[str, ...] = ()


def find(source: str | Path) -> Path:
    """Find the folder of a shipped encoder by name, or the folder itself.

    Raises:
        EncoderError: there is neither.
    """
    return locate(source, "encoder.json", "encoder")


def locate(source: str | Path, file: str, kind: str) -> Path:
    """Find the folder that holds a file of that name, of a shipped model or of one's own.

    Raises:
        EncoderError: there is neither.
    """
    for folder in (Path(source), RELEASED / str(source)):
        if (folder / file).is_file():
            return folder
    names = ", ".join(sorted(p.parent.name for p in RELEASED.glob(f"*/{file}"))) or "none"
    raise EncoderError(f"{source} is no {kind}: expected a folder with {file}, or one of the shipped {kind}s ({names})")


def read_release(source: str | Path) -> Release:
    """Read and check a released encoder.

    Raises:
        EncoderError: it is missing, damaged, or made for another version of the program.
    """
    folder = find(source)
    values = read_json(folder / "encoder.json", "an encoder")
    if values.get("format") != FORMAT:
        raise EncoderError(f"{folder} has encoder format {values.get('format')!r}; this program reads {FORMAT}")
    try:
        contract = Contract.from_mapping(values["contract"])
        release = Release(
            folder,
            str(values["name"]),
            int(values["dimension"]),
            contract,
            str(values["fingerprint"]),
            dict(values["card"]),
            tuple(map(str, values.get("parts", ()))),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise EncoderError(f"{folder / 'encoder.json'} can't be used: {error}") from None
    if dict(release.card.get("origin", {})).get("kind") == FUNCTION:
        version = release.card["origin"].get("version")
        raise EncoderError(
            f"encoder {release.name!r}, version {version}, is a Python function, of which {folder} "
            "holds only the name; give the function again, in Python: "
            "Retriever.open(archive, FunctionEncoder(...)), see docs/how-to/encoders.md"
        )
    if fingerprint(folder, contract) != release.fingerprint:
        raise EncoderError(
            f"the files of encoder {release.name!r} in {folder} are not those it was released "
            "with; copy the folder again"
        )
    if gone := [part for part in release.parts if not (folder / part).is_file()]:
        raise EncoderError(
            f"{folder / gone[0]} is missing, which belongs to encoder {release.name!r}; copy it "
            "again from where the encoder came from"
        )
    return release


def write_release(folder: Path, *, name: str, dimension: int, contract: Contract, card: Mapping[str, Any]) -> Release:
    """Write encoder.json beside a model.xml and model.bin that are there already."""
    mark = fingerprint(folder, contract)
    release = Release(folder, name, dimension, contract, mark, card)
    write_description(folder, release)
    return release


def add_parts(folder: Path, *names: str) -> None:
    """List files that were put beside an encoder as parts of it.

    Raises:
        EncoderError: encoder.json can't be read.
        OSError: it can't be written.
    """
    path = folder / "encoder.json"
    values = read_json(path, "an encoder")
    values["parts"] = sorted({*values.get("parts", ()), *names})
    files.write_json(path, values, indent=2)


def write_description(folder: Path, release: Release) -> None:
    """Write encoder.json, from which `read_release` reads the release."""
    values = {
        "format": FORMAT,
        "name": release.name,
        "dimension": release.dimension,
        "contract": release.contract.to_mapping(),
        "fingerprint": release.fingerprint,
        "parts": list(release.parts),
        "card": dict(release.card),
    }
    files.write_json(folder / "encoder.json", values, indent=2)


def checked_name(name: str) -> str:
    """Return the name, where an encoder may have it.

    Raises:
        EncoderError: it holds other signs, or is that of a shipped encoder.
    """
    if not _NAME.fullmatch(name):
        raise EncoderError(
            f"{name!r} is no name for an encoder; use up to 64 letters, digits, dots, dashes and underscores"
        )
    if (RELEASED / name).exists():
        raise EncoderError(f"{name} is the name of a shipped encoder; choose another with --name")
    return name


def fingerprint(folder: Path, contract: Contract) -> str:
    """Compute the hash of the graph, the weights and the contract.

    Raises:
        EncoderError: a file is missing or can't be read.
    """
    digest = hashlib.sha256(contract.hash.encode())
    for name in _FILES:
        try:
            digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
        except OSError as error:
            raise EncoderError(f"{folder / name} can't be read: {error.strerror}") from None
    return digest.hexdigest()[:32]


def read_json(path: Path, what: str) -> dict[str, Any]:
    """Read a JSON file that describes what is released.

    Raises:
        EncoderError: it can't be read, or is something else.
    """
    try:
        return files.read_json(path)
    except files.DamagedError:
        raise EncoderError(f"{path} does not describe {what}, or was changed since; copy the folder again") from None
    except (OSError, ValueError) as error:
        raise EncoderError(f"{path} can't be read: {type(error).__name__}") from None

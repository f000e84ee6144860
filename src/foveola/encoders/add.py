"""A released encoder from a network that was made elsewhere: an ONNX file, or a graph of OpenVINO.

Nothing is unpickled and nothing is downloaded. The folder is written beside its place and renamed
when it is whole and has been run, so a network that can't be used leaves nothing behind.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino.frontend import (
    FrontEndManager,
    GeneralFailure,
    InitializationFailure,
    NotImplementedFailure,
    OpConversionFailure,
    OpValidationFailure,
)

from foveola.encoders.card import render_card
from foveola.encoders.compiling import Cores, compiled
from foveola.encoders.graph import DESCRIPTOR, Pooling, input_of, last_line, release_graph
from foveola.encoders.release import Release, checked_name, write_release
from foveola.errors import EncoderError
from foveola.images.fundus import Contract
from foveola.resources import AnyPath, beside

PARITY = 0.9999  # the least cosine between a network's descriptor and that of another form of it
METADATA = "foveola"  # key in an ONNX file under which `foveola encoder export` keeps the contract
_REFUSALS = (
    RuntimeError,
    GeneralFailure,
    InitializationFailure,
    NotImplementedFailure,
    OpConversionFailure,
    OpValidationFailure,
)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How a network is to be used; None takes what its file says, else the usual.

    Attributes:
        size: pixels on each side of what it takes; the file's own where it fixes that.
        mean, std: of R, G, B on the scale 0 to 1; ImageNet's by default.
        crop, mask, orient: see `Contract`.
        output: name of the output that is the descriptor.
        pooling: of tokens, see `release_graph`.
        name: of the encoder; letters, digits, dots, dashes and underscores.
        licence: terms of the network, for its card.
    """

    size: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    crop: bool | None = None
    mask: bool | None = None
    orient: bool | None = None
    output: str | None = None
    pooling: Pooling | None = None
    name: str | None = None
    licence: str = ""


def add_onnx(path: AnyPath, out: AnyPath | None = None, wanted: Wanted | None = None) -> Release:
    """Make a released encoder of an ONNX file.

    The card keeps the file's SHA-256 and size, and not its name, which may be a person's.

    Args:
        path: of the file; weights kept beside it are found there.
        out: folder to make; None is one named as the encoder, here.
        wanted: how to use it.

    Returns:
        The release, in `out`.

    Raises:
        EncoderError: the file is no ONNX, or not a network of one image that gives a vector;
            `out` exists already, or can't be written.
    """
    path = Path(path)
    out = None if out is None else Path(out)
    wanted = wanted or Wanted()
    digest, size = digest_of(path)
    name = checked_name(wanted.name or f"onnx-{digest[:8]}")
    folder = free_folder(out or Path(name))
    model = read_onnx(path)
    said = _metadata(model)
    taken = input_of(model)
    if taken.whole and (wanted.mean or wanted.std):
        raise EncoderError(
            "the network takes 8 bit pixels, which no mean and std belong to; leave --mean and --std out"
        )
    contract = contract_of(wanted, taken.size, said.get("contract"), whole=taken.whole)
    origin = {"kind": "ONNX", "sha256": digest, "bytes": size}
    if said:
        origin |= {"exported": {key: str(said[key]) for key in ("name", "fingerprint")}}
        wanted = replace(wanted, licence=wanted.licence or str(said.get("licence") or ""))
    return release_model(model, folder, name, contract, wanted, origin)


def release_model(
    model: ov.Model, out: Path, name: str, contract: Contract, wanted: Wanted, origin: Mapping[str, Any]
) -> Release:
    """Make a released encoder of a network, in a folder that does not exist; `model` is used up.

    Weights are kept in half precision where that changes no descriptor by a cosine below PARITY.

    Args:
        model: takes one image and gives a vector, tokens or a map.
        out: folder to make.
        name: of the encoder.
        contract: what is done to a photograph, with the size, mean and std of the network.
        wanted: its output, pooling and licence.
        origin: for the card: "kind", "sha256" and "bytes" of the file it came from.

    Raises:
        EncoderError: the network can't be used, or the folder not written.
    """
    try:
        graph = release_graph(model, contract, output=wanted.output, pooling=wanted.pooling)
        expected = _trial(graph, contract.size)
    except _REFUSALS as error:
        raise EncoderError(f"the network can't be run: {last_line(error)}") from None
    card = {"task": "brought in", "origin": dict(origin), "licence": wanted.licence}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with beside(out) as partial:
            partial.mkdir()
            for half in (True, False):
                ov.save_model(graph, partial / "model.xml", compress_to_fp16=half)
                release = write_release(partial, name=name, dimension=expected.shape[1], contract=contract, card=card)
                if _least(release, expected) >= PARITY:
                    break
            else:
                raise EncoderError(
                    "the network gives other descriptors each time it is run; Foveola needs one "
                    "that gives the same for the same photograph"
                )
            (partial / "CARD.md").write_text(render_card(release), encoding="utf-8")
            partial.rename(out)
    except OSError as error:
        raise EncoderError(f"{out} can't be written: {error.strerror}") from None
    return replace(release, folder=out)


def read_onnx(path: Path) -> ov.Model:
    """Read an ONNX file, whatever it is called.

    Raises:
        EncoderError: it is none, or uses what OpenVINO lacks.
    """
    frontend = FrontEndManager().load_by_framework("onnx")
    damaged = EncoderError(f"{path} is no ONNX file, or not the whole of one")
    try:
        loaded = frontend.load(str(path))
    except (*_REFUSALS, UnicodeDecodeError):
        raise damaged from None
    try:
        model = frontend.convert(loaded)
    except UnicodeDecodeError:  # OpenVINO repeats a damaged name, which is no text
        raise damaged from None
    except _REFUSALS as error:
        raise EncoderError(f"{path} can't be used: {last_line(error)}") from None
    if not model.outputs:
        raise EncoderError(f"{path} is no ONNX file, or one without a network")
    return model


def contract_of(
    wanted: Wanted, size: int | None, said: Mapping[str, Any] | None = None, *, whole: bool = False
) -> Contract:
    """Choose what is done to a photograph: what is wanted, else what the file says, else the usual.

    Args:
        wanted: by the user.
        size: that the network fixes.
        said: the contract in the file.
        whole: the network takes 8 bit pixels, and normalises them itself.

    Raises:
        EncoderError: a value is out of range, or the size is not known.
    """
    try:
        base = Contract.from_mapping(dict(said)) if said else Contract()
        if whole and not said:
            base = replace(base, mean=(0.0,) * 3, std=(1.0,) * 3)
        if (side := wanted.size or size) is None:
            raise ValueError("the network takes images of any size; say which with --size")
        given = {key: getattr(wanted, key) for key in ("mean", "std", "crop", "mask", "orient")}
        changes = {key: value for key, value in given.items() if value is not None}
        made = replace(base, size=side, **changes)
        if not np.isfinite([*made.mean, *made.std]).all():
            raise ValueError("mean and std must be finite numbers")
    except (ValueError, TypeError) as error:
        raise EncoderError(str(error)) from None
    return made


def digest_of(path: Path) -> tuple[str, int]:
    """Return SHA-256 and size in bytes of a file.

    Raises:
        EncoderError: it can't be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size
    except OSError as error:
        raise EncoderError(f"{path} can't be read: {error.strerror}") from None


def free_folder(out: Path) -> Path:
    """Return the folder, where there is nothing yet.

    Raises:
        EncoderError: something is there.
    """
    if out.exists() or out.is_symlink():
        raise EncoderError(f"{out} exists already; choose another folder with --out")
    return out


def trial_images(size: int, count: int = 8) -> NDArray[np.uint8]:
    """Make (count, size, size, 3) uint8 images: clouds of colour with noise, always the same."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0, 255, (count, 8, 8, 3)).astype(np.float32)
    smooth = [cv2.resize(one, (size, size), interpolation=cv2.INTER_CUBIC) for one in coarse]
    noisy = np.stack(smooth) + rng.normal(0, 12, (count, size, size, 3))
    return np.asarray(noisy.clip(0, 255), np.uint8)


def _trial(graph: ov.Model, size: int) -> NDArray[np.float32]:
    """(N, D) unit descriptors of some images, as the network gives them in single precision."""
    network = compiled(graph, Cores.of(together=1))
    raw = [np.array(network({0: one[None]})[DESCRIPTOR][0]) for one in trial_images(size)]
    rows = np.stack(raw).astype(np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not (np.isfinite(rows).all() and (lengths > 0).all() and np.isfinite(lengths).all()):
        raise EncoderError("the network gives zeros, or what is no number, for some images")
    unit = np.asarray(rows / lengths, np.float32)
    if np.abs(unit - unit[0]).max() < 1e-6:
        raise EncoderError("the network gives the same descriptor whatever it is shown")
    return unit


def _least(release: Release, expected: NDArray[np.float32]) -> float:
    """The least cosine between what is released and what was expected; -1 where it fails."""
    try:
        found = _trial(ov.Core().read_model(release.folder / "model.xml"), release.contract.size)
    except EncoderError:  # half precision ran over
        return -1.0
    return float((found * expected).sum(axis=1).min())


def _metadata(model: ov.Model) -> dict[str, Any]:
    """What `foveola encoder export` wrote into a file; nothing where another wrote it."""
    try:
        values = json.loads(model.get_rt_info(["framework", METADATA]).value)
        return values if {"name", "fingerprint", "contract"} <= set(values) else {}
    except (RuntimeError, ValueError, TypeError):
        return {}

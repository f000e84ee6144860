"""A released encoder taken apart: its feature map, its descriptors of pooled maps, its places, its weights.

`Parts` is photograph to feature map, and feature map to descriptor. Between the two lies the place
where reasons are sought: what a position of the map adds to a similarity is found by leaving it
out, which costs no second pass of the network.

`Local` is one vector for every position of a grid. The maps of two depths are put together: the
deeper one knows what something is, the finer one where. Of each the last sum of a residual block is
taken, which is narrow (96 and 160 channels in MobileNetV2) and was compared with other layers in
benchmarks/regions.py.

Letters: B maps, C channels, h x w or n x n positions, D of the descriptor, S the side of the
prepared photograph.
"""

import shutil
import threading
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13

from foveola.encoders.compiling import Cores, compiled
from foveola.encoders.release import Release, read_release
from foveola.errors import EncoderError
from foveola.images.fundus import FieldOfView, prepare
from foveola.records import Eye

LEAST = 3  # positions on a side, which a similarity map leaves out together

Maps = NDArray[np.float32]
Vectors = NDArray[np.float32]
Pixels = NDArray[np.uint8]


class Pooling(NamedTuple):
    """Generalised mean over positions: of x^p, its p-th root; values below eps count as eps."""

    p: float
    eps: float

    def powers(self, maps: Maps) -> NDArray[np.float64]:
        """Compute what is averaged, (..., C, h, w) -> the same shape."""
        return np.asarray(np.maximum(maps, self.eps).astype(np.float64) ** self.p)

    def root(self, means: NDArray[np.float64]) -> Vectors:
        """Turn (..., C) means of the powers into pooled values."""
        return np.asarray(means ** (1 / self.p), np.float32)


class Parts:
    """An encoder that gives its feature map, and descriptors of pooled maps.

    Args:
        release: the encoder.
        threads: processor cores to use.

    Raises:
        EncoderError: it can't be run, or is built in another way.
    """

    def __init__(self, release: Release, threads: int = 1) -> None:
        self.contract = release.contract
        cores = Cores.of(threads, together=threads)  # one photograph at a time
        try:
            model = ov.Core().read_model(release.folder / "model.xml")
            model.reshape({0: [1, self.contract.size, self.contract.size, 3]})
            features = model.output("features").get_node().input_value(0)
            if min(features.get_shape()[2:]) <= LEAST:
                raise LookupError("its map has too few positions")
            pooled = _pooled(model)
            self.pooling, source = _pooling(pooled)
            if source != features.get_node().get_friendly_name():
                raise LookupError("another map is pooled")
            body = ov.Model([model.output("features")], model.get_parameters())
            self._body: Any = compiled(body, cores)
            self._head: Any = compiled(_head(model, pooled), cores)
        except (RuntimeError, AttributeError, LookupError, ValueError) as error:
            raise EncoderError(
                f"encoder {release.name!r} can't be taken apart: {type(error).__name__}; "
                "similarity maps need one that pools a feature map"
            ) from None

    def features(self, image: Pixels, eye: Any = None) -> Maps:
        """Compute the feature map, (H, W, 3) uint8 RGB as decoded -> (C, h, w) float32."""
        prepared = prepare(image, self.contract, eye)
        return np.array(self._body({0: prepared[None]})[0][0], np.float32)

    def descriptors(self, pooled: Vectors) -> Vectors:
        """Compute descriptors, (B, C) pooled maps -> (B, D) of unit length."""
        rows: Vectors = np.array(self._head({0: pooled})[0], np.float32)
        lengths: Vectors = np.linalg.norm(rows, axis=1, keepdims=True)
        return rows / lengths


def _pooled(model: Any) -> Any:
    """The output that the descriptor is computed of: what comes after the last pooling."""
    operations = model.get_ordered_ops()
    (mean,) = [op for op in operations if op.get_type_name() == "ReduceMean"][-1:]
    (after,) = [use.get_node() for use in mean.output(0).get_target_inputs()]
    return after.output(0) if after.get_type_name() == "Power" else mean.output(0)


def _pooling(pooled: Any) -> tuple[Pooling, str]:
    """How a map is pooled, and the name of what gives that map."""
    root = pooled.get_node()
    if root.get_type_name() == "ReduceMean":
        return Pooling(1.0, -np.inf), root.input_value(0).get_node().get_friendly_name()
    power = root.input_value(0).get_node().input_value(0).get_node()
    floor = power.input_value(0).get_node()
    if (power.get_type_name(), floor.get_type_name()) != ("Power", "Maximum"):
        raise LookupError("not a generalised mean")
    source = floor.input_value(0).get_node().get_friendly_name()
    return Pooling(_scalar(power), _scalar(floor)), source


def _scalar(node: Any) -> float:
    """The scalar that a node combines its input with."""
    return float(_constant(node.input_value(1).get_node()).ravel()[0])


def _head(model: Any, pooled: Any) -> Any:
    channels = pooled.get_partial_shape()[1].get_length()
    given = opset13.parameter([-1, channels], np.float32)
    for use in list(pooled.get_target_inputs()):
        use.replace_source_output(given.output(0))
    return ov.Model([model.output("descriptor")], [given])


# --- places ---


class Local:
    """An encoder that describes each place of a photograph. Safe to use from several threads.

    Args:
        release: the encoder.
        threads: processor cores to use.

    Raises:
        EncoderError: it can't be run, or is built in another way.

    Attributes:
        grid: n, positions on each side.
        channels: C, of both depths together.
    """

    def __init__(self, release: Release, threads: int = 1) -> None:
        self.contract = release.contract
        try:
            model = ov.Core().read_model(release.folder / "model.xml")
            model.reshape({0: [1, self.contract.size, self.contract.size, 3]})
            coarse, fine = _sums(model)
            body = ov.Model([fine, coarse], model.get_parameters())
            self._compiled: Any = compiled(body, Cores.of(threads))
        except (RuntimeError, LookupError, ValueError) as error:
            raise EncoderError(
                f"encoder {release.name!r} can't describe the places of a photograph: "
                f"{type(error).__name__}; regions need one with residual blocks on two scales"
            ) from None
        self.grid = int(_side(fine))
        self.channels = sum(int(out.get_partial_shape()[1].get_length()) for out in (fine, coarse))
        self._threads = threading.local()

    def describe(self, image: Pixels, eye: Eye | None = None, view: FieldOfView | None = None) -> Maps:
        """Describe each place, (H, W, 3) uint8 RGB as decoded -> (n, n, C) float32.

        The vectors of each depth have unit length, so a product of two positions is the sum of
        their cosines at both. The grid covers the square around the field of view, upright as in
        the photograph, whichever way the network looks at it.
        """
        fine, coarse = self._run(prepare(image, self.contract, eye, view))
        times = fine.shape[1] // coarse.shape[1]
        coarse = coarse.repeat(times, axis=1).repeat(times, axis=2)
        both = np.concatenate([_unit(fine), _unit(coarse)]).transpose(1, 2, 0)
        if self.contract.orient and eye == "left":
            both = both[:, ::-1]
        return np.ascontiguousarray(both)

    def _run(self, prepared: Pixels) -> tuple[Maps, Maps]:
        request = getattr(self._threads, "request", None)
        if request is None:
            request = self._threads.request = self._compiled.create_infer_request()
        request.infer({0: prepared[None]}, share_inputs=True)
        fine, coarse = (np.array(request.get_output_tensor(i).data[0], np.float32) for i in range(2))
        return fine, coarse


def _unit(maps: Maps) -> Maps:
    """(C, h, w), each position brought to unit length."""
    lengths = np.linalg.norm(maps, axis=0, keepdims=True)
    return np.asarray(maps / np.maximum(lengths, 1e-12), np.float32)


def _side(output: Any) -> int:
    return int(output.get_partial_shape()[2].get_length())


def _sums(model: Any) -> tuple[Any, Any]:
    """The last sum of a residual block at the features' own scale and at twice that."""
    n = _side(model.output("features"))
    last: dict[int, Any] = {}
    for op in model.get_ordered_ops():
        if op.get_type_name() != "Add" or len(op.output(0).get_partial_shape()) != 4:
            continue
        if all(_varies(value.get_source_output().get_node()) for value in op.inputs()):
            shape = op.output(0).get_partial_shape()
            if shape[2] == shape[3]:
                last[_side(op.output(0))] = op.output(0)
    return last[n], last[2 * n]


def _varies(node: Any) -> bool:
    """Whether a value depends on the photograph; a constant may lie behind a conversion."""
    while node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    return bool(node.get_type_name() != "Constant")


# --- weights ---


_CONVOLUTIONS = ("Convolution", "GroupConvolution")


class Convolution(NamedTuple):
    """A convolution with the statistics that followed it folded in.

    Attributes:
        weight: float32 (out, in / groups, height, width).
        bias: float32 (out,).
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]


def convolutions(source: str | Path) -> list[Convolution]:
    """Return all convolutions of a released encoder, in the order they run.

    Args:
        source: its name, or its folder.

    Raises:
        EncoderError: it is missing, damaged, or made for another version of the program.
    """
    release = read_release(source)
    model = ov.Core().read_model(release.folder / "model.xml")
    return [_folded(op) for op in model.get_ordered_ops() if op.get_type_name() in _CONVOLUTIONS]


def _folded(op: ov.Node) -> Convolution:
    weight = _constant(op.input_value(1).get_node())
    if op.get_type_name() == "GroupConvolution":  # (groups, out, in, h, w)
        weight = weight.reshape(-1, *weight.shape[2:])
    after = next(iter(op.output(0).get_target_inputs())).get_node()
    bias = np.zeros(len(weight), np.float32)
    if after.get_type_name() == "Add":
        other = next(i for i in range(2) if after.input_value(i).get_node() != op)
        bias = _constant(after.input_value(other).get_node()).reshape(-1)
    return Convolution(weight, bias)


def _constant(node: ov.Node) -> NDArray[np.float32]:
    """What a constant holds, which may be kept in half precision."""
    if node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    held: NDArray[np.float32] = np.array(node.get_data(), np.float32)
    return held


# --- weights exchanged at random: what explains an encoder must change with it, or explains nothing ---


_SIZES = {"f16": 2, "f32": 4}


def randomised(release: Release, folder: Path, seed: int = 0) -> Release:
    """Copy an encoder with its weights exchanged at random within each layer.

    Every layer keeps the distribution of its weights and loses what it learnt. Vectors, as of a
    bias or a normalisation, stay. The fingerprint is the original's, so keep it to experiments.

    Source: Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018.

    Args:
        release: to copy.
        folder: where to put model.xml and model.bin; exists.
        seed: of the order.
    """
    shutil.copy(release.folder / "model.xml", folder)
    data = bytearray((release.folder / "model.bin").read_bytes())
    rng = np.random.default_rng(seed)
    for layer in ET.parse(folder / "model.xml").iter("layer"):  # noqa: S314 - read before by OpenVINO
        values = layer.find("data")
        if layer.get("type") != "Const" or values is None:
            continue
        kind, shape = values.get("element_type", ""), values.get("shape", "")
        long = [side for side in shape.split(",") if side.strip() not in ("", "1")]
        if kind not in _SIZES or len(long) < 2:
            continue
        start, size = int(values.get("offset", "0")), int(values.get("size", "0"))
        weights = np.frombuffer(bytes(data[start : start + size]), f"<u{_SIZES[kind]}")
        data[start : start + size] = rng.permutation(weights).tobytes()
    (folder / "model.bin").write_bytes(data)
    return replace(release, folder=folder)

"""A released encoder as an ONNX file, for programs that have no OpenVINO; without torch.

Each operation of the graph is written by its counterpart in ONNX. Weights keep the precision they
are kept in. The file is run and compared before it is given its name.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from foveola.encoders.add import METADATA, PARITY, read_onnx, trial_images
from foveola.encoders.compiling import Cores, compiled
from foveola.encoders.encoder import Encoder
from foveola.encoders.graph import DESCRIPTOR, FEATURES, last_line
from foveola.encoders.release import Release
from foveola.errors import EncoderError, MissingExtraError
from foveola.resources import AnyPath, beside

OPSET, IR_VERSION = 17, 8  # of 2022, which every runtime in use reads

# Operations whose counterpart differs in nothing but its name.
_SAME = {
    "Add": "Add",
    "Subtract": "Sub",
    "Multiply": "Mul",
    "Divide": "Div",
    "Maximum": "Max",
    "Minimum": "Min",
    "Power": "Pow",
    "Relu": "Relu",
    "Sigmoid": "Sigmoid",
    "Sqrt": "Sqrt",
    "Tanh": "Tanh",
    "Exp": "Exp",
    "Identity": "Identity",
}
_TYPES = {"f16": np.float16, "f32": np.float32, "i64": np.int64, "i32": np.int32, "u8": np.uint8}


def export_onnx(release: Release, out: AnyPath) -> float:
    """Write a released encoder as ONNX: (B, S, S, 3) uint8 in, "descriptor" and "features" out.

    Args:
        release: the encoder.
        out: file to write; must not exist.

    Returns:
        The least cosine between the file's descriptors and the encoder's, over some images.

    Raises:
        MissingExtraError: the library `onnx` is not installed.
        EncoderError: the file exists or can't be written, the encoder has an operation that is
            not translated, or the file gives other descriptors.
    """
    out = Path(out)
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"writing ONNX needs {error.name}. Run: pip install 'foveola[onnx]'") from error
    if out.exists() or out.is_symlink():
        raise EncoderError(f"{out} exists already; choose another file")
    graph = ov.Core().read_model(release.folder / "model.xml")
    written = _Written(graph, release)
    try:
        with beside(out) as partial:
            onnx.save(written.model(), partial)
            least = _parity(release, partial)
            partial.rename(out)
    except OSError as error:
        raise EncoderError(f"{out} can't be written: {error.strerror}") from None
    return least


def _parity(release: Release, path: Path) -> float:
    try:
        network = compiled(read_onnx(path), Cores.of(together=1))
    except (EncoderError, RuntimeError) as error:
        raise EncoderError(
            f"{release.name} can't be written as ONNX: what was written can't be run ({last_line(error)})"
        ) from None
    images = trial_images(release.contract.size)
    rows = np.array(network({0: images})[DESCRIPTOR], np.float32)  # all at once: any batch fits
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    least = float((rows * Encoder(release).encode(images)).sum(axis=1).min())
    if not least >= PARITY:  # nor if it is NaN
        raise EncoderError(
            f"the ONNX file gives other descriptors than {release.name}: cosine {least:.5f}, "
            f"expected at least {PARITY}; nothing was written"
        )
    return least


class _Written:
    """The nodes and constants of an ONNX graph, written one operation at a time."""

    def __init__(self, graph: ov.Model, release: Release) -> None:
        from onnx import helper, numpy_helper

        self.helper, self.tensor = helper, numpy_helper.from_array
        self.release = release
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.results = {}  # of what gives an output, that output's name
        for name in (DESCRIPTOR, FEATURES):
            output = graph.output(name)
            self.results[output.get_node().input_value(0).get_node().get_friendly_name()] = name
            sides = list(output.get_partial_shape())[1:]
            shape: list[str | int | None] = ["batch", *(int(side.get_length()) for side in sides)]
            self.outputs.append(helper.make_tensor_value_info(name, _kind("f32"), shape))
        operations = [op for op in graph.get_ordered_ops() if op.get_type_name() != "Result"]
        lacking = sorted({op.get_type_name() for op in operations} - set(_SAME) - set(_WRITERS))
        if lacking:
            raise EncoderError(
                f"{release.name} can't be written as ONNX: its {', '.join(lacking)} is not "
                "translated; where it was brought in, use the file it came from"
            )
        for op in operations:
            kind = op.get_type_name()
            if kind in _SAME:
                self.add(op, _SAME[kind], self.given(op))
            else:
                _WRITERS[kind](self, op)

    def model(self) -> Any:
        """Put the whole together, an `onnx.ModelProto`."""
        graph = self.helper.make_graph(self.nodes, "encoder", self.inputs, self.outputs, self.constants)
        made = self.helper.make_model(
            graph, opset_imports=[self.helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="foveola"
        )
        said = {
            "name": self.release.name,
            "fingerprint": self.release.fingerprint,
            "contract": self.release.contract.to_mapping(),
            "licence": str(self.release.card.get("licence") or ""),
        }
        self.helper.set_model_props(made, {METADATA: json.dumps(said)})
        return made

    def add(self, op: Any, kind: str, inputs: list[str], **attributes: Any) -> None:
        """Write a node whose value has the name of the operation's."""
        self.nodes.append(self.helper.make_node(kind, inputs, [self.value_of(op)], **attributes))

    def value_of(self, op: Any) -> str:
        """Return the name of what an operation gives."""
        return self.results.get(op.get_friendly_name()) or f"{op.get_friendly_name()}.0"

    def given(self, op: Any) -> list[str]:
        """Return the names of what an operation takes."""
        return [self.value_of(value.get_node()) for value in op.input_values()]

    def constant(self, op: Any, what: str, values: NDArray[Any]) -> str:
        """Keep an array that an operation needs beside its inputs; its name."""
        name = f"{self.value_of(op)}.{what}"
        self.constants.append(self.tensor(np.ascontiguousarray(values), name))
        return name

    def between(self, op: Any, what: str, kind: str, inputs: list[str], **attributes: Any) -> str:
        """Write a node whose value only the operation itself takes; the value's name."""
        name = f"{self.value_of(op)}.{what}"
        self.nodes.append(self.helper.make_node(kind, inputs, [name], **attributes))
        return name


def _held(op: Any, at: int) -> NDArray[Any]:
    """The constant that an operation takes at a place."""
    node = op.input_value(at).get_node()
    if node.get_type_name() == "Convert":  # kept in half precision
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Constant":
        raise EncoderError(
            f"the encoder can't be written as ONNX: the shape of its {op.get_type_name()} depends on the image"
        )
    return np.array(node.get_data())


def _parameter(written: _Written, op: Any) -> None:
    size = written.release.contract.size
    shape = ["batch", size, size, 3]
    taken = written.helper.make_tensor_value_info("pixels", _kind("u8"), shape)
    written.inputs.append(taken)
    written.add(op, "Identity", ["pixels"])


def _constant(written: _Written, op: Any) -> None:
    kind = op.get_output_element_type(0).get_type_name()
    if kind not in _TYPES:
        raise EncoderError(f"the encoder can't be written as ONNX: it holds numbers of type {kind}")
    values = np.array(op.get_data(), _TYPES[kind])
    written.constants.append(written.tensor(values, written.value_of(op)))


def _convert(written: _Written, op: Any) -> None:
    written.add(op, "Cast", written.given(op), to=_kind(op.get_output_element_type(0).get_type_name()))


def _convolution(written: _Written, op: Any) -> None:
    said, inputs, groups = op.get_attributes(), written.given(op), 1
    if said["auto_pad"] not in ("explicit", "notset"):
        raise EncoderError(f"the encoder can't be written as ONNX: {said['auto_pad']} padding")
    if op.get_type_name() == "GroupConvolution":  # (groups, out, in, h, w)
        shape = list(op.input_value(1).get_shape())
        groups = int(shape[0])
        flat = written.constant(op, "shape", np.array([groups * shape[1], *shape[2:]], np.int64))
        inputs[1] = written.between(op, "weight", "Reshape", [inputs[1], flat])
    written.add(
        op,
        "Conv",
        inputs,
        group=groups,
        strides=list(said["strides"]),
        dilations=list(said["dilations"]),
        pads=[*said["pads_begin"], *said["pads_end"]],
    )


def _clamp(written: _Written, op: Any) -> None:
    said = op.get_attributes()
    ends = [written.constant(op, end, np.array(said[end], np.float32)) for end in ("min", "max")]
    written.add(op, "Clip", [*written.given(op), *ends])


def _reduction(written: _Written, op: Any) -> None:
    axes = sorted(int(axis) for axis in _held(op, 1).ravel())
    written.add(
        op, op.get_type_name(), written.given(op)[:1], axes=axes, keepdims=int(op.get_attributes()["keep_dims"])
    )


def _matmul(written: _Written, op: Any) -> None:
    said, inputs = op.get_attributes(), written.given(op)
    for at, side in enumerate("ab"):
        if said[f"transpose_{side}"]:
            rank = len(op.input_value(at).get_partial_shape())
            turn = [*range(rank - 2), rank - 1, rank - 2]
            inputs[at] = written.between(op, side, "Transpose", [inputs[at]], perm=turn)
    written.add(op, "MatMul", inputs)


def _transpose(written: _Written, op: Any) -> None:
    written.add(op, "Transpose", written.given(op)[:1], perm=[int(axis) for axis in _held(op, 1)])


def _on_axis(written: _Written, op: Any) -> None:
    written.add(op, op.get_type_name(), written.given(op), axis=int(op.get_attributes()["axis"]))


def _reshape(written: _Written, op: Any) -> None:
    special = op.get_attributes()["special_zero"]
    written.add(op, "Reshape", _long(written, op, 1), allowzero=int(not special))


def _slice(written: _Written, op: Any) -> None:
    image, start, stop, step, *axes = _long(written, op, 1, 2, 3, 4)
    written.add(op, "Slice", [image, start, stop, *axes, step])


def _long(written: _Written, op: Any, *places: int) -> list[str]:
    """The names of what is taken, the constants at these places in 64 bits, as ONNX asks."""
    inputs = written.given(op)
    for at in range(len(inputs)):
        if at in places:
            values = np.array(_held(op, at), np.int64)
            inputs[at] = written.constant(op, f"given{at}", values)
    return inputs


def _max_pool(written: _Written, op: Any) -> None:
    said = op.get_attributes()
    if said["auto_pad"] not in ("explicit", "notset"):
        raise EncoderError(f"the encoder can't be written as ONNX: {said['auto_pad']} padding")
    written.add(
        op,
        "MaxPool",
        written.given(op),
        kernel_shape=list(said["kernel"]),
        strides=list(said["strides"]),
        dilations=list(said["dilations"]),
        pads=[*said["pads_begin"], *said["pads_end"]],
        ceil_mode=int(said["rounding_type"] != "floor"),
    )


def _unit(written: _Written, op: Any) -> None:
    (axis,) = (int(each) for each in _held(op, 1).ravel())
    written.add(op, "LpNormalization", written.given(op)[:1], axis=axis, p=2)


def _swish(written: _Written, op: Any) -> None:
    gate = written.between(op, "gate", "Sigmoid", written.given(op)[:1])
    written.add(op, "Mul", [written.given(op)[0], gate])


def _kind(name: str) -> int:
    from onnx import helper

    if name not in _TYPES:
        raise EncoderError(f"the encoder can't be written as ONNX: it computes in {name}")
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(_TYPES[name])))


_WRITERS: dict[str, Callable[[_Written, Any], None]] = {
    "Parameter": _parameter,
    "Constant": _constant,
    "Convert": _convert,
    "Convolution": _convolution,
    "GroupConvolution": _convolution,
    "Clamp": _clamp,
    "ReduceMean": _reduction,
    "ReduceMax": _reduction,
    "ReduceL2": _reduction,
    "MatMul": _matmul,
    "Transpose": _transpose,
    "Softmax": _on_axis,
    "Concat": _on_axis,
    "Reshape": _reshape,
    "Slice": _slice,
    "Swish": _swish,
    "MaxPool": _max_pool,
    "NormalizeL2": _unit,
}

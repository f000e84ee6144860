"""The weights of a released encoder's backbone, to start another training from."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from foveola.encoders.release import read_release

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
    """All convolutions of a released encoder, in the order they run.

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

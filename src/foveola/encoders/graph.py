"""The graph of a foreign network, made that of a released encoder: pixels in, one vector out.

A released encoder takes (1, S, S, 3) uint8 and gives "descriptor" (1, D) and "features"
(1, C, h, w), see `foveola.encoders.release`. What a foreign network takes and gives is told from
the shapes in its file, and asked where they leave a choice.

Letters: S pixels on each side, D of the descriptor, T tokens, C channels of a map, h x w positions.
"""

from dataclasses import dataclass
from math import isqrt
from typing import Any, Literal

import numpy as np
import openvino as ov
from openvino import opset13

from foveola.errors import EncoderError
from foveola.images.fundus import Contract

Pooling = Literal["cls", "mean"]
DIMENSIONS = (2, 8192)  # of a descriptor, the least and the most
DESCRIPTOR, FEATURES = "descriptor", "features"  # the outputs of a released encoder

_EPS = 1e-30  # below any vector whose length single precision can tell
_FIRST = 5  # tokens at most before those of the patches: the class, and four registers


@dataclass(frozen=True)
class Input:
    """The one image that a network takes.

    Attributes:
        channels_first: (B, 3, S, S), otherwise (B, S, S, 3).
        whole: 8 bit pixels are taken as they are; otherwise numbers normalised by mean and std.
        size: S, where the file fixes it.
    """

    channels_first: bool
    whole: bool
    size: int | None


def input_of(model: ov.Model) -> Input:
    """Find out what image a network takes.

    Raises:
        EncoderError: it takes no image, or more than one thing.
    """
    if len(model.inputs) != 1:
        names = ", ".join(name_of(one) for one in model.inputs) or "none"
        raise EncoderError(f"the network must take one image; it has these inputs: {names}")
    (taken,) = model.inputs
    shape = taken.get_partial_shape()
    kind = taken.get_element_type().get_type_name()
    if shape.rank.is_dynamic or len(shape) != 4:
        raise EncoderError(f"the network takes {said(shape)}; expected images, (B, 3, S, S)")
    if kind not in ("f16", "f32", "f64", "u8"):
        raise EncoderError(f"the network takes numbers of type {kind}; expected float or uint8")
    sides = [None if side.is_dynamic else int(side.get_length()) for side in shape]
    if 3 not in (sides[1], sides[3]) and (sides[1] or sides[3]):
        raise EncoderError(f"the network takes {said(shape)}; expected 3 channels, as (B, 3, S, S) or (B, S, S, 3)")
    first = sides[1] == 3 or sides[3] != 3  # where nothing is fixed, as most networks are
    fixed = {side for side in (sides[2:] if first else sides[1:3]) if side}
    if len(fixed) > 1:
        raise EncoderError(f"the network takes {said(shape)}; expected square images")
    return Input(first, kind == "u8", next(iter(fixed), None))


def release_graph(
    model: ov.Model, contract: Contract, *, output: str | None = None, pooling: Pooling | None = None
) -> ov.Model:
    """Give a network the input and the outputs of a released encoder; `model` is used up.

    Tokens (1, T, D) become their first one ("cls") or the mean of the patches' ("mean": the class
    token and registers before them are left out where the patches' number is a square, as T - 1).
    A map (1, D, h, w), or (1, h, w, D), becomes its mean. Where the output shows no map, the
    features are the descriptor, (1, D, 1, 1).

    Of a network with outputs named "descriptor" and "features" these two are taken.

    Args:
        model: a network of one image.
        contract: size, and mean and std unless it takes 8 bit pixels.
        output: name of the output that is the descriptor; None where there is but one, or those
            two.
        pooling: of tokens.

    Raises:
        EncoderError: it does not take images of that size, or gives no vector; one sentence.
    """
    taken = input_of(model)
    side = contract.size
    if taken.size not in (None, side):
        raise EncoderError(f"the network takes images of {taken.size} pixels; expected {side} (see --size)")
    try:
        model.reshape({0: [1, 3, side, side] if taken.channels_first else [1, side, side, 3]})
    except RuntimeError as error:
        raise EncoderError(f"the network can't take images of {side} pixels: {last_line(error)}") from None
    found = _chosen(model, output)
    descriptor, features = _pooled(found, pooling)
    if output is None and len(model.outputs) > 1:
        beside = _beside(model.output(FEATURES))
        features = features if beside is None else beside
    dimension = int(descriptor.get_shape()[1])
    if not DIMENSIONS[0] <= dimension <= DIMENSIONS[1]:
        raise EncoderError(
            f"output {name_of(found)} gives {dimension} numbers; expected {DIMENSIONS[0]} to {DIMENSIONS[1]}"
        )
    pixels = _given(model, taken, contract)
    unit = opset13.normalize_l2(descriptor, np.array([1]), _EPS, "max").output(0)
    results = [_named(unit, DESCRIPTOR), _named(features, FEATURES)]
    made = ov.Model(results, [pixels], "encoder")
    # Names are part of the file and so of the fingerprint: those that OpenVINO makes up differ
    # from run to run, and those of the file may be anybody's.
    for number, operation in enumerate(made.get_ordered_ops()):
        operation.set_friendly_name(f"{operation.get_type_name()}_{number}")
    return made


def name_of(port: Any) -> str:
    """Return the name of an input or output, whichever of its names comes first."""
    return min(port.get_names(), default="(no name)")


def said(shape: Any) -> str:
    """Write a shape as (?, 3, ?, ?)."""
    if shape.rank.is_dynamic:
        return "an array of any shape"
    sides = ("?" if side.is_dynamic else str(side.get_length()) for side in shape)
    return f"({', '.join(sides)})"


def last_line(error: Exception) -> str:
    """Return what OpenVINO says in the end, after telling of its own files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:200]


def _chosen(model: ov.Model, name: str | None) -> Any:
    by_name = {each: one for one in model.outputs for each in one.get_names()}
    if name is None and len(model.outputs) == 1:
        return model.outputs[0]
    if name is None and {DESCRIPTOR, FEATURES} <= set(by_name):
        return by_name[DESCRIPTOR]
    if name in by_name:
        return by_name[name]
    there = ", ".join(f"{name_of(one)} {said(one.get_partial_shape())}" for one in model.outputs)
    what = "several outputs" if name is None else f"no output {name!r}"
    raise EncoderError(f"the network has {what}; choose one with --output: {there or 'none'}")


def _pooled(found: Any, pooling: Pooling | None) -> tuple[Any, Any]:
    """An output -> descriptor (1, D) and features (1, C, h, w), as nodes of float32."""
    shape = found.get_partial_shape()
    if shape.is_dynamic or len(shape) not in (2, 3, 4) or shape[0].get_length() != 1:
        raise EncoderError(
            f"output {name_of(found)} is {said(shape)} for one image; expected a vector (B, D), "
            "tokens (B, T, D) or a map (B, C, h, w)"
        )
    values = _source(found)
    if len(shape) == 2:
        wide = opset13.unsqueeze(values, np.array([2, 3])).output(0)
        return values, wide
    if len(shape) == 4:
        maps = _channels_first(values)
        return _mean(maps), maps
    if pooling is None:
        raise EncoderError(
            f"output {name_of(found)} is tokens {said(shape)}; say which become the descriptor: "
            "--pooling cls (the first) or --pooling mean (the patches')"
        )
    first = opset13.gather(values, np.array(0), np.array(1)).output(0)
    maps = _grid(values)
    if pooling == "cls":
        return first, maps if maps is not None else opset13.unsqueeze(first, [2, 3]).output(0)
    if maps is None:  # patches that lie on no square: all tokens in one row
        rows = opset13.transpose(values, np.array([0, 2, 1]))
        maps = opset13.unsqueeze(rows, np.array([2])).output(0)
    return _mean(maps), maps


def _beside(found: Any) -> Any:
    """(1, C, h, w) of the output named "features", or None where it shows no map."""
    values = _source(found)
    shape = values.get_partial_shape()
    if shape.is_static and len(shape) == 4:
        return _channels_first(values)
    return _grid(values) if shape.is_static and len(shape) == 3 else None


def _source(found: Any) -> Any:
    """What an output shows, in float32; the very value that is pooled, where it pools that too."""
    value = found.get_node().input_value(0)
    while value.get_node().get_type_name() == "Identity":
        value = value.get_node().input_value(0)
    if value.get_element_type().get_type_name() == "f32":
        return value
    return opset13.convert(value, "f32").output(0)


def _channels_first(values: Any) -> Any:
    """(1, C, h, w) of a map that may have its channels last, as Swin's."""
    sides = values.get_shape()
    if sides[1] == sides[2] != sides[3]:
        return opset13.transpose(values, np.array([0, 3, 1, 2])).output(0)
    return values


def _grid(tokens: Any) -> Any:
    """(1, T, D) -> (1, D, n, n) of the patches, or None where they lie on no square."""
    count, width = (int(side) for side in tokens.get_shape()[1:])
    side = isqrt(count)
    first = count - side * side
    if first > _FIRST:
        return None
    patches = opset13.slice(tokens, np.array([first]), np.array([count]), np.array([1]), np.array([1]))
    turned = opset13.transpose(patches, np.array([0, 2, 1]))
    return opset13.reshape(turned, np.array([1, width, side, side]), False).output(0)


def _mean(maps: Any) -> Any:
    return opset13.reduce_mean(maps, np.array([2, 3])).output(0)


def _named(value: Any, name: str) -> Any:
    result = opset13.result(value)
    result.output(0).get_tensor().set_names({name})
    return result


def _given(model: ov.Model, taken: Input, contract: Contract) -> Any:
    """Prepared pixels in place of the network's own input."""
    (old,) = model.get_parameters()
    pixels = opset13.parameter([1, contract.size, contract.size, 3], np.uint8, "pixels")
    pixels.output(0).get_tensor().set_names({"pixels"})
    values = pixels
    if not taken.whole:
        scaled = opset13.divide(opset13.convert(pixels, "f32"), np.float32(255))
        centred = opset13.subtract(scaled, np.array(contract.mean, np.float32))
        values = opset13.divide(centred, np.array(contract.std, np.float32))
    if taken.channels_first:
        values = opset13.transpose(values, np.array([0, 3, 1, 2]))
    kind = old.get_element_type().get_type_name()
    values = opset13.convert(values, kind)
    for use in list(old.output(0).get_target_inputs()):
        use.replace_source_output(values.output(0))
    return pixels

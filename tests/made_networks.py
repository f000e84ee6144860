"""Small ONNX files with random weights, as a user might bring them."""

from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper, save

FLOAT, BYTE = TensorProto.FLOAT, TensorProto.UINT8
WIDTH = 16  # D of what they give

# What follows a map "map" (B, 16, S/8, S/8), and the shape of each output it gives.
VECTOR = ([("GlobalAveragePool", ["map"], "mean", {}), ("Flatten", ["mean"], "vector", {})], {"vector": ["b", WIDTH]})
MAP = ([("Identity", ["map"], "last", {})], {"last": ["b", WIDTH, "h", "w"]})
BOTH = (VECTOR[0] + MAP[0], VECTOR[1] | MAP[1])
TOKENS = (
    [
        ("Reshape", ["map", "flat"], "rows", {}),
        ("Transpose", ["rows"], "patches", {"perm": [0, 2, 1]}),
        ("Concat", ["class", "patches"], "tokens", {"axis": 1}),
    ],
    {"tokens": ["b", "t", WIDTH]},
)
ZERO = ([*VECTOR[0], ("Mul", ["vector", "zero"], "nothing", {})], {"nothing": ["b", WIDTH]})
NAN = ([*VECTOR[0], ("Mul", ["vector", "nan"], "nothing", {})], {"nothing": ["b", WIDTH]})
SAME = ([*ZERO[0], ("Add", ["nothing", "one"], "same", {})], {"same": ["b", WIDTH]})
ONE = (
    [
        ("ReduceMean", ["map"], "one_number", {"axes": [1, 2, 3], "keepdims": 0}),
        ("Reshape", ["one_number", "column"], "grade", {}),
    ],
    {"grade": ["b", 1]},
)


def network(path: Path, tail=VECTOR, *, shape=("b", 3, "h", "w"), kind=FLOAT, domain: str = "", seed=0) -> Path:
    """Write an ONNX file: three convolutions and what follows them.

    Args:
        path: of the file.
        tail: one of the above.
        shape: of the image; channels last where its last side is 3.
        kind: of its numbers.
        domain: of an operation in it that only some runtime has.
        seed: of the weights.
    """
    rng = np.random.default_rng(seed)
    steps = [("Cast", ["image"], "float", {"to": FLOAT})]
    last = shape[-1] == 3
    steps.append(("Transpose", ["float"], "x0", {"perm": [0, 3, 1, 2] if last else [0, 1, 2, 3]}))
    constants = {
        "flat": np.array([0, 0, -1]),
        "class": rng.normal(size=(1, 1, WIDTH)).astype(np.float32),
        "zero": np.float32(0),
        "nan": np.float32(np.nan),
        "one": np.float32(1),
        "column": np.array([-1, 1]),
    }
    channels = 3 if 3 in shape else shape[1]
    for i, wide in enumerate((8, 8, WIDTH)):
        weight = rng.normal(size=(wide, channels, 3, 3)) / np.sqrt(9 * channels)
        constants[f"w{i}"] = weight.astype(np.float32)
        convolved = {"strides": [2, 2], "pads": [1, 1, 1, 1]}
        steps += [("Conv", [f"x{i}", f"w{i}"], f"c{i}", convolved)]
        steps += [("Tanh", [f"c{i}"], f"x{i + 1}", {})]
        channels = wide
    special = ("Special", ["x3"], "map", {"domain": domain})
    steps.append(special if domain else ("Identity", ["x3"], "map", {}))
    more, outputs = tail
    nodes = [helper.make_node(op, into, [out], **said) for op, into, out, said in [*steps, *more]]
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("image", kind, list(shape))],
        [helper.make_tensor_value_info(name, FLOAT, sides) for name, sides in outputs.items()],
        [
            numpy_helper.from_array(np.asarray(values), name)
            for name, values in constants.items()
            if any(name in node.input for node in nodes)
        ],
    )
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def two_inputs(path: Path) -> Path:
    """Write an ONNX file of two images."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["left", "right"], ["sum"])],
        "made",
        [helper.make_tensor_value_info(name, FLOAT, ["b", 3, 64, 64]) for name in ("left", "right")],
        [helper.make_tensor_value_info("sum", FLOAT, ["b", 3, 64, 64])],
    )
    made: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    save(made, path)
    return path

"""A released encoder in two parts: photograph to feature map, feature map to descriptor.

Between the two lies the place where reasons are sought: what a position of the map adds to a
similarity is found by leaving it out, which costs no second pass of the network.

Letters: B maps, C channels, h x w positions, D of the descriptor.
"""

from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13

from foveola.encoders.compiling import Cores, compiled
from foveola.encoders.pooling import Pooling
from foveola.encoders.release import Release
from foveola.errors import EncoderError
from foveola.images.fundus import prepare

LEAST = 3  # positions on a side, which a similarity map leaves out together

Maps = NDArray[np.float32]
Vectors = NDArray[np.float32]
Pixels = NDArray[np.uint8]


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
        """(H, W, 3) uint8 RGB as decoded -> (C, h, w) float32."""
        prepared = prepare(image, self.contract, eye)
        return np.array(self._body({0: prepared[None]})[0][0], np.float32)

    def descriptors(self, pooled: Vectors) -> Vectors:
        """(B, C) pooled maps -> (B, D) unit descriptors."""
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
    return Pooling(_constant(power), _constant(floor)), source


def _constant(node: Any) -> float:
    """The scalar that a node combines its input with."""
    value = node.input_value(1).get_node()
    if value.get_type_name() == "Convert":  # kept in half precision
        value = value.input_value(0).get_node()
    return float(np.asarray(value.get_data()).ravel()[0])


def _head(model: Any, pooled: Any) -> Any:
    channels = pooled.get_partial_shape()[1].get_length()
    given = opset13.parameter([-1, channels], np.float32)
    for use in list(pooled.get_target_inputs()):
        use.replace_source_output(given.output(0))
    return ov.Model([model.output("descriptor")], [given])

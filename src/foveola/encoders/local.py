"""What an encoder sees at each place of a photograph: one vector for every position of a grid.

The maps of two depths are put together: the deeper one knows what something is, the finer one
where. Of each the last sum of a residual block is taken, which is narrow (96 and 160 channels in
MobileNetV2) and was compared with other layers in benchmarks/regions.py.

Letters: C channels, n x n positions of the grid, S the side of the prepared photograph.
"""

import threading
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from foveola.encoders.compiling import Cores, compiled
from foveola.encoders.release import Release
from foveola.errors import EncoderError
from foveola.images.fundus import FieldOfView, prepare
from foveola.records import Eye

Maps = NDArray[np.float32]
Pixels = NDArray[np.uint8]


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
        """(H, W, 3) uint8 RGB as decoded -> (n, n, C) float32.

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

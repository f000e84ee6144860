"""Networks compiled for the cores they may use, in a thread beside whatever else is to be done."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple, Self

import openvino as ov

from foveola.errors import EncoderError

WAITED_FOR = 2  # cores that work together on what somebody waits for


class Cores(NamedTuple):
    """How many cores a network has, and how many of them work on one photograph or person.

    Attributes:
        threads: that may be used.
        together: of these, on one. 1 does most in a second; 2 does one in half the time.
    """

    threads: int
    together: int

    @classmethod
    def of(cls, threads: int | None = None, together: int = 1) -> Self:
        """With all that this process may use where none are said."""
        return cls(threads or len(os.sched_getaffinity(0)), together)

    def settings(self) -> dict[str, Any]:
        """What OpenVINO is told; float32 whatever the processor offers."""
        return {
            "INFERENCE_PRECISION_HINT": "f32",
            "NUM_STREAMS": max(1, self.threads // self.together),
            "INFERENCE_NUM_THREADS": self.threads,
        }


def compiled(model: ov.Model, cores: Cores) -> Any:
    """The model, ready to run."""
    return ov.Core().compile_model(model, "CPU", cores.settings())


def begun(name: str, work: Callable[[], Any]) -> "Future[Any]":
    """Begin in a thread, as most of compiling is OpenVINO's, which does it beside Python.

    Args:
        name: what the error calls it: "encoder 'x'".
        work: makes the compiled network.

    Returns:
        Its result, or EncoderError where OpenVINO refuses.
    """
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except RuntimeError as error:
            first = str(error).strip().splitlines()[-1]
            future.set_exception(EncoderError(f"{name} can't be run: {first}"))
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=run, name="compiling").start()
    return future

"""Networks compiled for the cores they may use, and work that runs on all of them in order."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, Self, TypeVar

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
        """Take all that this process may use where none are given."""
        return cls(threads or len(os.sched_getaffinity(0)), together)

    def settings(self) -> dict[str, Any]:
        """Return the settings for OpenVINO; float32 whatever the processor offers."""
        return {
            "INFERENCE_PRECISION_HINT": "f32",
            "NUM_STREAMS": max(1, self.threads // self.together),
            "INFERENCE_NUM_THREADS": self.threads,
        }


def compiled(model: ov.Model, cores: Cores) -> Any:
    """Compile a model, ready to run."""
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


# --- many photographs on all cores ---


T = TypeVar("T")
R = TypeVar("R")

# Two threads a core: one prepares (and waits for Python's lock, or for the disk) while another's
# image is in the network. 150 images/s with one a core became 180 (benchmarks/indexing.py).
WORKERS_PER_CORE = 2


def in_order(work: Callable[[T], R], items: Iterable[T], threads: int, ahead: int) -> Iterator[R]:
    """Yield what `work` gives for each item, in the order of the items.

    Works ahead of the caller, who may be waiting for a disk; what is ahead when the caller stops
    taking is cancelled.

    Args:
        work: safe to call from several threads.
        items: taken as they are needed.
        threads: processor cores to use.
        ahead: items a core may be ahead of whoever takes the results.

    >>> list(in_order(str.upper, ["a", "b", "c"], threads=1, ahead=2))
    ['A', 'B', 'C']
    """
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(WORKERS_PER_CORE * threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > ahead * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

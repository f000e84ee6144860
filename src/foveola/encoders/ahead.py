"""Many photographs on all cores, in order, and never many more of them than are being taken."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

# Two threads a core: one prepares (and waits for Python's lock, or for the disk) while another's
# image is in the network. 150 images/s with one a core became 180 (benchmarks/indexing.py).
WORKERS_PER_CORE = 2


def in_order(work: Callable[[T], R], items: Iterable[T], threads: int, ahead: int) -> Iterator[R]:
    """What `work` gives for each item, in the order of the items.

    Works ahead of the caller, who may be waiting for a disk; what is ahead when the caller stops
    taking is cancelled.

    Args:
        work: safe to call from several threads.
        items: taken as they are needed.
        threads: processor cores to use.
        ahead: items a core may be ahead of whoever takes the results.
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

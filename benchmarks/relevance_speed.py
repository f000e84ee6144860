"""How long an archive takes to learn from its labels, and a search to ask by them.

Descriptors are drawn: people around a direction of their grade, moved along one for each finding,
two photographs a person. Nothing of them says how well anything is found.

    python benchmarks/relevance_speed.py [CASES] [WIDTH]     100000 and 256 unless told
"""

import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveola.answers import Order
from foveola.archive import Archive, Entry
from foveola.archive.state import State
from foveola.learned import Ranker, learn_archive
from foveola.records import Case
from foveola.relevance.order import Asked, Relevance

FINDINGS = "DGCAHMOT"
SHARES = (0.6, 0.12, 0.18, 0.06, 0.04)  # of the grades
SEARCHES = 60
_BATCH = 4096


def entries(cases: int, width: int, seed: int = 0) -> Iterator[list[Entry]]:
    """Batches of photographs with grades and findings."""
    rng = np.random.default_rng(seed)
    grades = rng.normal(size=(len(SHARES), width))
    findings = rng.normal(size=(len(FINDINGS), width))
    for start in range(0, cases, _BATCH):
        rows = np.arange(start, min(start + _BATCH, cases))
        person = np.random.default_rng(start)
        own = len(rows) // 2 + 1
        grade = person.choice(len(SHARES), own, p=SHARES)
        has = person.random((own, len(FINDINGS))) < 0.12
        x = 0.4 * grades[grade] + 0.4 * has @ findings + person.normal(size=(own, width))
        at = np.arange(len(rows)) // 2
        x = x[at] + rng.normal(size=(len(rows), width))
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        yield [
            Entry(
                case=Case(
                    image=f"{row}.jpg",
                    path=f"/{row}.jpg",
                    subject=str(row // 2),
                    eye=("left", "right")[row % 2],
                    grade=int(grade[i]),
                    findings=frozenset(f for f, h in zip(FINDINGS, has[i], strict=True) if h),
                ),
                descriptor=vector,
                digest=int(row).to_bytes(16, "big"),
                size=1,
                mtime_ns=1,
            )
            for row, i, vector in zip(rows.tolist(), at, x.astype(np.float32), strict=True)
        ]


def peak() -> float:
    """Most memory that this process has held, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock and of the processor."""
    start, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - used


def searches(archive: Archive, ranker: Ranker, order: Order, label: str) -> Callable[[int], object]:
    """Return a function that asks with the descriptor of a row, as a `Retriever` does."""
    ids, matrix = archive.vectors()

    def search(row: int) -> object:
        of = matrix[row], int(ids[row]), ("subject", f"\0{row // 2}")
        found, relevance = ranker.choose(order, label)

        def asked(
            state: State, relevance: Relevance, of: tuple[NDArray[np.float32], int, tuple[str, str]]
        ) -> Asked | None:
            ranker.suggestion(state, relevance, *of)
            return ranker.asked(state, relevance, found, *of)

        by = None if relevance is None else partial(asked, relevance=relevance, of=of)
        return archive.search(
            of[0], 12, exclude_identity=of[2], exclude_ids=[of[1]], asked=None if order == "looks" else by
        )

    return search


def main() -> None:
    said = [int(word) for word in sys.argv[1:]]
    cases, width = [*said, *(100_000, 256)[len(said) :]]
    with tempfile.TemporaryDirectory() as folder:
        archive = Archive.create(Path(folder) / "A", encoder="made", fingerprint="f", dimension=width)
        for batch in entries(cases, width):
            archive.add(batch)
        archive.vectors()
        print(f"{cases} x {width}, {len(os.sched_getaffinity(0))} cores; {peak():.2f} GB before")
        took, used = timed(lambda: learn_archive(archive))
        what = f"learn grade and {len(FINDINGS)} findings: {took:.1f} s"
        print(f"{what} ({used:.1f} s of the processors), peak {peak():.2f} GB")
        ranker = Ranker(archive)
        took, used = timed(ranker.warm)
        print(f"make what the first search waits for: {took:.2f} s ({used:.2f} s)")
        rows = np.random.default_rng(1).integers(0, cases, SEARCHES).tolist()
        for label in ("grade", "findings"):
            looks = searches(archive, ranker, "looks", label)
            learned = searches(archive, ranker, "learned", label)
            each = [(*timed(partial(looks, r)), *timed(partial(learned, r))) for r in rows]
            a, a_used, b, b_used = (1000 * statistics.median(col) for col in zip(*each, strict=True))
            pairs = statistics.median(row[2] / row[0] for row in each)
            used = f"of the processors {a_used:.1f} and {b_used:.1f} ms"
            what = f"{label}: by looks {a:.1f} ms, learned {b:.1f} ms, ratio of pairs {pairs:.2f}"
            print(f"{what}; {used}")
        archive.close()


if __name__ == "__main__":
    main()

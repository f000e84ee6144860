"""Time exact search in an archive beside a naive argsort, on the same descriptors.

    python benchmarks/search.py [CASES DIMENSION]...

Prints, for each size: filling and reading the archive once, then the median of 15 searches
for 10 neighbours, of the same search with a filter, of a search for people by both eyes, and of
numpy's argsort of all products. Every two cases are a person's left and right eye.
The last column says whether the naive order of the first 10 is the same.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveola.archive import Archive, Entry
from foveola.people import EYES
from foveola.people_search import PeopleSearch
from foveola.records import Case

K = 10
REPEATS = 15
BATCH = 1000


def main(sizes: list[tuple[int, int]]) -> None:
    names = ("cases", "D", "fill s", "read ms", "search ms", "filtered ms", "people ms")
    names += ("argsort ms", "same")
    print("".join(f"{name:>13}" for name in names))
    for count, dimension in sizes:
        with tempfile.TemporaryDirectory() as folder:
            print("".join(f"{value:>13}" for value in measure(Path(folder), count, dimension)))


def measure(folder: Path, count: int, dimension: int) -> list[str]:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(count, dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = vectors[rng.integers(0, count, REPEATS)]
    begin = time.perf_counter()
    fill(folder / "A", vectors)
    filled = time.perf_counter() - begin
    with Archive.open(folder / "A", read_only=True) as archive:
        begin = time.perf_counter()
        archive.vectors()
        read = 1000 * (time.perf_counter() - begin)
        exact, found = median_ms(lambda q: archive.search(q, K).ids - 1, queries)
        filtered, _ = median_ms(lambda q: archive.search(q, K, where="grade = 3").ids, queries)
        people = PeopleSearch(archive)
        people.search({"left": queries[0], "right": queries[1]}, K)  # pairs them, once
        both, _ = median_ms(lambda q: asked(people, q, vectors), queries)
    naive, expected = median_ms(lambda q: np.argsort(-(vectors @ q))[:K], queries)
    same = all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    times = [f"{ms:.2f}" for ms in (read, exact, filtered, both, naive)]
    return [str(count), str(dimension), f"{filled:.1f}", *times, "yes" if same else "no"]


def fill(folder: Path, vectors: NDArray[np.float32]) -> None:
    made_by = {"encoder": "random", "fingerprint": "0", "dimension": vectors.shape[1]}
    with Archive.create(folder, **made_by) as archive:
        for start in range(0, len(vectors), BATCH):
            part = vectors[start : start + BATCH]
            archive.add([made_up(i, vector) for i, vector in enumerate(part, start)])


def made_up(i: int, vector: NDArray[np.float32]) -> Entry:
    case = Case(image=f"{i}.jpg", path=f"/data/{i}.jpg", subject=str(i // 2), grade=i % 5, eye=EYES[i % 2])
    return Entry(case=case, descriptor=vector, digest=bytes(16), size=0, mtime_ns=0)


def asked(people: PeopleSearch, query: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    found = people.search({"left": query, "right": vectors[0]}, K)
    return np.array([hit.ids["left"] for hit in found.hits])


def median_ms(
    search: Callable[[NDArray[np.float32]], NDArray[np.int64]], queries: NDArray[np.float32]
) -> tuple[float, list[NDArray[np.int64]]]:
    times, results = [], []
    for query in queries:
        begin = time.perf_counter()
        results.append(search(query))
        times.append(time.perf_counter() - begin)
    return 1000 * statistics.median(times), results


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    main(list(zip(given[::2], given[1::2], strict=True)) or [(4271, 256), (100_000, 512)])

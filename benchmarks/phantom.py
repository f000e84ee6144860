"""Speed of the phantom: python benchmarks/phantom.py [SUBJECTS] [VISITS] [WORKERS]."""

import sys
import tempfile
import time
from pathlib import Path

from foveola.phantom import generate


def main(subjects: int = 10, visits: int = 3, workers: int = 2) -> None:
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        generate(Path(folder) / "out", subjects=subjects, visits=visits, workers=workers)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    n = 2 * subjects * visits
    print(f"{n} images of 512 px with masks, {visits} visits an eye, {workers} workers")
    print(f"{n / wall:.1f} images/s; {1000 * cpu / n:.0f} ms of one core for an image")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))

"""How long a reader takes: a pair of eyes as a process, and people in bulk.

    python benchmarks/reading_speed.py MANIFEST [--reader READER] [--people 200]

Prints, from one run on this machine: the median of 9 processes `foveola read LEFT RIGHT`, people a
second in bulk, and the same people one after the other in one thread, whose ratio says what the
threads bring.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from foveola.datasets.manifest import Manifest
from foveola.encoders.reading_model import DEFAULT_READER, ReadingModel
from foveola.people import people_of
from foveola.reading import read_people, read_person

PROCESSES = 9


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--reader", default=DEFAULT_READER)
    parser.add_argument("--people", type=int, default=200)
    arguments = parser.parse_args()
    reader = ReadingModel.load(arguments.reader)
    cases = list(Manifest.read(arguments.manifest).cases())
    people = people_of(cases, reader.labels)
    pairs = people.photographs[people.present.all(axis=1)][: arguments.people].tolist()
    files = [[Path(cases[i].path) for i in pair] for pair in pairs]
    for left, right in files[:3]:  # what is read and compiled once
        read_person(reader, left, right)
    command = [sys.executable, "-m", "foveola", "read", *map(str, files[0])]
    command += ["--reader", arguments.reader]
    process = statistics.median(timed(lambda: started(command)) for _ in range(PROCESSES))
    wanted = [cases[i] for pair in pairs for i in pair]
    bulk = timed(lambda: list(read_people(reader, wanted)))
    single = ReadingModel.load(arguments.reader, threads=1)
    alone = timed(lambda: [read_person(single, left, right) for left, right in files])
    print(f"a pair as a process: {process:.2f} s, median of {PROCESSES}")
    print(f"in bulk: {len(pairs) / bulk:.1f} people a second on {reader.threads} cores")
    print(f"one after the other: {len(pairs) / alone:.1f}; in bulk {alone / bulk:.2f} times that")


def started(command: list[str]) -> None:
    """Run a process to its end."""
    subprocess.run(command, capture_output=True, check=True)


def timed(work: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()

"""Time `foveola index` and `foveola search` as a user runs them, each in a process of its own.

    python benchmarks/indexing.py ../shared/data/odir/labels.csv [IMAGES]

Indexes the manifest (or its first IMAGES) on all cores and on one, then searches the archive
with photographs of it. Prints images a second with the greatest resident memory, the ratio of
the two, and the median of whole search processes and of what happens inside them.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from foveola.datasets.manifest import Manifest

SEARCHES = 15


def foveola(*arguments: object, cores: set[int]) -> tuple[float, dict]:
    """Seconds that the command took as a whole process, and the JSON it printed."""
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "foveola", *map(str, arguments), "--json"],
        check=True,
        capture_output=True,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    return time.perf_counter() - begin, json.loads(done.stdout)


def index(archive: Path, manifest: Path, cores: set[int]) -> float:
    seconds, done = foveola("index", archive, manifest, cores=cores)
    rate = done["added"] / seconds
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f"index on {len(cores)} cores: {done['added']} images in {seconds:.1f} s, "
        f"{rate:.0f} images/s, at most {memory:.0f} MiB resident",
        flush=True,
    )
    return rate


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("manifest", type=Path)
    parser.add_argument("images", type=int, nargs="?")
    options = parser.parse_args()
    manifest = Manifest.read(options.manifest)
    table = manifest.table.head(options.images) if options.images else manifest.table
    every = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "part.csv"
        Manifest(table, manifest.root, "benchmark").write(part)
        rates = [index(Path(folder) / f"archive{len(cores)}", part, cores) for cores in (every, {min(every)})]
        print(f"ratio {rates[0] / rates[1]:.2f}")
        archive = Path(folder) / f"archive{len(every)}"
        cases = list(Manifest.read(part).cases())
        asked = [cases[i * len(cases) // SEARCHES].path for i in range(SEARCHES)]
        runs = [foveola("search", archive, path, "-k", 10, cores=every) for path in asked]
    whole = [seconds for seconds, _ in runs]
    inside = [result["milliseconds"] for _, result in runs]
    print(
        f"search among {len(cases)}: whole process median {statistics.median(whole):.2f} s "
        f"(worst {max(whole):.2f}), inside median {statistics.median(inside):.0f} ms "
        f"(worst {max(inside):.0f})"
    )


if __name__ == "__main__":
    main()

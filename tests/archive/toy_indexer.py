"""Index COUNT made-up cases into FOLDER, resuming; killed by test_durability.py.

Usage: toy_indexer.py FOLDER COUNT BATCH
"""

import hashlib
import sys
from pathlib import Path

import numpy as np

from foveola.archive import Archive, Entry
from foveola.records import Case

D = 64


def made_up(i):
    v = np.random.default_rng(i).normal(size=D)
    case = Case(
        image=f"{i}.jpg",
        path=f"/data/{i}.jpg",
        subject=str(i // 2),
        grade=i % 5,
        findings=frozenset("DG"[: i % 3]),
        extra={"age": i},
    )
    digest = hashlib.blake2b(str(i).encode(), digest_size=16).digest()
    vector = (v / np.linalg.norm(v)).astype(np.float32)
    return Entry(case=case, descriptor=vector, digest=digest, size=i, mtime_ns=i)


def main(folder, count, batch):
    entries = [made_up(i) for i in range(count)]
    print("ready", flush=True)
    if (folder / "archive.sqlite").exists():
        archive = Archive.open(folder)
    else:
        archive = Archive.create(folder, encoder="toy", fingerprint="f", dimension=D)
    with archive:
        known = archive.known()
        missing = [e for e in entries if e.case.path not in known]
        for start in range(0, len(missing), batch):
            archive.add(missing[start : start + batch])
            print(start, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))

"""The same eye months and years later, on people whom no encoder was trained on.

    python benchmarks/follow_up.py DATA

DATA is a folder with grape/labels.csv. The first visit of each eye is the gallery, and later visits
ask (paper 2's protocol). Rows: the matching encoder alone, local features alone, and both by the
calibration that ships with the encoder, which was fitted to no photograph of GRAPE. Prints Markdown.
"""

import argparse
import multiprocessing
import tempfile
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from foveola.datasets.manifest import Manifest
from foveola.duplicates.registration import Features, agree
from foveola.encoders.encoder import Encoder
from foveola.encoders.release import MATCHER
from foveola.matching.calibrate import Views, look
from foveola.matching.evaluation import Protocol, evaluate_matching, part
from foveola.matching.pair import CALIBRATION, Calibration, Evidence, compared
from foveola.notebook import piped
from matching import HEAD, SCALE, by_features, cells

seen: Views  # of the processes, which share it as it is


def main() -> None:
    """Measure and print."""
    global seen
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    cv2.setNumThreads(1)
    encoder = Encoder.load(MATCHER)
    calibration = Calibration.load(encoder.release.folder / CALIBRATION, encoder.fingerprint)
    cases = list(Manifest.read(data / "grape/labels.csv", collection="grape").cases())
    parted = part(cases, Protocol())
    pairs = [(i, j) for i in parted.queries for j in parted.gallery]
    with tempfile.TemporaryDirectory() as folder:
        seen = look(encoder, cases, np.arange(0), Path(folder))
        forked = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(mp_context=forked, initializer=threadpool_limits, initargs=(1,)) as pool:
            found = list(pool.map(evidence, pairs, chunksize=len(parted.gallery)))
    ways = {
        encoder.name: [e.cosine for e in found],
        "features": by_features(found),
        "both": np.clip(calibration.score(found) / SCALE, -1, 1),
    }
    judged = {way: evaluate_matching(seen.plain, cases, similarity=table(pairs, x)) for way, x in ways.items()}
    print(piped([[*HEAD], *([way, *cells(of.found)] for way, of in judged.items())]))
    for way, of in judged.items():
        print(f"\n{way}, by years:\n\n{piped(of.rows())}")


def evidence(pair: tuple[int, int]) -> Evidence:
    """What speaks for one eye in two photographs."""
    i, j = pair
    cosine = float(seen.plain[i] @ seen.plain[j])
    return compared(cosine, agree(features(i), features(j)), lambda: (square(i), square(j)))


@cache
def features(i: int) -> Features:
    """Local features of a photograph."""
    return seen.features.get(i)


@cache
def square(i: int) -> np.ndarray:
    """Field of view of a photograph."""
    return seen.square(i)


def table(pairs: list[tuple[int, int]], values: Iterable[float]) -> np.ndarray:
    """(N, N) similarities; -1 for pairs that are not asked about."""
    similar = np.full((len(seen.cases), len(seen.cases)), -1, np.float32)
    for (i, j), value in zip(pairs, values, strict=True):
        similar[i, j] = value
    return similar


if __name__ == "__main__":
    main()

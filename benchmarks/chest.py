"""The same person in chest X-rays: descriptor, local features and both.

    python benchmarks/rematch.py recipes/matching.toml OUT --set kermany --set hannover
    python benchmarks/chest.py DATA OUT [--row ROW ...] [--impostors 5000]

OUT is the folder in which benchmarks/rematch.py trained, on each set or, with --set chest, on
both. In each fold the people held out are
compared: all pairs of one person, random pairs of two. "both" is a calibration fitted on one half
of the people and used on the other. Prints AUC and EER with 95 % intervals over people. Markdown.
"""

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from rematch import SETS
from threadpoolctl import threadpool_limits

from foveola.datasets.manifest import Manifest
from foveola.duplicates import registration
from foveola.duplicates.registration import Features, agree
from foveola.errors import FoveolaError
from foveola.images.decode import decode
from foveola.images.fundus import Contract, prepare
from foveola.matching.pair import FEATURES, Evidence, fit
from foveola.metrics.verification import Pairs, verify
from foveola.notebook import piped
from foveola.records import Case
from foveola.training.evidence import read_descriptors, read_entries

FRAME = Contract(size=registration.SIDE, crop=False, mask=False)  # all of a radiograph
FOLDERS = {"kermany": "kermany_cxr", "hannover": "hannover_cxr"}

features: dict[int, Features]  # of a process of `inliers`


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--row", action="append", help="of the table; may be repeated")
    parser.add_argument("--impostors", type=int, default=5000, help="pairs of two people, a fold")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    rows = [["set", "by", "pairs of one person", "AUC", "EER, %"]]
    for name, folder in FOLDERS.items():
        path = arguments.data / folder / "labels.csv"
        known = {case.image: case for case in Manifest.read(path, collection=folder).cases()}
        runs = [trained(arguments.out, name, row) for row in arguments.row or ["contrastive"]]
        compared = [inliers(run, known, folder, arguments.impostors, n) for n, run in enumerate(runs[0])]
        for folds in runs:
            parts = [judged(*each) for each in zip(folds, compared, strict=True)]
            rows += table(SETS[name].title, folds[0].parent.name, parts)
    print(piped(rows))


def trained(out: Path, name: str, row: str) -> list[Path]:
    """The folds of a row, trained on this set or on both."""
    folder = out / (name if (out / name / row).exists() else "chest") / row
    return sorted(folder.glob("fold-*"))


class Compared(NamedTuple):
    """Pairs of photographs held out in a fold.

    Attributes:
        entries: of the fold.
        pairs: places in the entries.
        same: whether each is of one person.
        asking: number of the person who asks.
        inliers: features that agree.
    """

    entries: list[tuple[str, str, bool]]
    pairs: list[tuple[int, int]]
    same: np.ndarray
    asking: np.ndarray
    inliers: list[int]


def inliers(run: Path, known: dict[str, Case], collection: str, impostors: int, seed: int) -> Compared:
    """All pairs of one person and random pairs of two, with the features that agree."""
    entries = read_entries(run)
    held = [i for i, (of, _, away) in enumerate(entries) if away and of == collection]
    cases = {i: known[entries[i][1]] for i in held}
    numbers = np.unique([str(cases[i].identity) for i in held], return_inverse=True)[1]
    people = dict(zip(held, numbers.tolist(), strict=True))
    same = [pair for pair in combinations(held, 2) if people[pair[0]] == people[pair[1]]]
    drawn = np.random.default_rng(seed).choice(held, (impostors, 2)).tolist()
    pairs = same + [(i, j) for i, j in drawn if people[i] != people[j]]
    with ThreadPoolExecutor() as pool:
        seen = dict(zip(held, pool.map(features_of, cases.values()), strict=True))
    forked = multiprocessing.get_context("fork")  # they share the features as they are
    with ProcessPoolExecutor(mp_context=forked, initializer=alone, initargs=(seen,)) as processes:
        agreed = list(processes.map(count, pairs, chunksize=100))
    truth = np.arange(len(pairs)) < len(same)
    return Compared(entries, pairs, truth, np.array([people[i] for i, _ in pairs]), agreed)


def alone(seen: dict[int, Features]) -> None:
    """Begin a process of `inliers`: these features, on one core."""
    global features
    features = seen
    threadpool_limits(1)


def count(pair: tuple[int, int]) -> int:
    """Features of a pair that agree."""
    return agree(features[pair[0]], features[pair[1]]).inliers


def judged(run: Path, of: Compared) -> tuple[list[Evidence], np.ndarray, np.ndarray]:
    """Evidence of each pair, whether it is of one person, and who asks."""
    rows = read_descriptors(run, of.entries)
    evidence = [Evidence(float(rows[i] @ rows[j]), agreed) for (i, j), agreed in zip(of.pairs, of.inliers, strict=True)]
    return evidence, of.same, of.asking


def features_of(case: Case) -> Features:
    """Of a whole radiograph; none where it can't be read."""
    try:
        image = decode(Path(case.path), min_side=registration.SIDE)
    except (FoveolaError, OSError):
        image = np.zeros((64, 64, 3), np.uint8)
    return registration.features(prepare(image, FRAME), FEATURES)


def table(title: str, row: str, parts: list) -> list[list[str]]:
    """A line for each way."""
    scores: dict[str, list[np.ndarray]] = {"descriptor": [], "features": [], "both": []}
    truths, asking, start = [], [], 0
    for evidence, truth, people in parts:
        scores["descriptor"].append(np.array([e.cosine for e in evidence]))
        scores["features"].append(np.array([float(e.inliers) for e in evidence]))
        both = np.empty(len(evidence))
        for half in (0, 1):
            fitted = [n for n in range(len(evidence)) if people[n] % 2 != half]
            made = fit([evidence[n] for n in fitted], truth[fitted], "benchmark")
            asked = [n for n in range(len(evidence)) if people[n] % 2 == half]
            both[asked] = made.score([evidence[n] for n in asked])
        scores["both"].append(both)
        truths.append(truth)
        asking.append(people + start)
        start += int(people.max()) + 1
    same, who = np.concatenate(truths), np.concatenate(asking)
    lines = []
    for way, values in scores.items():
        each = np.concatenate(values)
        seen = verify(Pairs.from_scores(each[same], each[~same], who[same], who[~same]))
        auc, eer = seen.auc, seen.eer
        by = way if way == "features" else f"{way}, {row}"
        lines.append(
            [
                title,
                by,
                f"{same.sum():,}",
                f"{auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f})",
                f"{100 * eer.value:.1f} ({100 * eer.low:.1f} to {100 * eer.high:.1f})",
            ]
        )
    return lines


if __name__ == "__main__":
    main()

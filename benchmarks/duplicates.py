"""How many altered copies and same eyes `foveola duplicates` finds, and how often it is wrong.

    python benchmarks/duplicates.py DATA [ALTERED]

DATA holds odir/, idrid/ and tvhl/, each with labels.csv, the last also with same_eye_pairs.csv.
Copies of ALTERED photographs (20) of ODIR and of IDRiD each are put among 200 others of their
set and the whole of TVHL's pairs; then all are searched as the command does it. Prints recall
by alteration, recall of TVHL's same-eye pairs, alarms among all other pairs, and what random
pairs of different subjects reach.
"""

import csv
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from foveola.datasets.manifest import Manifest
from foveola.duplicates import Found, find_duplicates
from foveola.duplicates import registration as reg
from foveola.duplicates.registration import agree
from foveola.encoders.encoder import Encoded, Encoder
from foveola.images.decode import decode
from foveola.records import Case

Pixels = NDArray[np.uint8]
OTHERS = 200
RANDOM_PAIRS = 4000


def resized(image: Pixels) -> Pixels:
    return cv2.resize(image, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)


def cropped(image: Pixels) -> Pixels:
    height, width = image.shape[:2]
    y, x = height // 10, width // 10
    return image[y : height - y, x : width - x]


def turned(image: Pixels) -> Pixels:
    height, width = image.shape[:2]
    affine = cv2.getRotationMatrix2D((width / 2, height / 2), 10, 1)
    return cv2.warpAffine(image, affine, (width, height), flags=cv2.INTER_CUBIC)


ALTERATIONS: dict[str, Callable[[Pixels], Pixels]] = {
    "JPEG quality 40": lambda image: image,
    "resized to 0.6": resized,
    "cropped to 80 %": cropped,
    "rotated by 10 degrees": turned,
    "brighter (x 1.3 + 10)": lambda image: np.clip(image * 1.3 + 10, 0, 255).astype(np.uint8),
    "mirrored": lambda image: image[:, ::-1],
}


def main(data: Path, altered: int) -> None:
    rng = random.Random(0)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        cases, copies = gather(data, altered, Path(folder), rng)
        begin = time.perf_counter()
        found = find_duplicates(cases, encode(cases))
        seconds = time.perf_counter() - begin
    print(f"{len(cases)} images, {found.candidates} candidates, {seconds:.0f} s\n")
    known = same_eyes(data, cases)
    recall(found, copies)
    print_same_eyes(found, known)
    alarms(cases, found, copies, known)
    strangers(cases, rng)


def gather(
    data: Path, altered: int, folder: Path, rng: random.Random
) -> tuple[list[Case], dict[tuple[int, int], tuple[str, str]]]:
    """All photographs, and which two of them are a copy of which kind."""
    cases: list[Case] = list(Manifest.read(data / "tvhl/labels.csv", collection="tvhl").cases())
    wanted = {name for row in pairs_of(data) for name in (row["image1"], row["image2"])}
    cases = [case for case in cases if case.image in wanted]
    copies = {}
    for name in ("odir", "idrid"):
        chosen = rng.sample(list(Manifest.read(data / name / "labels.csv", collection=name).cases()), altered + OTHERS)
        at = len(cases)
        cases += chosen
        for i, case in enumerate(chosen[:altered]):
            for kind, alter in ALTERATIONS.items():
                path = folder / f"{name}_{i}_{len(cases)}.jpg"
                quality = 40 if kind.startswith("JPEG") else 90
                bgr = np.ascontiguousarray(alter(decode(Path(case.path)))[..., ::-1])
                cv2.imwrite(str(path), bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
                copies[at + i, len(cases)] = (name, kind)
                cases.append(Case(image=path.name, path=str(path), collection=name))
    return cases, copies


def pairs_of(data: Path) -> list[dict[str, str]]:
    with (data / "tvhl/same_eye_pairs.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def same_eyes(data: Path, cases: Sequence[Case]) -> set[tuple[int, int]]:
    place = {case.image: i for i, case in enumerate(cases) if case.collection == "tvhl"}
    ends = [sorted((place[row["image1"]], place[row["image2"]])) for row in pairs_of(data)]
    return {(first, second) for first, second in ends}


def encode(cases: Sequence[Case]) -> NDArray[np.float32]:
    results = Encoder.load().encode_cases(cases)
    return np.stack([r.descriptor for r in results if isinstance(r, Encoded)])


def recall(found: Found, copies: dict[tuple[int, int], tuple[str, str]]) -> None:
    kinds = {(pair.first, pair.second): pair.kind for pair in found.pairs}
    counts = Counter((what, kinds.get(ends, "-")) for ends, what in copies.items())
    totals = Counter(copies.values())
    print(f"{'alteration':24}{'set':8}{'copies':>8}{'found':>8}{'as copy':>9}")
    for what, total in sorted(totals.items(), key=lambda item: item[0][::-1]):
        copy = counts[what, "photograph"]
        print(f"{what[1]:24}{what[0]:8}{total:>8}{copy + counts[what, 'eye']:>8}{copy:>9}")


def print_same_eyes(found: Found, known: set[tuple[int, int]]) -> None:
    kinds = Counter(p.kind for p in found.pairs if (p.first, p.second) in known)
    print(
        f"\nTVHL: {sum(kinds.values())} of {len(known)} pairs of one eye found, "
        f"{kinds['photograph']} of them taken for one photograph"
    )


def alarms(
    cases: Sequence[Case], found: Found, copies: dict[tuple[int, int], tuple[str, str]], known: set[tuple[int, int]]
) -> None:
    """Pairs found beyond those that are true by construction."""
    root = {copy: original for original, copy in copies}
    wrong = Counter()
    for pair in found.pairs:
        a, b = root.get(pair.first, pair.first), root.get(pair.second, pair.second)
        same = cases[a].identity == cases[b].identity and cases[a].eye == cases[b].eye
        if a != b and not same and (min(a, b), max(a, b)) not in known:
            wrong[pair.kind] += 1
    print(
        f"other pairs reported among {found.candidates} candidates (real duplicates of the sets "
        f"among them): {wrong['photograph']} as copies, {wrong['eye']} as one eye"
    )


def strangers(cases: Sequence[Case], rng: random.Random) -> None:
    """What random photographs of different subjects reach, without any choice of candidates."""
    few = rng.sample([case for case in cases if Path(case.path).exists()], 150)
    seen = [reg.features(reg.square(decode(Path(case.path)))) for case in few]
    inliers = []
    while len(inliers) < RANDOM_PAIRS:
        i, j = rng.sample(range(len(few)), 2)
        if few[i].identity != few[j].identity:
            inliers.append(agree(seen[i], seen[j]).inliers)
    top = sorted(inliers)[-3:]
    print(f"{RANDOM_PAIRS} random pairs of different subjects: most inliers {top}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 20)

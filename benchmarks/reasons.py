"""Does the page's map fall on lesions, and can it be believed? The shipped encoder's.

    python benchmarks/reasons.py [--photographs DIR] [--gallery FILE] [--encoder NAME]

Each photograph with masks (IDRiD's segmentation set) is compared with the most alike other picture
of the gallery (IDRiD's grading set) that has its grade, and `foveola.explain.removal_map` says what
makes the two alike. Beside it: the same by covering parts of the photograph up
(`foveola.explain.occlusion_map`), the map of a model whose weights are exchanged at random within
each layer (Adebayo et al., NeurIPS 2018: an explanation must change when the model is spoilt), that
of one whose channels are exchanged before the descriptor is made, brightness, and the centre.
Prints pixel AUC by kind of lesion with 95 % intervals over photographs, rank correlations with the
map, and how long each takes. Markdown.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from lesion_photos import KINDS, Photo, baselines, read_photos, same_pictures
from numpy.typing import NDArray

from foveola.datasets.manifest import Manifest
from foveola.encoders.encoder import Encoded, Encoder
from foveola.encoders.parts import Parts, Pooling, randomised
from foveola.explain import occlusion_map, removal_map
from foveola.images.decode import decode
from foveola.images.fundus import prepare
from foveola.metrics.pointing import point_many, summary
from foveola.notebook import piped

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"
Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]
MAP, COVERED, RANDOM, EXCHANGED = ("map", "occlusion", "map, random weights", "map, channels exchanged")


class Exchanged:
    """An encoder whose channels come to its head in another order."""

    pooling: Pooling

    def __init__(self, parts: Parts, channels: int, seed: int = 0) -> None:
        self._parts, self.pooling = parts, parts.pooling
        self._order = np.random.default_rng(seed).permutation(channels)

    def descriptors(self, pooled: NDArray[np.float32]) -> NDArray[np.float32]:
        """As those of `Parts`."""
        return self._parts.descriptors(np.ascontiguousarray(pooled[:, self._order]))


class Clock:
    """How long each of several things takes: seconds, and seconds of processor time."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[tuple[float, float]]] = {}

    def __call__(self, name: str, make: Callable[[], Any]) -> Any:
        """What make gives; its time is kept under the name."""
        start = time.perf_counter(), time.process_time()
        made = make()
        taken = time.perf_counter() - start[0], time.process_time() - start[1]
        self.seconds.setdefault(name, []).append(taken)
        return made


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--photographs", type=Path, default=DATA / "idrid_lesions")
    parser.add_argument("--gallery", type=Path, default=DATA / "idrid/labels.csv")
    parser.add_argument("--encoder", default="fundus-similarity-3")
    arguments = parser.parse_args()
    print(loop())
    photos = read_photos(arguments.photographs)
    encoder = Encoder.load(arguments.encoder)
    hits = nearest(photos, encoder, arguments.gallery)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        wrong = Parts(randomised(encoder.release, Path(folder)), encoder.threads)
    right = Parts(encoder.release, encoder.threads)
    maps: dict[str, list[Floats]] = {}
    for photo, hit in zip(photos, hits, strict=True):
        for name, heat in all_maps(photo, hit, encoder, right, wrong, clock).items():
            maps.setdefault(name, []).append(heat)
    print(piped([["map", *KINDS], *([name, *aucs(heats, photos)] for name, heats in maps.items())]))
    print("\nRank correlation with the map, over the positions in the field, by photograph:\n")
    print(piped([["map", "mean", "median", "5 %", "95 %"], *agreement(maps)]))
    print("\nMilliseconds; processor time is what a quiet machine would take on one core:\n")
    rows = [[name, *milliseconds(values)] for name, values in clock.seconds.items()]
    print(piped([["what", "median", "95 %", "processor, median"], *rows]))
    print(f"\n{loop()}")


def all_maps(photo: Photo, hit: Path, encoder: Encoder, right: Parts, wrong: Parts, clock: Clock) -> dict[str, Floats]:
    """Each map of one photograph, (h, w)."""
    own, other = decode(photo.path), decode(hit)
    features = [right.features(image) for image in (own, other)]

    def both() -> Floats:
        maps = [right.features(own), right.features(other)]
        explained(maps[1], maps[0], right)
        return explained(maps[0], maps[1], right)

    found = {MAP: clock("both maps, with the network's passes", both)}
    clock(
        "both maps, features kept",
        lambda: [explained(features[0], features[1], right), explained(features[1], features[0], right)],
    )
    target = encoder.encode_photograph(other)
    prepared = prepare(own, encoder.contract)
    found[COVERED] = clock(
        "occlusion of one photograph", lambda: occlusion_map(prepared, target, encoder.encode).contributions
    )
    spoilt = [wrong.features(image) for image in (own, other)]
    found[RANDOM] = explained(spoilt[0], spoilt[1], wrong)
    found[EXCHANGED] = explained(*features, Exchanged(right, len(features[0])))
    simple = baselines(photo, features[0].shape[1:])
    return found | {name: simple[name] for name in ("brightness", "centre")}


def nearest(photos: list[Photo], encoder: Encoder, gallery: Path) -> list[Path]:
    """The most alike other picture with the photograph's grade, of any where it is unknown."""
    cases = list(Manifest.read(gallery).cases())
    done = [e for e in encoder.encode_cases(cases) if isinstance(e, Encoded)]
    rows = np.stack([e.descriptor for e in done])
    grades = np.array([-1 if e.case.grade is None else e.case.grade for e in done])
    same = same_pictures(photos, [Path(e.case.path) for e in done])
    found = []
    for photo, own in zip(photos, same, strict=True):
        cosines = rows @ encoder.encode_photograph(decode(photo.path))
        left_out = own if photo.grade is None else own | (grades != photo.grade)
        found.append(Path(done[int(np.argmax(np.where(left_out, -2, cosines)))].case.path))
    return found


def explained(own: NDArray[np.float32], other: NDArray[np.float32], by: Parts | Exchanged) -> Floats:
    """(h, w) what each position of the one adds to its likeness to the other."""
    pooled = by.pooling.root(by.pooling.powers(other).mean(axis=(1, 2)))
    return removal_map(own, by.descriptors(pooled[None])[0], by).contributions


def aucs(heats: list[Floats], photos: list[Photo]) -> list[str]:
    """Mean over the photographs that have a kind, with its interval."""
    values = np.array(
        [
            [point.auc for point in point_many(heat, list(photo.targets))]
            for heat, photo in zip(heats, photos, strict=True)
        ]
    )
    return [f"{mean:.3f} ({low:.3f} to {high:.3f})" for mean, low, high in summary(values)]


def agreement(maps: dict[str, list[Floats]]) -> list[list[str]]:
    """How each map goes with the first, by photograph."""
    rows = []
    for name, heats in maps.items():
        if name == MAP or heats[0].shape != maps[MAP][0].shape:
            continue
        values = [correlation(one, two) for one, two in zip(maps[MAP], heats, strict=True)]
        low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
        rows.append([name, *(f"{v:.2f}" for v in (np.mean(values), middle, low, high))])
    return rows


def correlation(one: Floats, two: Floats) -> float:
    """Spearman's, over the positions whose centre lies in the inscribed circle."""
    h, w = one.shape
    y, x = np.mgrid[:h, :w]
    inside = np.hypot((y + 0.5) / h - 0.5, (x + 0.5) / w - 0.5) <= 0.5
    ranks = [np.argsort(np.argsort(heat[inside])) for heat in (one, two)]
    return float(np.corrcoef(ranks)[0, 1])


def milliseconds(values: list[tuple[float, float]]) -> list[str]:
    """Median and 95th percentile, and the median of processor time."""
    wall, busy = zip(*values, strict=True)
    chosen = (statistics.median(wall), np.quantile(wall, 0.95), statistics.median(busy))
    return [f"{1000 * v:.0f}" for v in chosen]


def loop() -> str:
    """How busy the machine is: a loop that takes 1.1 to 1.2 s where nothing else runs."""
    start = time.perf_counter()
    for _ in range(20_000_000):
        pass
    took = time.perf_counter() - start
    return f"A loop of 20 million turns takes {took:.1f} s; load {os.getloadavg()[0]:.1f}.\n"


if __name__ == "__main__":
    main()

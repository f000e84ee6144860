"""Does the page's map fall on lesions? The shipped encoder's, against masks drawn by hand.

    python benchmarks/reasons.py [--photographs DIR] [--gallery FILE] [--encoder NAME]

Each photograph with masks (IDRiD's segmentation set) is compared with the most alike other picture
of the gallery (IDRiD's grading set) that has its grade, and `foveola.explain.removal_map` says what
makes the two alike. Beside it the same map where the network's channels are exchanged before the
descriptor is made (Adebayo et al., NeurIPS 2018: an explanation must change when the model is
spoilt), brightness, and the centre. Prints pixel AUC by kind of lesion with 95 % intervals over
photographs, how far the map changes when the model is spoilt, and how long a map takes. Markdown.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
from lesion_photos import KINDS, Photo, baselines, read_photos, same_pictures
from numpy.typing import NDArray

from foveola.datasets.manifest import Manifest
from foveola.encoders.encoder import Encoded, Encoder
from foveola.encoders.parts import Parts
from foveola.encoders.pooling import Pooling
from foveola.evaluation.pointing import point_many, summary
from foveola.evaluation.tables import piped
from foveola.explain import removal_map
from foveola.images.decode import decode

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"
Floats = NDArray[np.float64]


class Spoilt:
    """An encoder whose channels come to its head in another order."""

    def __init__(self, parts: Parts, channels: int, seed: int = 0) -> None:
        self._parts, self.pooling = parts, parts.pooling
        self._order = np.random.default_rng(seed).permutation(channels)

    pooling: Pooling

    def descriptors(self, pooled: NDArray[np.float32]) -> NDArray[np.float32]:
        """As those of `Parts`."""
        return self._parts.descriptors(np.ascontiguousarray(pooled[:, self._order]))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--photographs", type=Path, default=DATA / "idrid_lesions")
    parser.add_argument("--gallery", type=Path, default=DATA / "idrid/labels.csv")
    parser.add_argument("--encoder", default="fundus-similarity-3")
    arguments = parser.parse_args()
    photos = read_photos(arguments.photographs)
    encoder = Encoder.load(arguments.encoder)
    parts = Parts(encoder.release, encoder.threads)
    hits = nearest(photos, encoder, arguments.gallery)
    maps: dict[str, list[Floats]] = {}
    correlated, seconds = [], []
    for photo, hit in zip(photos, hits, strict=True):
        own, other = parts.features(decode(photo.path)), parts.features(decode(hit))
        start = time.perf_counter()
        true = explained(own, other, parts)
        seconds.append(time.perf_counter() - start)
        spoilt = explained(own, other, Spoilt(parts, len(own)))
        correlated.append(np.corrcoef(true.ravel(), spoilt.ravel())[0, 1])
        simple = baselines(photo, own.shape[1:])
        found = {"map": true, "map, channels exchanged": spoilt}
        found |= {name: simple[name] for name in ("brightness", "centre")}
        for name, heat in found.items():
            maps.setdefault(name, []).append(heat)
    print(piped([["map", *KINDS], *([name, *aucs(heats, photos)] for name, heats in maps.items())]))
    print(f"\ncorrelation of the map with that of the spoilt model: {np.mean(correlated):.3f} "
          f"on average, {np.median(correlated):.3f} at the median")  # fmt: skip
    print(f"a map without the network's pass: {1000 * statistics.median(seconds):.0f} ms, median")


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


def explained(own: NDArray[np.float32], other: NDArray[np.float32], by: Parts | Spoilt) -> Floats:
    """(h, w) what each position of the one adds to its likeness to the other."""
    pooled = by.pooling.root(by.pooling.powers(other).mean(axis=(1, 2)))
    return removal_map(own, by.descriptors(pooled[None])[0], by).contributions


def aucs(heats: list[Floats], photos: list[Photo]) -> list[str]:
    """Mean over the photographs that have a kind, with its interval."""
    values = np.array(
        [[point.auc for point in point_many(heat, list(photo.targets))]
         for heat, photo in zip(heats, photos, strict=True)]
    )  # fmt: skip
    return [f"{mean:.3f} ({low:.3f} to {high:.3f})" for mean, low, high in summary(values)]


if __name__ == "__main__":
    main()

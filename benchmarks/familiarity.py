"""Which pictures an encoder takes for fundus photographs.

    python benchmarks/familiarity.py recipes/fundus-similarity-5.toml [--known 2500] [--write]

Fits the plane of `foveola.trust.familiarity` to photographs that the recipe's encoder was trained
on and judges it by the people held back, by data sets it has never seen, and by pictures that show
something else: chest X-rays, natural photographs (those that come with scikit-learn and
matplotlib, cut into parts), textures, and fundus photographs spoilt until nobody would grade them.
Prints what share of each the plane alone calls unusual and foreign, what share a search takes for
no fundus photograph, and what share it finds no sufficiently similar case for, too poor ones among
them, however alike the nearest may be. --write puts the plane beside the encoder. Markdown.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from matplotlib import cbook
from sklearn.datasets import load_sample_images

from foveola.cases import Case
from foveola.config import load_config
from foveola.datasets.manifest import Manifest
from foveola.encoders.ahead import in_order
from foveola.encoders.encoder import Encoder
from foveola.encoders.release import add_parts
from foveola.errors import FoveolaError
from foveola.evaluation.tables import piped
from foveola.images.decode import decode
from foveola.images.gradability import gradability
from foveola.relevance.curve import wilson
from foveola.training.config import TrainConfig
from foveola.training.prepared import HELD, TRAINED, parted_cases
from foveola.trust import FAMILIARITY, Familiarity, judge_picture
from foveola.trust.familiarity import UNUSUAL

Pixels = np.ndarray
Seen = tuple[np.ndarray, float]  # pooled features and gradability
SIDE = 512  # pixels of what is made
MADE = 40  # pictures of each kind that is made


def main() -> None:
    """Fit, judge, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--known", type=int, default=2500)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    config = load_config(arguments.recipe, TrainConfig)
    encoder = Encoder.load(config.name)
    rng = np.random.default_rng(0)
    trained, held = parted(config, arguments.recipe.parent)
    known = [trained[i] for i in rng.permutation(len(trained))[: arguments.known]]
    made = Familiarity.fit(
        features(see(encoder, read(known))),
        features(see(encoder, read([case for cases in held.values() for case in cases]))),
    )
    with tempfile.TemporaryDirectory() as folder:  # judged as it will be read
        made.save(Path(folder) / FAMILIARITY)
        kept = Familiarity.load(Path(folder))
    assert kept is not None
    if arguments.write:
        kept.save(encoder.release.folder / FAMILIARITY)
        add_parts(encoder.release.folder, FAMILIARITY)
    data = (arguments.recipe.parent / config.data.manifests[0]).parent.parent
    rows = [["pictures", "number", "unusual by the plane", "foreign by the plane",
             "no fundus photograph", "no sufficient case"]]  # fmt: skip
    for name, pictures in sets(held, data, rng).items():
        rows.append(row(name, see(encoder, pictures), kept))
    print(piped(rows))


def parted(config: TrainConfig, base: Path) -> tuple[list[Case], dict[str, list[Case]]]:
    """Photographs trained on, and by data set those of people held back."""
    with tempfile.TemporaryDirectory() as away:
        every = dict(parted_cases(config.data, base, Path(away)))
    trained = [case for parts in every.values() for case in parts[TRAINED]]
    return trained, {name: parts[HELD] for name, parts in every.items()}


def sets(
    held: dict[str, list[Case]], data: Path, rng: np.random.Generator
) -> dict[str, Iterator[Pixels]]:
    """What is judged, by name."""
    found = {f"{name}, people held back": read(cases) for name, cases in held.items()}
    for name in ("tvhl", "chase_db1", "kermany_cxr", "hannover_cxr"):
        cases = list(Manifest.read(data / name / "labels.csv", collection=name).cases())
        found[f"{name}, never seen"] = read(cases)
    fundus = [case for cases in held.values() for case in cases]
    some = [fundus[i] for i in rng.permutation(len(fundus))[:MADE]]
    return found | {
        "natural photographs, in parts": natural(),
        "coloured textures": (texture(rng, colour=True) for _ in range(MADE)),
        "grey textures": (texture(rng, colour=False) for _ in range(MADE)),
        "noise": (rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8) for _ in range(MADE)),
        "one colour": (np.full((SIDE, SIDE, 3), rng.integers(0, 256, 3), np.uint8)
                       for _ in range(MADE)),
        "black": iter([np.zeros((SIDE, SIDE, 3), np.uint8)]),
        "fundus, parts exchanged": (exchanged(p, rng) for p in read(some)),
        "fundus, blurred beyond use": (cv2.GaussianBlur(fit(p), (0, 0), 20) for p in read(some)),
        "fundus, nearly dark": ((p * 0.05).astype(np.uint8) for p in read(some)),
        "fundus, as a negative": (255 - p for p in read(some)),
        "fundus, in grey": (np.repeat(p[..., 1:2], 3, axis=2) for p in read(some)),
    }  # fmt: skip


def row(name: str, seen: list[Seen], made: Familiarity) -> list[str]:
    """Shares with their intervals (of pictures, not of people)."""
    unlike = np.array([made.unlike(pooled) for pooled, _ in seen])
    by_plane = [judge_picture(made, pooled, 1.0).foreign for pooled, _ in seen]
    looks = [judge_picture(made, pooled, quality) for pooled, quality in seen]
    refused = [each.foreign or each.poor for each in looks]
    of = (unlike >= UNUSUAL, by_plane, [each.foreign for each in looks], refused)
    shares = [wilson(float(np.sum(each)), len(seen)) for each in of]
    return [
        name,
        f"{len(seen):,}",
        *(f"{s.value:.3f} ({s.low:.3f} to {s.high:.3f})" for s in shares),
    ]


def see(encoder: Encoder, pictures: Iterator[Pixels]) -> list[Seen]:
    """What the encoder and the rule of gradability make of pictures."""

    def one(picture: Pixels) -> Seen:
        return encoder.describe(picture).pooled, gradability(picture)

    return list(in_order(one, pictures, encoder.threads, 4))


def features(seen: list[Seen]) -> np.ndarray:
    """(N, C)."""
    return np.stack([pooled for pooled, _ in seen])


def read(cases: list[Case]) -> Iterator[Pixels]:
    """Those that can be decoded."""
    for case in cases:
        try:
            yield decode(Path(case.path), min_side=SIDE)
        except (FoveolaError, OSError):
            continue


def natural() -> Iterator[Pixels]:
    """Overlapping parts of three photographs: a temple, a flower, a woman in uniform."""
    with cbook.get_sample_data("grace_hopper.jpg") as file:
        person = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR)
    for photograph in (*load_sample_images().images, person[..., ::-1]):
        yield fit(photograph)
        high, wide = photograph.shape[:2]
        for top in range(0, high - 255, 128):
            for left in range(0, wide - 255, 128):
                yield fit(photograph[top : top + 256, left : left + 256])


def fit(picture: Pixels) -> Pixels:
    """SIDE pixels a side."""
    return cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def texture(rng: np.random.Generator, *, colour: bool) -> Pixels:
    """Clouds, whose power falls with frequency as that of photographs does."""
    channels = 3 if colour else 1
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE))
    frequency[0, 0] = 1
    noise = np.fft.fft2(rng.normal(size=(channels, SIDE, SIDE)))
    field = np.fft.ifft2(noise / frequency ** rng.uniform(0.8, 1.8)).real
    low = field.min(axis=(1, 2), keepdims=True)
    scaled = 255 * (field - low) / np.ptp(field, axis=(1, 2), keepdims=True)
    return np.repeat(scaled.transpose(1, 2, 0), 3 // channels, axis=2).astype(np.uint8)


def exchanged(picture: Pixels, rng: np.random.Generator, parts: int = 8) -> Pixels:
    """Its squares in another order: the colours of a retina without one."""
    side = SIDE // parts
    squares = fit(picture).reshape(parts, side, parts, side, 3).transpose(0, 2, 1, 3, 4)
    mixed = squares.reshape(-1, side, side, 3)[rng.permutation(parts * parts)]
    square = mixed.reshape(parts, parts, side, side, 3).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(square.reshape(SIDE, SIDE, 3))


if __name__ == "__main__":
    main()

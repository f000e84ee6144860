"""Which pictures an encoder takes for fundus photographs.

    python benchmarks/familiarity.py recipes/fundus-similarity-5.toml [--known 2500] [--write]

Fits the plane and the classifier of `foveola.trust.familiarity` to photographs that the recipe's
encoder was trained on and to pictures that show something else (chest X-rays, natural photographs,
textures, discs in the colours of a retina, spoilt photographs; as they are, tinted and cut to a
disc), and judges them by the people held back, by data sets the encoder has never seen, and by such
pictures from other sources: X-rays of other people and of another hospital, and photographs that
come with matplotlib and, where it is installed, scikit-image.

Prints in Markdown what share of each the plane alone calls unusual, what share both call foreign,
what share a search takes for no fundus photograph, and what share it finds no sufficiently similar
case for, too poor ones among them, however alike the nearest may be. --write puts what was fitted
beside the encoder.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import cv2
import numpy as np
from matplotlib import cbook
from sklearn.datasets import load_sample_images
from sklearn.linear_model import LogisticRegression

from foveola.config import load_config
from foveola.datasets.manifest import Manifest
from foveola.encoders.compiling import in_order
from foveola.encoders.encoder import Encoder
from foveola.encoders.release import add_parts
from foveola.errors import FoveolaError, ImageError
from foveola.images.decode import decode
from foveola.images.gradability import gradability
from foveola.notebook import piped
from foveola.phantom import generate
from foveola.records import Case
from foveola.relevance.calibrate import wilson
from foveola.training.config import TrainConfig
from foveola.training.prepared import HELD, TRAINED, parted_cases
from foveola.trust import FAMILIARITY, Familiarity, judge_picture
from foveola.trust.familiarity import UNUSUAL

Pixels = np.ndarray
Seen = tuple[np.ndarray, float]  # pooled features and gradability
SIDE = 512  # pixels of what is made
MADE = 40  # pictures of each kind that is made
SCENES = ("astronaut", "chelsea", "coffee", "brick", "grass", "ihc", "coins")
TAUGHT = 300  # X-rays of each kind that are fitted to


def main() -> None:
    """Fit, judge, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--known", type=int, default=5000)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    config = load_config(arguments.recipe, TrainConfig)
    encoder = Encoder.load(config.name)
    rng = np.random.default_rng(0)
    trained, held = parted(config, arguments.recipe.parent)
    data = (arguments.recipe.parent / config.data.manifests[0]).parent.parent
    known = [trained[i] for i in rng.permutation(len(trained))[: arguments.known]]
    people = [case for cases in held.values() for case in cases]
    seen = see(encoder, read(known))
    assert len(seen) == len(known)
    of_known, counts = features(seen), rarity(known)
    made = Familiarity.fit(of_known, features(see(encoder, read(people))))
    taught = [features(see(encoder, pictures)) for pictures in taught_by(trained, data, rng)]
    # phantoms count a tenth of the photographs, so that they decide nothing among these
    drawn = np.full(len(taught[0]), counts.sum() / 10 / len(taught[0]))
    made = with_classifier(made, [(of_known, counts), (taught[0], drawn)], taught[1:])
    with tempfile.TemporaryDirectory() as folder:  # judged as it will be read
        made.save(Path(folder) / FAMILIARITY)
        kept = Familiarity.load(Path(folder))
    assert kept is not None
    if arguments.write:
        kept.save(encoder.release.folder / FAMILIARITY)
        add_parts(encoder.release.folder, FAMILIARITY)
    rows = [
        [
            "pictures",
            "number",
            "unusual by the plane",
            "foreign by plane and classifier",
            "no fundus photograph",
            "no sufficient case",
        ]
    ]
    for name, pictures in sets(held, data, rng).items():
        rows.append(row(name, see(encoder, pictures), kept))
    print(piped(rows))


def taught_by(trained: list[Case], data: Path, rng: np.random.Generator) -> list[Iterator[Pixels]]:
    """Phantoms, which are taken for retinas, then each kind that is not, spoilt ones among them."""
    exchange = (exchanged(p, rng) for p in read(trained[:: len(trained) // (4 * MADE)]))
    negatives = spoilt(trained, rng)["fundus, as a negative"]
    return [phantoms(900), exchange, negatives, *others(data, rng, judged=False).values()]


def with_classifier(
    plane: Familiarity, retinas: list[tuple[np.ndarray, np.ndarray]], foreign: list[np.ndarray]
) -> Familiarity:
    """The same that also tells the ones from the others.

    Args:
        plane: what was fitted.
        retinas: (N, C) features and (N,) weights of each kind.
        foreign: features of each kind; all kinds count alike, and together as the retinas do.
    """
    each = sum(weights.sum() for _, weights in retinas) / len(foreign)
    kinds = [*retinas, *((kind, np.full(len(kind), each / len(kind))) for kind in foreign)]
    x = np.concatenate([kind for kind, _ in kinds])
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    x = x / np.where(lengths == 0, 1, lengths)
    y = np.arange(len(x)) < sum(len(kind) for kind, _ in retinas)
    weights = np.concatenate([of for _, of in kinds])
    mean = x.mean(axis=0)
    fitted = LogisticRegression(C=30, max_iter=3000)
    fitted.fit(x - mean, y, sample_weight=weights * len(x) / weights.sum())
    told = fitted.coef_[0]
    return replace(plane, weights=told, bias=float(fitted.intercept_[0] - mean @ told))


def rarity(cases: list[Case]) -> np.ndarray:
    """(N,): one over how often the rarest label of a case occurs.

    With equal weights the many healthy eyes decided, and three cataracts in ten were foreign.
    """
    labels = [[*(case.findings or ()), f"grade {case.grade}"] for case in cases]
    often = Counter(label for some in labels for label in some)
    return np.array([1 / min(often[label] for label in some) for some in labels])


def parted(config: TrainConfig, base: Path) -> tuple[list[Case], dict[str, list[Case]]]:
    """Photographs trained on, and by data set those of people held back."""
    with tempfile.TemporaryDirectory() as away:
        every = dict(parted_cases(config.data, base, Path(away)))
    trained = [case for parts in every.values() for case in parts[TRAINED]]
    return trained, {name: parts[HELD] for name, parts in every.items()}


def sets(held: dict[str, list[Case]], data: Path, rng: np.random.Generator) -> dict[str, Iterator[Pixels]]:
    """What is judged, by name."""
    found = {f"{name}, people held back": read(cases) for name, cases in held.items()}
    for name in ("tvhl", "chase_db1", "grape"):
        found[f"{name}, never seen"] = read(cases_of(data, name))
    fundus = [case for cases in held.values() for case in cases]
    return found | {
        "phantoms": phantoms(901),
        **others(data, rng, judged=True),
        "black": iter([np.zeros((SIDE, SIDE, 3), np.uint8)]),
        **spoilt(fundus, rng),
    }


def phantoms(seed: int) -> Iterator[Pixels]:
    """Both eyes of twenty made people at two visits."""
    with tempfile.TemporaryDirectory() as folder:
        made = generate(Path(folder) / "made", subjects=20, visits=2, seed=seed, masks=False)
        yield from read(list(Manifest.read(made).cases()))


def row(name: str, seen: list[Seen], made: Familiarity) -> list[str]:
    """Shares with their intervals (of pictures, not of people)."""
    unlike = np.array([made.unlike(pooled) for pooled, _ in seen])
    by_plane = [judge_picture(made, pooled, 1.0).foreign for pooled, _ in seen]
    looks = [judge_picture(made, pooled, quality) for pooled, quality in seen]
    refused = [each.foreign or each.poor for each in looks]
    of = (unlike >= UNUSUAL, by_plane, [each.foreign for each in looks], refused)
    shares = [wilson(float(np.sum(each)), len(seen)) for each in of]
    return [name, f"{len(seen):,}", *(f"{s.value:.3f} ({s.low:.3f} to {s.high:.3f})" for s in shares)]


def see(encoder: Encoder, pictures: Iterator[Pixels]) -> list[Seen]:
    """What the encoder and the rule of gradability make of pictures."""

    def one(picture: Pixels) -> Seen | None:
        try:
            return encoder.embed_with_quality(picture).pooled, gradability(picture)
        except ImageError:  # two fields of view: refused before anybody judges what it shows
            return None

    return [each for each in in_order(one, pictures, encoder.threads, 4) if each is not None]


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


def others(data: Path, rng: np.random.Generator, *, judged: bool) -> dict[str, Iterator[Pixels]]:
    """Pictures of no retina by kind, from other sources where they judge than where they teach."""
    xrays = [case for case in cases_of(data, "kermany_cxr") if judged is bool(seen_twice(case))]
    photographs = load_sample_images().images  # a temple, a flower
    if judged:
        xrays = [*cases_of(data, "hannover_cxr"), *xrays]
        with cbook.get_sample_data("grace_hopper.jpg") as file:
            person = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR)
        photographs = [person[..., ::-1], *more_scenes()]
    scenes = list(natural(photographs))
    some = [xrays[i] for i in rng.permutation(len(xrays))[:TAUGHT]]
    return {
        "chest X-rays": read(xrays if judged else some),
        "chest X-rays, tinted": (tinted(p, rng) for p in read(some)),
        "chest X-rays, tinted, in a disc": (in_disc(tinted(p, rng)) for p in read(some)),
        "natural photographs, in parts": iter(scenes),
        "natural photographs, in a disc": (in_disc(fit(p)) for p in scenes),
        "natural photographs, tinted, in a disc": (in_disc(tinted(p, rng)) for p in scenes),
        "coloured textures": (texture(rng, colour=True) for _ in range(MADE)),
        "grey textures": (texture(rng, colour=False) for _ in range(MADE)),
        "textures, tinted, in a disc": (in_disc(tinted(texture(rng, colour=False), rng)) for _ in range(2 * MADE)),
        "discs with spots": (spots(rng) for _ in range(4 * MADE)),
        "noise": (rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8) for _ in range(MADE)),
        "one colour": (np.full((SIDE, SIDE, 3), rng.integers(0, 256, 3), np.uint8) for _ in range(MADE)),
        "pages of text": (page(rng) for _ in range(MADE)),
    }


def spoilt(cases: list[Case], rng: np.random.Generator) -> dict[str, Iterator[Pixels]]:
    """Photographs of the retina, spoilt until nothing can be said of them."""
    some = [cases[i] for i in rng.permutation(len(cases))[:MADE]]
    return {
        "fundus, parts exchanged": (exchanged(p, rng) for p in read(some)),
        "fundus, as a negative": (255 - p for p in read(some)),
        "fundus, blurred beyond use": (cv2.GaussianBlur(fit(p), (0, 0), 20) for p in read(some)),
        "fundus, nearly dark": ((p * 0.05).astype(np.uint8) for p in read(some)),
        "fundus, in grey": (np.repeat(p[..., 1:2], 3, axis=2) for p in read(some)),
    }


def seen_twice(case: Case) -> int:
    """A draw by person: 0 or 1."""
    return crc32(str(case.subject or case.path).encode()) % 2


def cases_of(data: Path, name: str) -> list[Case]:
    """All photographs of a data set."""
    return list(Manifest.read(data / name / "labels.csv", collection=name).cases())


def more_scenes() -> list[Pixels]:
    """Photographs that come with scikit-image, where it is installed."""
    try:
        import skimage
    except ImportError:
        return []
    folder = Path(skimage.__file__).parent / "data"
    return [cv2.imread(str(folder / f"{name}.png"))[..., ::-1] for name in SCENES]


def natural(photographs: Iterable[Pixels]) -> Iterator[Pixels]:
    """Each, and overlapping parts of it."""
    for photograph in photographs:
        yield fit(photograph)
        high, wide = photograph.shape[:2]
        for side in (256, 128):
            for top in range(0, high - side + 1, side // 2):
                for left in range(0, wide - side + 1, side // 2):
                    yield fit(photograph[top : top + side, left : left + side])


def tinted(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """Its brightness in a colour that retinas have."""
    grey = fit(picture).mean(axis=2, keepdims=True) / 255
    return (grey * colour_of_retina(rng)).astype(np.uint8)


def colour_of_retina(rng: np.random.Generator) -> np.ndarray:
    """(3,) RGB, 0 to 255."""
    red = rng.uniform(110, 250)
    return red * np.array([1, rng.uniform(0.3, 0.75), rng.uniform(0.05, 0.5)])


def in_disc(picture: Pixels) -> Pixels:
    """Black around the largest circle."""
    away = np.arange(SIDE) - (SIDE - 1) / 2
    inside = np.hypot(away[:, None], away) < 0.47 * SIDE
    return np.asarray(fit(picture) * inside[..., None], np.uint8)


def spots(rng: np.random.Generator) -> Pixels:
    """A disc of one colour with shades and up to four soft spots, brighter or darker, no vessel."""
    at = np.linspace(-1, 1, SIDE)
    shade = 1 + rng.uniform(-0.4, 0.4) * at[:, None] + rng.uniform(-0.4, 0.4) * at
    picture = colour_of_retina(rng) * shade[..., None]
    for _ in range(rng.integers(5)):
        where, size = rng.uniform(-0.7, 0.7, 2), rng.uniform(0.03, 0.25)
        bump = np.exp(-((at[:, None] - where[0]) ** 2 + (at - where[1]) ** 2) / (2 * size**2))
        picture = picture + bump[..., None] * rng.uniform(-80, 150) * np.array([1, 0.9, 0.5])
    picture = picture + rng.normal(0, rng.uniform(0, 4), picture.shape)
    return in_disc(picture.clip(0, 255).astype(np.uint8))


def page(rng: np.random.Generator) -> Pixels:
    """Lines of text on a light page."""
    paper = np.full((SIDE, SIDE, 3), rng.integers(200, 256, 3), np.uint8)
    for line in range(30, SIDE, int(rng.integers(20, 60))):
        text = "".join(chr(c) for c in rng.integers(48, 123, 40))
        cv2.putText(paper, text, (10, line), cv2.FONT_HERSHEY_SIMPLEX, rng.uniform(0.4, 1), (20, 20, 20), 1)
    return paper


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

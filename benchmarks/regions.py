"""Does a region search find lesions? On real photographs with masks, or on phantoms.

    python benchmarks/regions.py [--photographs DIR] [--healthy FILE] [--encoder NAME]
    python benchmarks/regions.py --phantoms 60
    python benchmarks/regions.py --speed 100000

A box is put around a lesion of a photograph (its own bounding box, but at least .08 and at most .25
of the field's diameter), three lesions of each kind a photograph, and the gallery searched for
places like it. The gallery are all other photographs with masks, and healthy ones of the same
camera. Told for each kind: average precision over the gallery, where a case counts that has this
kind of lesion; the share of such cases among the first ten; and how many of the first ten boxes
touch a lesion of this kind, beside the share of all boxes of this size in the same photographs that
do (what chance would hit). Rivals: the whole photograph's descriptor, and a box put anywhere.
95 % intervals over photographs (percentile bootstrap). Markdown.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foveola.encoders.encoder import Encoder
from foveola.encoders.parts import Local
from foveola.encoders.release import DEFAULT, read_release
from foveola.images.decode import decode
from foveola.images.fundus import Contract, FieldOfView, find_field_of_view, prepare
from foveola.notebook import piped
from foveola.phantom import generate, read_masks
from foveola.regions import EACH
from foveola.regions.box import Box, Cells, Field
from foveola.regions.search import best_boxes
from foveola.regions.store import Basis, D, packed

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"
REAL = ("MA", "HE", "EX", "SE", "OD")
DRAWN = ("MA", "HE", "EX", "SE", "NV", "drusen", "disc")
PIXELS = 640  # of a mask over the square around the field of view
SMALLEST, LARGEST = 0.08, 0.25  # of the field's diameter
FIRST = 10
Masks = NDArray[np.bool_]


class Photograph(NamedTuple):
    """One of the gallery: its places, descriptor, masks (kinds, PIXELS, PIXELS) and person."""

    maps: NDArray[np.float32]
    field: Field
    descriptor: NDArray[np.float32]
    masks: Masks
    person: str


class Question(NamedTuple):
    """A box around a lesion, in shares of the square around the field."""

    photograph: int
    kind: int
    box: Box


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--photographs", type=Path, default=DATA / "idrid_lesions")
    parser.add_argument("--healthy", type=Path, default=DATA / "idrid/labels.csv")
    parser.add_argument("--encoder", default=DEFAULT)
    parser.add_argument("--phantoms", type=int, help="people drawn, in place of photographs")
    parser.add_argument("--speed", type=int, help="cases made up, and nothing but time measured")
    arguments = parser.parse_args()
    if arguments.speed:
        print(speed(arguments.speed))
        return
    encoder = Encoder.load(arguments.encoder, threads=1)
    local = Local(read_release(arguments.encoder))
    if arguments.phantoms:
        with tempfile.TemporaryDirectory() as folder:
            gallery = list(phantoms(Path(folder), arguments.phantoms, encoder, local))
        print(table(gallery, DRAWN, local.grid))
    else:
        gallery = list(real(arguments.photographs, arguments.healthy, encoder, local))
        print(table(gallery, REAL, local.grid))


def real(folder: Path, healthy: Path, encoder: Encoder, local: Local) -> Iterator[Photograph]:
    """Photographs with masks, then those without retinopathy, which have no lesions of it."""
    for row in pd.read_csv(folder / "labels.csv").to_dict("records"):
        names = [row.get(f"mask_{kind}") for kind in REAL]
        image = decode(folder / str(row["image"]))
        masks = [cv2.imread(str(folder / name), 0) > 127 if isinstance(name, str) else None for name in names]
        yield photograph(image, masks, encoder, local, str(row["image"]))
    table = pd.read_csv(healthy)
    for row in table[table["grade"] == 0].to_dict("records"):
        image = decode(healthy.parent / str(row["image"]))
        yield photograph(image, [None] * len(REAL), encoder, local, str(row["image"]))


def phantoms(folder: Path, people: int, encoder: Encoder, local: Local) -> Iterator[Photograph]:
    """One photograph of each eye; the two eyes of a person never answer for each other."""
    manifest = generate(folder, subjects=people, visits=1, seed=5, size=512)
    for row in pd.read_csv(manifest).to_dict("records"):
        drawn = read_masks(folder / str(row["masks"]))
        image = decode(folder / str(row["image"]))
        masks = [drawn[kind] for kind in DRAWN]
        yield photograph(image, masks, encoder, local, str(row["subject"]))


def photograph(
    image: NDArray[np.uint8], masks: Sequence[Masks | None], encoder: Encoder, local: Local, person: str
) -> Photograph:
    """As the search sees it, and its masks on the same square."""
    view = find_field_of_view(image)
    cut = [np.zeros((PIXELS, PIXELS), bool) if mask is None else square(mask, view) for mask in masks]
    maps = local.describe(image, None, view).astype(np.float32)
    field = Field.of(view, *image.shape[:2])
    return Photograph(maps, field, encoder.encode_photograph(image), np.stack(cut), person)


def square(mask: Masks, view: FieldOfView) -> Masks:
    """A mask on the square around the field of view."""
    drawn = np.repeat(mask.astype(np.uint8)[..., None] * 255, 3, axis=2)
    return np.asarray(prepare(drawn, Contract(size=PIXELS), view=view)[..., 0] > 40)


def questions(gallery: Sequence[Photograph], each: int = 3) -> list[Question]:
    """Boxes around lesions drawn at random, the same on every run."""
    rng = np.random.default_rng(0)
    asked = []
    for i, one in enumerate(gallery):
        for kind, mask in enumerate(one.masks):
            if not mask.any():
                continue
            count, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
            for chosen in rng.integers(1, count, each):
                asked.append(Question(i, kind, around(*stats[chosen, :4])))
    return asked


def around(x: int, y: int, width: int, height: int) -> Box:
    """A box on a lesion, neither too small nor too large."""
    w, h = (min(max(side / PIXELS, SMALLEST), LARGEST) for side in (width, height))
    left, top = (x + width / 2) / PIXELS - w / 2, (y + height / 2) / PIXELS - h / 2
    return Box(left, top, w, h)


def table(gallery: list[Photograph], kinds: Sequence[str], grid: int) -> str:
    """Every figure, as Markdown."""
    rng = np.random.default_rng(0)
    insides = [one.field.inside(grid) for one in gallery]
    drawn = [
        one.maps[inside][rng.permutation(int(inside.sum()))[:EACH]]
        for one, inside in zip(gallery, insides, strict=True)
    ]
    basis = Basis.learn(np.concatenate(drawn), grid)
    small = [basis.reduced(one.maps, inside) for one, inside in zip(gallery, insides, strict=True)]
    places = packed(np.stack(small))
    descriptors = np.stack([one.descriptor for one in gallery])
    has = np.stack([one.masks.any(axis=(1, 2)) for one in gallery])
    people = np.array([one.person for one in gallery])
    asked = [q for q in questions(gallery) if has[:, q.kind].sum() > 1]
    rivals: dict[str, Callable[[Question], tuple[NDArray[np.float32], NDArray[np.int64]]]] = {
        "region": lambda q: region(q, small, places, cells_of(q.box, grid)),
        "a box anywhere": lambda q: region(q, small, places, anywhere(q, insides, grid, rng)),
        "whole photograph": lambda q: (descriptors @ descriptors[q.photograph], np.zeros((len(gallery), 2), np.int64)),
    }
    rows = [["search", "", *kinds]]
    for name, search in rivals.items():
        found: dict[int, list[tuple[int, float, float, float, float]]] = {}
        for q in asked:
            scores, at = search(q)
            rest = np.flatnonzero(people != people[q.photograph])
            order = rest[np.argsort(-scores[rest], kind="stable")]
            cells = cells_of(q.box, grid)
            shown = order[:FIRST]
            touched = [touches(gallery[i].masks[q.kind], grid, cells, tuple(at[i])) for i in shown]
            chance = [share(gallery[i].masks[q.kind], grid, cells) for i in shown]
            found.setdefault(q.kind, []).append(
                (
                    q.photograph,
                    precision(has[order, q.kind]),
                    float(has[shown, q.kind].mean()),
                    float(np.mean(touched)),
                    float(np.mean(chance)),
                )
            )
        what = ["average precision", "of the first ten, have it", "of the first ten boxes, touch"]
        for column, title in enumerate(what, 1):
            if name == "whole photograph" and column == 3:
                continue
            rows.append([name, title, *(interval(found.get(k), column) for k in range(len(kinds)))])
        if name == "region":
            mean = [interval(found.get(k), 4) for k in range(len(kinds))]
            rows.append([name, "all boxes in the same ten, touch", *mean])
    share_of = [f"{has[:, k].mean():.2f}" for k in range(len(kinds))]
    rows.append(["", "photographs that have it", *share_of])
    return f"{len(asked)} questions, {len(gallery)} photographs\n\n{piped(rows)}"


def cells_of(box: Box, grid: int) -> Cells:
    """Of a box on the square around the field."""
    return Field(0, 0, 1, 1, True).cells(box, grid)


def anywhere(q: Question, insides: Sequence[Masks], grid: int, rng: np.random.Generator) -> Cells:
    """A box of the same size somewhere in the same field."""
    cells = cells_of(q.box, grid)
    rows, columns = np.nonzero(insides[q.photograph])
    i = rng.integers(len(rows))
    x, y = min(columns[i], grid - cells.columns), min(rows[i], grid - cells.rows)
    return Cells(int(x), int(y), cells.columns, cells.rows)


def region(
    q: Question, small: Sequence[NDArray[np.float32]], places: NDArray[np.int8], cells: Cells
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Scores and places of all photographs, as the product computes them."""
    part = small[q.photograph][cells.y : cells.y + cells.rows, cells.x : cells.x + cells.columns]
    mean = part.sum(axis=(0, 1))
    mean /= max(float(np.linalg.norm(mean)), 1e-12)
    return best_boxes(places, np.arange(len(places)), mean, (cells.rows, cells.columns))


def touches(mask: Masks, grid: int, cells: Cells, at: tuple[int, int]) -> bool:
    """Whether a box of so many cells has a pixel of a mask."""
    size = PIXELS / grid
    rows = slice(int(at[0] * size), int((at[0] + cells.rows) * size))
    columns = slice(int(at[1] * size), int((at[1] + cells.columns) * size))
    return bool(mask[rows, columns].any())


def share(mask: Masks, grid: int, cells: Cells) -> float:
    """Of all boxes of so many cells, how many have a pixel of it."""
    size = PIXELS // grid
    by_cell = mask.reshape(grid, size, grid, size).any(axis=(1, 3)).astype(np.uint8)
    kernel = np.ones((cells.rows, cells.columns), np.uint8)
    near = cv2.dilate(by_cell, kernel, anchor=(0, 0), borderValue=0)
    down, across = grid - cells.rows + 1, grid - cells.columns + 1
    return float(near[:down, :across].mean())


def precision(relevant: NDArray[np.bool_]) -> float:
    """Average precision of a ranking."""
    if not relevant.any():
        return float("nan")
    good = np.cumsum(relevant) / np.arange(1, len(relevant) + 1)
    return float(good[relevant].mean())


def interval(rows: list[tuple[int, float, float, float, float]] | None, column: int) -> str:
    """Mean over photographs of their questions' means, with a 95 % interval over photographs."""
    if not rows:
        return "-"
    frame = pd.DataFrame(rows).groupby(0)[column].mean().to_numpy()
    rng = np.random.default_rng(0)
    means = frame[rng.integers(0, len(frame), (1000, len(frame)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{frame.mean():.2f} ({low:.2f} to {high:.2f})"


def speed(cases: int) -> str:
    """Time of a search of so many cases made up, from a file as the product maps it."""
    grid = 20
    rng = np.random.default_rng(0)
    with tempfile.NamedTemporaryFile(dir=Path.cwd()) as file:
        for start in range(0, cases, 1000):
            some = rng.integers(-60, 61, (min(1000, cases - start), grid, grid, D), dtype=np.int8)
            file.write(some.tobytes())
        file.flush()
        places = np.memmap(file.name, np.int8, "r", shape=(cases, grid, grid, D))
        asked = rng.normal(size=D).astype(np.float32)
        asked /= np.linalg.norm(asked)
        seconds = []
        for _ in range(2):
            start_at = time.perf_counter()
            processor = time.process_time()
            best_boxes(places, np.arange(cases), asked, (3, 3))
            seconds.append((time.perf_counter() - start_at, time.process_time() - processor))
    peak = max(
        int(line.split()[1])
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("RssAnon")
    )
    wall, busy = (min(values) for values in zip(*seconds, strict=True))
    return (
        f"{cases:,} cases, {places.nbytes / 1e6:,.0f} MB mapped: first {seconds[0][0]:.2f} s, best "
        f"of {len(seconds)} {wall:.2f} s ({busy:.2f} s of processor time); {peak / 1024:.0f} MB of "
        f"own memory; load {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main()

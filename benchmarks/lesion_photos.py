"""Photographs with masks of lesions, for benchmarks/lesions.py, and what is trivial to see."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foveola.datasets.manifest import Manifest
from foveola.images.decode import decode
from foveola.images.fundus import Contract, find_field_of_view, prepare
from foveola.metrics.pointing import Target, target, upsampled

KINDS = ("MA", "HE", "EX", "SE", "OD")
TOLERANCE = 0.03  # of the field of view's diameter: the pointing game's 15 pixels of some 500

# Correlation of fine detail above which two files are one picture. IDRiD's 44 pairs have .61 to
# .99, all other pairs of its two sets below .41.
SAME_PICTURE = 0.5
_DETAIL = 128  # pixels

SIDE = 260  # pixels of a picture in the figure

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Photo:
    """One photograph with masks.

    Attributes:
        path: of the photograph.
        grade: ICDR, None where unknown.
        crop: (S, S, 3) uint8, the field of view at the photograph's own resolution.
        targets: one for each of KINDS, in the pixels of crop.
    """

    path: Path
    grade: int | None
    crop: NDArray[np.uint8]
    targets: tuple[Target, ...]


def read_photos(folder: Path) -> list[Photo]:
    """The photographs of folder/labels.csv: columns image, grade, and mask_ with each of KINDS."""
    table = pd.read_csv(folder / "labels.csv")
    return [_photo(folder, row) for row in table.to_dict("records")]


def _photo(folder: Path, row: Mapping[str, object]) -> Photo:
    path = folder / str(row["image"])
    image = decode(path)
    view = find_field_of_view(image)
    contract = Contract(size=max(32, round(2 * view.radius)))  # cut, and not resized

    def cut(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return prepare(pixels, contract, view=view)

    field = cut(np.full_like(image, 255))[..., 0] > 0
    names = [row.get(f"mask_{kind}") for kind in KINDS]
    masks = [cut(_mask(folder, name, image.shape))[..., 0] > 0 for name in names]
    pixels = TOLERANCE * contract.size
    grade = None if pd.isna(row["grade"]) else int(float(str(row["grade"])))
    return Photo(path, grade, cut(image), tuple(target(m, field, pixels) for m in masks))


def _mask(folder: Path, name: object, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """As three channels, since it is cut like a photograph; no file means no lesion."""
    if not isinstance(name, str):
        return np.zeros(shape, np.uint8)
    mask = cv2.imread(str(folder / name), cv2.IMREAD_GRAYSCALE)
    if mask is None or mask.shape != shape[:2]:
        raise SystemExit(f"{name} is no mask of {shape[1]} x {shape[0]} pixels")
    return np.repeat((mask > 127).astype(np.uint8)[..., None] * 255, 3, axis=2)


@cache
def prepared(path: Path, contract: Contract) -> NDArray[np.uint8]:
    """What a model sees."""
    return prepare(decode(path), contract)


@cache
def detail(path: Path) -> NDArray[np.float32]:
    """Unit vector of fine detail in the middle of the field: vessels and lesions, not shading."""
    grey = prepare(decode(path), Contract(size=_DETAIL)).mean(axis=2, dtype=np.float32)
    fine = grey - cv2.GaussianBlur(grey, (0, 0), 2)
    middle = fine[_DETAIL // 4 : -_DETAIL // 4, _DETAIL // 8 : -_DETAIL // 8].ravel()
    return np.asarray(middle / max(float(np.linalg.norm(middle)), 1e-6), np.float32)


def same_pictures(photos: Sequence[Photo], others: Iterable[Path]) -> NDArray[np.bool_]:
    """(photos, others): which files show one picture, whatever they are called."""
    own = np.stack([detail(photo.path) for photo in photos])
    return np.stack([own @ detail(path) > SAME_PICTURE for path in others], axis=1)


def trained_on(photos: Sequence[Photo], manifests: Sequence[Path], run: Path) -> list[bool]:
    """Which of the photographs a run saw: as pictures of its manifests that it did not hold out.

    Photographs that only chose its epoch count as seen.
    """
    held = {
        Path(case.path).resolve()
        for path in sorted((run / "held_out").glob("*.csv"))
        for case in Manifest.read(path).cases()
    }
    every = [Path(case.path).resolve() for path in manifests for case in Manifest.read(path).cases()]
    seen = [path for path in every if path not in held]
    return [bool(row.any()) for row in same_pictures(photos, seen)] if seen else [False] * len(photos)


def baselines(photo: Photo, grid: tuple[int, int]) -> dict[str, Floats]:
    """Maps that need no model: brightness, darkness and local contrast by grid cell, the centre.

    A cell's mean and standard deviation are over its pixels in the field of view.
    """
    field = photo.targets[0].field
    grey = photo.crop.mean(axis=2)
    size = grid[::-1]

    def mean(values: Floats) -> Floats:
        inside = cv2.resize(field.astype(np.float64), size, interpolation=cv2.INTER_AREA)
        summed = cv2.resize(values * field, size, interpolation=cv2.INTER_AREA)
        return np.asarray(summed / np.maximum(inside, 1e-9))

    bright = mean(grey)
    spread = np.sqrt(np.maximum(mean(grey**2) - bright**2, 0))
    axes = (np.linspace(-1, 1, n)[:, None] for n in grey.shape)
    y, x = axes
    return {
        "brightness": bright,
        "darkness": 255 - bright,
        "local contrast": spread,
        "brightness, every pixel": grey,
        "darkness, every pixel": 255 - grey,
        "centre": np.maximum(1 - np.hypot(y, x.T), 0),
    }


def figure(path: Path, photos: Sequence[Photo], maps: Mapping[str, Sequence[Floats]]) -> None:
    """A column for each of five photographs: itself, its lesions, then the titled maps."""
    rates = [sum(t.lesion.mean() for t in photo.targets[:4]) for photo in photos]
    chosen = np.argsort(rates)[:: -max(1, len(photos) // 5)][:5]
    rows = [("photograph", [photos[i].crop for i in chosen])]
    rows.append(("lesions (yellow), disc (blue)", [outlined(photos[i]) for i in chosen]))
    for title, heats in maps.items():
        rows.append((title, [coloured(heats[i], photos[i]) for i in chosen]))
    strips = [np.hstack([_text(t), *(_small(p) for p in ps)]) for t, ps in rows]
    if not cv2.imwrite(str(path), np.vstack(strips)[..., ::-1]):
        raise SystemExit(f"{path} can't be written")


def outlined(photo: Photo) -> NDArray[np.uint8]:
    image = photo.crop // 2
    for at, colour in zip(photo.targets, [(255, 230, 0)] * 4 + [(80, 170, 255)], strict=True):
        image[at.lesion] = colour
    return np.asarray(image, np.uint8)


def coloured(heat: Floats, photo: Photo) -> NDArray[np.uint8]:
    """Dark to bright from the 2nd to the 98th percentile of the map in the field of view."""
    inside = photo.targets[0].field
    full = upsampled(heat, inside.shape)
    low, high = np.percentile(full[inside], [2, 98])
    scaled = np.clip((full - low) / max(high - low, 1e-12), 0, 1)
    colour = cv2.applyColorMap((scaled * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    return np.asarray((0.4 * photo.crop + 0.6 * colour) * inside[..., None], np.uint8)


def _text(text: str) -> NDArray[np.uint8]:
    cell = np.full((SIDE, 240, 3), 255, np.uint8)
    for i, line in enumerate(text.split("\n")):
        cv2.putText(
            cell, line, (8, SIDE // 2 - 18 + 22 * i), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (40, 40, 40), 1, cv2.LINE_AA
        )
    return cell


def _small(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)

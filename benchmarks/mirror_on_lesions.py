"""Where mirror attention looks on phantoms, whose lesions are known to the pixel.

    python benchmarks/mirror_on_lesions.py docs/images/mirror_attention.jpg [--aggregate row]

Trains a small model with mirror attention to tell grades of phantoms apart, then asks on other
subjects how much attention positions with a lesion receive beside positions without one. The
rival is an untrained block on the same trained backbone: the backbone alone already answers to
lesions, and the block must not be credited for that. Prints both ratios; writes a figure.
"""

import argparse
import copy
import tempfile
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, interpolate

from foveola.datasets.manifest import Manifest
from foveola.images.decode import decode
from foveola.images.fundus import Contract, find_field_of_view, prepare
from foveola.losses import fine_triplet_loss
from foveola.models.attention import MirrorAttention
from foveola.models.descriptor import DescriptorModel, normalise
from foveola.phantom import generate, read_masks

LESIONS = ("MA", "HE", "EX", "SE", "NV")
CONTRACT = Contract(size=160)


class Set(NamedTuple):
    """Prepared phantoms."""

    pixels: Tensor  # (B, S, S, 3) uint8
    grades: Tensor  # (B,) int64
    lesions: Tensor  # (B, S, S) bool


def drawn(folder: Path, subjects: int, seed: int) -> Set:
    """Phantoms with lesions in the coordinates of the prepared image."""
    manifest = generate(folder, subjects=subjects, visits=1, seed=seed, size=320)
    pixels, grades, lesions = [], [], []
    for case in Manifest.read(manifest).cases():
        image = decode(Path(case.path))
        view = find_field_of_view(image)
        masks = read_masks(manifest.parent / str(case.extra["masks"]))
        sick = np.any([masks[kind] for kind in LESIONS], axis=0).astype(np.uint8) * 255
        pixels.append(prepare(image, CONTRACT, view=view))
        lesions.append(prepare(np.repeat(sick[..., None], 3, 2), CONTRACT, view=view)[..., 0] > 0)
        grades.append(case.grade)
    return Set(torch.from_numpy(np.stack(pixels)), torch.tensor(grades), torch.from_numpy(np.stack(lesions)))


def model(aggregate: str, seed: int = 0) -> DescriptorModel:
    torch.manual_seed(seed)
    block = MirrorAttention(1280, aggregate=aggregate)
    return DescriptorModel("mobilenetv2_050", 64, attention=block, views="feature", grades=5, output_stride=16)


def network_input(pixels: Tensor) -> Tensor:
    return normalise(pixels, torch.tensor(CONTRACT.mean), torch.tensor(CONTRACT.std))


def trained(data: Set, steps: int, aggregate: str, seed: int = 0, batch: int = 20) -> DescriptorModel:
    """Fine triplet loss with the grade head beside it, on batches that hold all grades alike."""
    made = model(aggregate, seed).train()
    optimizer = torch.optim.AdamW(made.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    rng = np.random.default_rng(seed)
    by_grade = [np.flatnonzero(data.grades.numpy() == grade) for grade in range(5)]
    for _ in range(steps):
        rows = np.concatenate([rng.choice(of, batch // 5) for of in by_grade if len(of)])
        x = network_input(data.pixels[rows])
        x = x.flip([axis for axis in (-1, -2) if rng.random() < 0.5])
        described = made(x)
        loss = cross_entropy(described.grades, data.grades[rows])
        loss = loss + fine_triplet_loss(described.descriptor, data.grades[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return made.eval()


@torch.no_grad()
def received(made: DescriptorModel, data: Set) -> Tensor:
    """(B, h, w) attention that positions receive, mean of both mirrors; 1 on average."""
    block = made.attention
    assert isinstance(block, MirrorAttention)
    parts = [torch.stack(block.received(*made.maps(network_input(part)))).mean(0) for part in data.pixels.split(16)]
    return torch.cat(parts)


def ratio(attention: Tensor, data: Set) -> float:
    """Mean over images of attention at positions with a lesion over that at those without.

    Positions outside the field of view are left out, and images without a lesion.
    """
    size = attention.shape[1:]
    inside = _share(data.pixels.amax(3) > 25, size) > 0.9
    sick = _share(data.lesions, size) > 0
    ratios = [
        float(a[i & s].mean() / a[i & ~s].mean())
        for a, i, s in zip(attention, inside, sick, strict=True)
        if (i & s).any() and (i & ~s).any()
    ]
    return float(np.mean(ratios))


def _share(mask: Tensor, size: torch.Size) -> Tensor:
    return interpolate(mask[:, None].float(), size=tuple(size), mode="area")[:, 0]


def untrained_block(made: DescriptorModel, seed: int) -> DescriptorModel:
    """The same backbone with a new block."""
    other = copy.deepcopy(made)
    torch.manual_seed(seed)
    other.attention = MirrorAttention(made.channels, aggregate=made.attention.aggregate).eval()
    return other


def figure(path: Path, data: Set, before: Tensor, after: Tensor) -> None:
    """Rows of phantom, lesions, attention of the untrained and of the trained block."""
    columns = [
        np.vstack([data.pixels[i].numpy(), _outlined(data, i), _heat(data, before, i), _heat(data, after, i)])
        for i in np.argsort(-data.lesions.sum((1, 2)).numpy())[[2, 8, 14, 20, 26]]
    ]
    sheet = cv2.resize(np.hstack(columns), None, fx=1.5, fy=1.5, interpolation=cv2.INTER_CUBIC)
    labels = ("phantom", "its lesions", "untrained block", "trained block")
    bar = np.full((sheet.shape[0], 150, 3), 255, np.uint8)
    for row, text in enumerate(labels):
        y = int((row + 0.5) * sheet.shape[0] / len(labels))
        cv2.putText(bar, text, (6, y), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (40, 40, 40), 1, cv2.LINE_AA)
    cv2.imwrite(str(path), np.hstack([bar, sheet])[..., ::-1])


def _outlined(data: Set, i: int) -> np.ndarray:
    image = data.pixels[i].numpy() // 2
    image[data.lesions[i].numpy()] = (255, 230, 0)
    return image


def _heat(data: Set, attention: Tensor, i: int) -> np.ndarray:
    heat = cv2.resize(attention[i].numpy(), (CONTRACT.size,) * 2, interpolation=cv2.INTER_CUBIC)
    scaled = np.clip(heat / 3, 0, 1)  # 3 times the average is full colour, in every picture
    colour = cv2.applyColorMap((scaled * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    mixed = 0.35 * data.pixels[i].numpy() + 0.65 * colour
    return (mixed * (data.pixels[i].numpy().max(2, keepdims=True) > 25)).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--subjects", type=int, default=120)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--aggregate", choices=("column", "row"), default="column")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        learnt = drawn(Path(folder) / "train", options.subjects, seed=1)
        other = drawn(Path(folder) / "test", 40, seed=2)
    made = trained(learnt, options.steps, options.aggregate)
    with torch.no_grad():
        guessed = made(network_input(other.pixels)).grades.argmax(1)
    print(f"grades right on other subjects: {(guessed == other.grades).float().mean():.2f}")
    after = received(made, other)
    fresh = [received(untrained_block(made, seed), other) for seed in range(5)]
    print("attention at lesions / elsewhere in the field of view, images of other subjects:")
    print(f"  trained block {ratio(after, other):.2f}")
    print(f"  untrained block {', '.join(f'{ratio(each, other):.2f}' for each in fresh)}")
    print(f"  untrained model {ratio(received(model(options.aggregate).eval(), other), other):.2f}")
    figure(options.out, other, fresh[0], after)


if __name__ == "__main__":
    main()

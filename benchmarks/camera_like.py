"""What a photograph says of its camera and nothing of its disease: eight numbers.

Public sets come from many cameras, and some clinics see more disease than others, so a network
that only knows the camera already finds "similar" cases. `features` are what tells cameras
apart at a glance; as descriptors they show how far that alone gets, and clustered they make
camera-like groups.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from foveola.images.decode import decode
from foveola.images.fundus import find_field_of_view
from foveola.records import Case


def features(cases: Sequence[Case]) -> np.ndarray:
    """(N, 8) float32, each column with mean 0 and standard deviation 1."""
    with ThreadPoolExecutor() as pool:
        rows = np.array(list(pool.map(_features, cases)), np.float32)
    spread = rows.std(axis=0)
    return (rows - rows.mean(axis=0)) / np.where(spread > 0, spread, 1)


def _features(case: Case) -> list[float]:
    """Frame and field: round, radius, place, aspect; then light: two colour ratios, surround."""
    image = decode(Path(case.path), min_side=224)
    height, width = image.shape[:2]
    view = find_field_of_view(image)
    small = cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA).astype(float)
    red, green, blue = (np.median(small[16:48, 16:48, i]) + 1 for i in range(3))
    return [
        float(view.round),
        2 * view.radius / max(height, width),
        view.y / height - 0.5,
        view.x / width - 0.5,
        np.log(width / height),
        np.log(red / green),
        np.log(green / blue),
        float(np.mean([small[y, x].mean() for y in (1, 62) for x in (1, 62)])),
    ]


def groups(rows: np.ndarray, count: int = 5, seed: int = 0) -> np.ndarray:
    """(N,) number of each photograph's camera-like group, the largest first; k-means."""
    cv2.setRNGSeed(seed)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 100, 1e-4)
    _, found, _ = cv2.kmeans(rows.astype(np.float32), count, None, stop, 20, cv2.KMEANS_PP_CENTERS)
    sizes = np.bincount(found[:, 0], minlength=count)
    return np.argsort(np.argsort(-sizes, kind="stable"))[found[:, 0]]

"""Validation by what the encoder is for: retrieval among subjects it does not train on."""

from collections.abc import Hashable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from foveola.metrics import RetrievalData, evaluate_retrieval
from foveola.training.augment import centre

Pixels = NDArray[np.uint8]
K = 10


class PlainImages(Dataset[tuple[Tensor, int]]):
    """Images as they are judged, without augmentation, with their row.

    Args:
        images: (N, S, S, 3) uint8.
        rows: which of them.
        size: pixels of each side of what comes out.
    """

    def __init__(self, images: Pixels, rows: NDArray[np.int64], size: int) -> None:
        self.images, self.rows, self.size = images, rows, size

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """-> (size, size, 3) uint8 and its number in `rows`."""
        image = centre(np.asarray(self.images[self.rows[index]]), self.size)
        return torch.from_numpy(image.copy()), index


def retrieval_map(
    descriptors: NDArray[np.float32],
    targets: NDArray[np.int64] | NDArray[np.bool_],
    subjects: Sequence[Hashable],
    *,
    by_identity: bool,
) -> float:
    """Mean average precision of each image asked against the others.

    For diseases macro mAP@10 (AP divided by 10) without the query's own subject; for identities
    micro mAP@R, the subject being what is looked for.

    Args:
        descriptors: (N, D).
        targets: (N,) codes with -1 for unlabelled, or (N, L) sets.
        subjects: N hashables.
        by_identity: whether the targets are subjects or eyes.

    Returns:
        0 to 1.
    """
    side = RetrievalData(descriptors, targets, subjects, _names(targets))
    done = evaluate_retrieval(side, ks=(K,), exclude="none" if by_identity else "subject", bootstrap=0)
    value = done.metrics["mAP@R" if by_identity else f"mAP@{K}"].value
    return value.micro if by_identity else value.macro


def _names(targets: NDArray[np.int64] | NDArray[np.bool_]) -> tuple[str, ...]:
    count = targets.shape[1] if targets.ndim == 2 else int(targets.max(initial=-1)) + 1
    return tuple(str(i) for i in range(count))

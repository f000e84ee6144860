"""What can be done with descriptors that are there: rows of the comparison without training.

Each takes the descriptors (N, D) of a fold's photographs, says nothing it has not learnt from
the photographs that were trained on, and returns others.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from foveola.models.labels import LabelPart, fit_classifier
from foveola.records import Case

SHARE = 0.8  # of the label part, as in the shipped encoder


class Fold(NamedTuple):
    """The photographs of a fold."""

    cases: list[Case]
    held: np.ndarray  # (N,) bool
    group: np.ndarray  # (N,) camera-like group within the data set


Made = Callable[[np.ndarray, Fold], np.ndarray]


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-12)


def whitened(rows: np.ndarray, fold: Fold, keep: int = 256) -> np.ndarray:
    """Principal components of the trained part, each divided by its spread."""
    trained = rows[~fold.held]
    mean = trained.mean(axis=0)
    _, spread, axes = np.linalg.svd(trained - mean, full_matrices=False)
    kept = axes[:keep] / spread[:keep, None]
    return unit((rows - mean) @ kept.T)


def expanded(rows: np.ndarray, fold: Fold, count: int = 5) -> np.ndarray:
    """Queries moved to the mean of themselves and their nearest of the same data set."""
    made = unit(rows)
    collections = np.array([case.collection for case in fold.cases])
    moved = made.copy()
    for name in np.unique(collections):
        asked = np.flatnonzero(fold.held & (collections == name))
        gallery = made[~fold.held & (collections == name)]
        nearest = np.argsort(-(made[asked] @ gallery.T), axis=1, kind="stable")[:, :count]
        moved[asked] = unit(made[asked] + gallery[nearest].sum(axis=1))
    return moved


def labelled(rows: np.ndarray, fold: Fold) -> np.ndarray:
    """With the label part of foveola.models.labels, of the grades."""
    grades = np.array([case.grade for case in fold.cases])
    trained = torch.from_numpy(np.flatnonzero(~fold.held))
    x, y = torch.from_numpy(unit(rows).astype(np.float32)), torch.from_numpy(grades)
    part = LabelPart(x.shape[1], [str(g) for g in np.unique(grades)], SHARE)
    fit_classifier(part.classifier, x[trained], y[trained])
    with torch.no_grad():
        made: np.ndarray = part(x, x).numpy()
    return made


DERIVED: Sequence[tuple[str, str, str, Made]] = (
    ("frozen-whitened", "frozen", "whitened", whitened),
    ("classifier-expanded", "classifier", "query expansion", expanded),
    ("frozen-labels", "frozen", "label part", labelled),
    ("classifier-labels", "classifier", "label part", labelled),
    ("classifier-320-labels", "classifier-320", "label part", labelled),
    ("triplet-labels", "triplet", "label part", labelled),
    ("contrastive-labels", "contrastive", "label part", labelled),
    ("mirror-fine-labels", "mirror-fine", "label part", labelled),
)

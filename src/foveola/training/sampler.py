"""P x K batches in which a group is one label and never twice the same subject if avoidable.

Two photographs of one person look alike for reasons that have nothing to do with disease; as
positives they would teach identity, and a model would look better than it is.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from foveola.training.ranks import share


class SubjectSampler(Sampler[list[int]]):
    """Batches of P groups; each has K images of one label from K different subjects.

    Of several processes each is given its part of the batch, see `ranks`.

    Labels are drawn with probability count ** power, with replacement, so a frequent one may
    fill more than one group; but where the labels are subjects or eyes (`distinct`), each once
    in a batch. A label of fewer than K subjects repeats subjects, and images only when all of
    a subject's are taken.

    Args:
        labels: (N,) int, -1 for images that are not to be drawn.
        subjects: (N,) any hashable; equal for images of one person.
        groups: P.
        images_per_group: K.
        batches: number of batches in an epoch.
        power: 1 draws labels as often as they occur, 0 all alike.
        distinct: no label twice in a batch, as far as there are P of them.
        both_eyes: draw subjects instead, all alike, and all labels of each.
        seed: of the first epoch; `set_epoch` moves on from there.
    """

    def __init__(
        self,
        labels: Sequence[int] | NDArray[np.int64],
        subjects: Sequence[object],
        *,
        groups: int,
        images_per_group: int,
        batches: int,
        power: float = 0.5,
        distinct: bool = False,
        both_eyes: bool = False,
        seed: int = 0,
    ) -> None:
        self.groups, self.images_per_group, self.batches = groups, images_per_group, batches
        self.seed, self.epoch = seed, 0
        self._images = _by_label_and_subject(labels, subjects)
        if len(self._images) < 2:
            raise ValueError(f"expected images of at least 2 labels, got {len(self._images)}")
        self._labels = sorted(self._images)
        counts = [sum(map(len, self._images[label].values())) for label in self._labels]
        weights = np.array(counts, float) ** power
        self._chance = weights / weights.sum()
        self._distinct = distinct and len(self._labels) >= groups
        self._fellows = _by_first_subject(self._images, self._labels) if both_eyes else []

    def set_epoch(self, epoch: int) -> None:
        """Draw other batches in each epoch, and the same ones again when a run is resumed."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        for _ in range(self.batches):
            yield share(self._batch(rng))

    def _batch(self, rng: np.random.Generator) -> list[int]:
        chosen = self._choose(rng)
        while len(set(chosen)) < 2:  # a batch of one label has no triplet
            chosen = self._choose(rng)
        labels, times = np.unique(chosen, return_counts=True)
        batch: list[int] = []
        for label, n in zip(labels, times, strict=True):
            batch += self._draw(self._labels[label], int(n) * self.images_per_group, rng)
        return batch

    def _choose(self, rng: np.random.Generator) -> NDArray[np.int64]:
        if self._fellows:
            order = rng.permutation(len(self._fellows))
            chosen = [label for person in order for label in self._fellows[person]]
            return np.array(chosen[: self.groups])
        many = len(self._labels)
        return rng.choice(many, self.groups, replace=not self._distinct, p=self._chance)

    def _draw(self, label: int, count: int, rng: np.random.Generator) -> list[int]:
        """Count images of a label, passing through its subjects before any comes again."""
        people = list(self._images[label].values())
        left: list[list[int]] = [[] for _ in people]  # images of each not drawn yet
        order: list[int] = []
        while len(order) < count:
            order += rng.permutation(len(people)).tolist()
        drawn = []
        for person in order[:count]:
            if not left[person]:
                left[person] = rng.permutation(people[person]).tolist()
            drawn.append(left[person].pop())
        return drawn


def _by_first_subject(images: dict[int, dict[object, list[int]]], labels: Sequence[int]) -> list[list[int]]:
    """Places of the labels of each subject, where a label is of one subject only."""
    found: dict[object, list[int]] = {}
    for place, label in enumerate(labels):
        found.setdefault(next(iter(images[label])), []).append(place)
    return list(found.values())


def _by_label_and_subject(
    labels: Sequence[int] | NDArray[np.int64], subjects: Sequence[object]
) -> dict[int, dict[object, list[int]]]:
    images: dict[int, dict[object, list[int]]] = {}
    for index, (label, subject) in enumerate(zip(labels, subjects, strict=True)):
        if label >= 0:
            images.setdefault(int(label), {}).setdefault(subject, []).append(index)
    return images

"""Batches of P groups of K, by label and subject."""

from collections import Counter

import numpy as np
import pytest

from foveola.training.sampler import SubjectSampler

# 40 subjects with two images each of label 0, 6 of label 1, 3 of label 2, and two unlabelled
LABELS = [0] * 80 + [1] * 12 + [2] * 6 + [-1] * 2
SUBJECTS = [n // 2 for n in range(100)]


def sampler(**changes):
    settings = {"groups": 4, "images_per_group": 3, "batches": 50, "power": 0.5, "seed": 1}
    return SubjectSampler(LABELS, SUBJECTS, **{**settings, **changes})


def test_a_batch_is_groups_of_one_label_from_different_subjects():
    for batch in sampler():
        assert len(batch) == 12
        labels = Counter(LABELS[i] for i in batch)
        assert len(labels) >= 2
        assert all(count % 3 == 0 for count in labels.values())
        for label, count in labels.items():
            subjects = {SUBJECTS[i] for i in batch if LABELS[i] == label}
            available = len({s for s, other in zip(SUBJECTS, LABELS, strict=True) if other == label})
            assert len(subjects) == min(count, available)


def test_unlabelled_images_are_never_drawn():
    assert not {98, 99} & {i for batch in sampler(batches=300) for i in batch}


def test_power_decides_how_often_a_rare_label_comes():
    def share(power):
        drawn = Counter(LABELS[i] for batch in sampler(power=power, batches=2000) for i in batch)
        return drawn[2] / sum(drawn.values())

    assert share(0) == pytest.approx(1 / 3, abs=0.02)
    # as found 6/98 = .061; a batch of label 0 alone is drawn again, which lifts it a little
    assert 0.06 < share(1) < 0.12


def test_epochs_differ_and_can_be_repeated():
    one, other = sampler(), sampler()
    first = list(one)
    one.set_epoch(1)
    assert list(one) != first
    other.set_epoch(1)
    assert list(one) == list(other)
    assert len(one) == 50


def test_one_label_is_refused():
    with pytest.raises(ValueError, match="at least 2 labels, got 1"):
        SubjectSampler([0, 0, -1], [1, 2, 3], groups=2, images_per_group=2, batches=1)


def test_groups_of_one_image_draw_image_by_image():
    drawn = [i for batch in sampler(groups=30, images_per_group=1, power=1.0) for i in batch]
    labels, counts = np.unique(np.array(LABELS)[drawn], return_counts=True)
    wanted = np.array([LABELS.count(label) for label in labels])
    assert counts / counts.sum() == pytest.approx(wanted / wanted.sum(), abs=0.05)


def test_every_image_of_a_label_is_reached():
    drawn = {i for batch in sampler(batches=600) for i in batch}
    assert drawn == set(np.flatnonzero(np.array(LABELS) >= 0).tolist())


def test_a_subjects_images_are_all_taken_before_one_comes_again():
    labels = np.repeat(np.arange(6), 3)  # six subjects of three images, as labels
    drawn = SubjectSampler(labels, labels, groups=3, images_per_group=3, batches=40, distinct=True, seed=2)
    for batch in drawn:
        assert len(set(batch)) == 9  # three subjects, each with its three different images
        assert len({labels[i] for i in batch}) == 3


def test_distinct_labels_are_a_wish_where_there_are_too_few():
    labels = np.repeat(np.arange(2), 4)
    drawn = SubjectSampler(labels, np.arange(8), groups=3, images_per_group=2, batches=5, distinct=True)
    assert all(len(batch) == 6 for batch in drawn)


def test_fellow_eyes_come_together_each_eye_once():
    # 12 subjects: 8 with two eyes of one image, 4 with one eye
    eyes = np.arange(20)
    subjects = [*np.repeat(np.arange(8), 2), 8, 9, 10, 11]
    drawn = SubjectSampler(eyes, subjects, groups=6, images_per_group=2, batches=60, distinct=True, both_eyes=True)
    together = 0
    for batch in drawn:
        assert len(batch) == 12
        assert sorted(set(np.unique(batch, return_counts=True)[1])) == [2]  # K of each eye
        people = [subjects[i] for i in set(batch)]
        together += sum(people.count(p) == 2 for p in set(people))
    assert together > 60  # more than one pair of fellow eyes in a batch
    assert {i for batch in drawn for i in batch} == set(range(20))

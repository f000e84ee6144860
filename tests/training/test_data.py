"""Labels, the cache of prepared images, augmentation."""

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from foveola.errors import ImageError
from foveola.images.fundus import Contract
from foveola.records import Case
from foveola.training.augment import augment
from foveola.training.data import LEAST_IMAGES, PackedImages, SubjectSampler, finding_labels, pack, training_labels


def case(n, **values):
    return Case(image=f"{n}.png", path=f"/nowhere/{n}.png", **values)


def test_the_label_is_the_grade_or_else_the_rarest_finding():
    many = [case(n, findings=frozenset("O")) for n in range(3 * LEAST_IMAGES)]
    rare = [case(n, findings=frozenset("GO")) for n in range(LEAST_IMAGES)]
    graded = [case(n, grade=2, findings=frozenset("DG")) for n in range(LEAST_IMAGES)]
    odd = [case(1), case(2, findings=frozenset({"quality:good"})), case(3, findings=frozenset())]
    labels, names, _ = training_labels([*many, *rare, *graded, *odd])
    assert names == ("G", "O", "grade 2")
    expected = [1] * len(many) + [0] * len(rare) + [2] * len(graded) + [-1] * 3
    assert labels.tolist() == expected


def test_a_label_of_too_few_images_is_not_trained_on():
    few = [case(n, grade=4) for n in range(LEAST_IMAGES - 1)]
    enough = [case(n, grade=0) for n in range(LEAST_IMAGES)]
    labels, names, _ = training_labels([*few, *enough])
    assert names == ("grade 0",)
    assert labels.tolist() == [-1] * len(few) + [0] * len(enough)


@pytest.fixture
def photographs(tmp_path):
    rng = np.random.default_rng(0)
    cases = []
    for n in range(5):
        path = tmp_path / f"{n}.png"
        cv2.imwrite(str(path), rng.integers(0, 256, (80, 90, 3), dtype=np.uint8))
        cases.append(Case(image=path.name, path=str(path)))
    return cases


def test_packing_leaves_out_what_cannot_be_read_and_says_so(photographs, tmp_path):
    Path(photographs[2].path).write_bytes(b"not a photograph")
    images, rows, faults = pack(photographs, Contract(size=64), tmp_path / "cache")
    assert rows == [0, 1, 3, 4]
    assert images.shape[0] >= 4
    assert len(faults) == 1
    again, rows_again, faults_again = pack(photographs, Contract(size=64), tmp_path / "cache")
    assert rows_again == rows
    assert len(faults_again) == 1
    assert (again == images).all()


def test_the_cache_notices_another_contract_and_another_file(photographs, tmp_path):
    first, _, _ = pack(photographs, Contract(size=64), tmp_path / "cache")
    other, _, _ = pack(photographs, Contract(size=72), tmp_path / "cache")
    assert other.shape[1] == 72
    cv2.imwrite(photographs[0].path, np.full((80, 90, 3), 9, np.uint8))
    changed, _, _ = pack(photographs, Contract(size=64), tmp_path / "cache")
    assert (changed[0] != first[0]).any()
    assert (changed[1:] == first[1:]).all()


def test_the_cache_notices_that_photographs_are_decoded_smaller(tmp_path, monkeypatch):
    path = tmp_path / "grain.jpg"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8))
    asked = [Case(image="grain.jpg", path=str(path))], Contract(size=64), tmp_path / "cache"
    first, _, _ = pack(*asked)
    monkeypatch.setattr(Contract, "min_side", property(lambda contract: contract.size))
    assert (pack(*asked)[0] != first).any()


def test_nothing_readable_is_an_error(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(b"no")
    with pytest.raises(ImageError, match="none of the 1 photographs"):
        pack([Case(image="x.png", path=str(path))], Contract(size=64), tmp_path / "cache")


def test_augmenting_keeps_size_and_black_surround_and_depends_on_the_seed_only():
    image = np.zeros((72, 72, 3), np.uint8)
    cv2.circle(image, (36, 36), 20, (180, 90, 40), -1)
    one = augment(image, 64, np.random.default_rng(3))
    assert one.shape == (64, 64, 3)
    assert one.dtype == np.uint8
    assert (one == augment(image, 64, np.random.default_rng(3))).all()
    assert (one != augment(image, 64, np.random.default_rng(4))).any()
    for seed in range(50):
        corner = augment(image, 64, np.random.default_rng(seed))[:3, :3]
        assert corner.max() <= 12  # compression may ring a little; nothing else may light it


@pytest.mark.parametrize("kind", ["fundus", "steady"])
def test_augmented_lesions_survive(kind):
    # a bright spot of 3 px on a mid-grey disc must stay the brightest place, or it is erased
    image = np.full((72, 72, 3), 90, np.uint8)
    image[35:38, 35:38] = 255
    for seed in range(60):
        out = augment(image, 64, np.random.default_rng(seed), kind).astype(int).sum(axis=2)
        row, column = np.unravel_index(out.argmax(), out.shape)
        assert out.max() > 1.15 * np.median(out), seed
        assert abs(row - 32) < 12 or abs(column - 32) < 12, seed


def test_packed_images_give_pixels_and_label():
    images = np.full((2, 36, 36, 3), 50, np.uint8)
    dataset = PackedImages(images, np.array([4, 7]), np.array([-1, 2]), 32)
    pixels, label, grade = dataset[1]
    assert tuple(pixels.shape) == (32, 32, 3)
    assert (label, grade) == (7, 2)
    assert len(dataset) == 2


def test_subjects_and_eyes_are_labels_where_they_are_known_and_come_twice():
    eyes = [("A", "left"), ("A", "left"), ("A", "right"), ("B", "left"), ("B", None), (None, "left")]
    cases = [case(n, subject=s, eye=e) for n, (s, e) in enumerate(eyes)]
    assert training_labels(cases, "subject").codes.tolist() == [0, 0, 0, 1, 1, -1]
    assert training_labels(cases, "eye").codes.tolist() == [0, 0, -1, -1, -1, -1]
    assert training_labels(cases, "eye", single=True).codes.tolist() == [0, 0, 1, 2, -1, -1]
    assert training_labels(cases, "subject").names == ("0", "1")  # no pseudonym in a log


def test_equal_pseudonyms_of_two_collections_are_two_subjects():
    cases = [case(n, subject="1", collection=c) for n, c in enumerate("aabb")]
    assert training_labels(cases, "subject").codes.tolist() == [0, 0, 1, 1]


def test_sets_of_findings_are_targets_and_the_rarest_draws_the_batches():
    both = [case(n, findings=frozenset("GO")) for n in range(LEAST_IMAGES)]
    one = [case(n, findings=frozenset("O")) for n in range(LEAST_IMAGES)]
    codes, names, targets = training_labels([*both, *one, case(0, grade=2)], "findings")
    assert names == ("G", "O")
    assert codes.tolist() == [0] * len(both) + [1] * len(one) + [-1]
    assert targets.tolist() == [[True, True]] * len(both) + [[False, True]] * len(one) + [[False] * 2]


def test_a_finding_that_a_data_set_never_names_is_unknown_there():
    first = [case(n, collection="a", findings=frozenset("GO")) for n in range(LEAST_IMAGES)]
    first += [case(90, collection="a", findings=frozenset())]
    second = [case(n, collection="b", findings=frozenset({"O", "X"})) for n in range(2)]
    nobody = [case(91, collection="a"), case(92, collection="c", findings=frozenset())]
    cases = [*first, *second, *nobody]
    table, names = finding_labels(cases, np.ones(len(cases), bool))
    assert names == ("G", "O")  # X is too rare
    expected = [[1, 1]] * LEAST_IMAGES + [[0, 0]] + [[-1, 1]] * 2 + [[-1, -1]] * 2
    assert table.tolist() == expected


def test_findings_are_counted_among_what_is_trained_on():
    cases = [case(n, findings=frozenset("G")) for n in range(LEAST_IMAGES)]
    trained = np.arange(len(cases)) > 0
    assert finding_labels(cases, trained)[1] == ()
    assert finding_labels(cases, trained | True)[1] == ("G",)


def test_packed_images_carry_findings_behind_the_grade():
    images = np.full((2, 36, 36, 3), 50, np.uint8)
    dataset = PackedImages(images, np.array([4, 7]), np.array([[-1, 0, 1], [2, 1, -1]]), 32)
    assert dataset[1][2].tolist() == [2, 1, -1]


def test_grades_alone_leave_the_ungraded_out():
    graded = [case(n, grade=2, findings=frozenset("D")) for n in range(LEAST_IMAGES)]
    other = [case(n, findings=frozenset("G")) for n in range(LEAST_IMAGES)]
    assert training_labels([*graded, *other], "grade").codes.max() == 0
    assert training_labels([*graded, *other], "disease").codes.max() == 1


def test_mild_augmentation_keeps_sides_and_none_only_scales():
    image = np.zeros((72, 72, 3), np.uint8)
    image[:, :30] = 200  # light on the left
    for seed in range(30):
        mild = augment(image, 64, np.random.default_rng(seed), "mild")
        assert mild.shape == (64, 64, 3)
        assert mild[20:44, 12:18].mean() > mild[20:44, 46:52].mean() + 50
    plain = augment(image, 36, np.random.default_rng(0), "none")
    assert (plain == image[::2, ::2]).all()


def test_another_file_comes_from_any_of_eight_sides_and_keeps_most_of_the_frame():
    image = np.zeros((72, 72, 3), np.uint8)
    image[:36, :36], image[:36, 36:] = 250, 110  # the brightest quarter, and the next beside it
    orders = set()
    for seed in range(200):
        made = augment(image, 64, np.random.default_rng(seed), "steady").astype(float).sum(axis=2)
        corners = made[14:18, 14:18], made[14:18, 46:50], made[46:50, 14:18], made[46:50, 46:50]
        orders.add(tuple(np.argsort([corner.mean() for corner in corners])[2:]))
    assert len(orders) == 8


def test_another_visit_is_never_mirrored():
    image = np.full((72, 72, 3), 20, np.uint8)
    image[:, :36] = 230  # light on the left, ten times what any uneven light could do
    for seed in range(100):
        made = augment(image, 64, np.random.default_rng(seed), "identity").astype(float)
        assert made.shape == (64, 64, 3)
        assert np.median(made[24:40, 4:10]) > np.median(made[24:40, -10:-4]), seed


def test_another_visit_differs_more_than_an_augmented_one():
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 255, (72, 72, 3)).astype(np.uint8), (0, 0), 3)

    def change(kind):
        made = [augment(image, 72, np.random.default_rng(s), kind) for s in range(40)]
        return np.mean([np.abs(m.astype(float) - image).mean() for m in made])

    assert change("identity") > 1.2 * change("mild")


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

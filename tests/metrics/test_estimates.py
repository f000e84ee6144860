"""Means and intervals by hand, of one evaluation and of folds put together."""

import time

import numpy as np
import pytest

from foveola.metrics.estimates import QueryMetrics, means, paired, pooled, subject_bootstrap, summarise
from foveola.metrics.inputs import Settings, metric_names

NO_LABELS = np.zeros((0, 0), dtype=bool)
SETTINGS = Settings((10,), "subject", False, 200, 0.95, 0)


def members(codes, width):
    return np.asarray(codes)[:, None] == np.arange(width)


def test_means_by_hand():
    # Micro of 1, 0, 0.5; label 0 has 1 and 0, label 1 has 0.5, label 2 nobody.
    got = means(np.array([[1.0], [0.0], [0.5]]), members([0, 0, 1], 3))
    assert got.micro == pytest.approx([0.5])
    assert got.per_label[0, :2] == pytest.approx([0.5, 0.5])
    assert np.isnan(got.per_label[0, 2])
    assert got.macro == pytest.approx([0.5])


def test_means_leave_out_what_is_not_defined():
    got = means(np.array([[np.nan, 1.0], [0.25, 0.0]]), members([0, 1], 2))
    assert got.micro == pytest.approx([0.25, 0.5])
    assert got.macro == pytest.approx([0.25, 0.5])


def test_the_bootstrap_matches_a_loop_over_drawn_subjects():
    generator = np.random.default_rng(5)
    subjects = generator.integers(12, size=60)
    values = generator.random((60, 2))
    values[generator.random((60, 2)) < 0.2] = np.nan
    labels = members(generator.integers(3, size=60), 3)
    got = subject_bootstrap(values, labels, subjects, resamples=250, confidence=0.9, seed=7)

    again = np.random.default_rng(7)
    people = np.unique(subjects)
    micro, macro, first = [], [], []
    draws = np.concatenate([again.integers(len(people), size=(n, len(people))) for n in (100, 100, 50)])
    for drawn in draws:
        rows = np.concatenate([np.flatnonzero(subjects == people[s]) for s in drawn])
        micro.append(np.nanmean(values[rows], axis=0))
        groups = [values[rows[labels[rows, g]]] for g in range(3)]
        macro.append(np.mean([np.nanmean(g, axis=0) for g in groups], axis=0))
        first.append(np.nanmean(groups[0], axis=0))
    for ours, loop in ((got.micro, micro), (got.macro, macro), (got.per_label[:, 0], first)):
        assert ours == pytest.approx(np.percentile(loop, [5, 95], axis=0).T)


def test_photographs_of_one_person_do_not_count_as_many_people():
    # 200 queries, but everything hangs on 10 people who agree within themselves.
    generator = np.random.default_rng(0)
    people = np.repeat(np.arange(10), 20)
    values = np.repeat(generator.random(10), 20)[:, None]
    labels = members(np.zeros(200, int), 1)
    clustered = subject_bootstrap(values, labels, people, seed=1).micro[0]
    naive = subject_bootstrap(values, labels, np.arange(200), seed=1).micro[0]
    assert np.diff(clustered) > 3 * np.diff(naive)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    generator = np.random.default_rng(11)
    labels = members(np.zeros(60, int), 1)
    covered = 0
    for trial in range(300):
        person = generator.normal(size=30)
        values = (person[:, None] + generator.normal(size=(30, 2))).reshape(60, 1)
        low, high = subject_bootstrap(
            values, labels, np.repeat(np.arange(30), 2), resamples=200, confidence=0.9, seed=trial
        ).micro[0]
        covered += low <= 0 <= high
    assert 0.83 <= covered / 300 <= 0.95  # 0.90 less the known narrowness, and the noise of 300


def test_one_person_alone_has_no_interval():
    got = subject_bootstrap(np.array([[0.1], [0.9], [0.5]]), members([0, 0, 1], 2), np.array([4, 4, 9]))
    assert np.isnan(got.per_label).all()
    assert np.isfinite(got.micro).all()


def test_one_person_in_all_has_no_interval_at_all():
    got = subject_bootstrap(np.array([[0.1], [0.9]]), members([0, 1], 2), np.array([4, 4]))
    assert np.isnan(got.micro).all()
    assert np.isnan(got.macro).all()


def test_no_resamples_give_no_intervals():
    got = subject_bootstrap(np.ones((4, 2)), members([0, 0, 1, 1], 2), np.arange(4), resamples=0)
    assert np.isnan(got.micro).all()
    assert got.per_label.shape == (2, 2, 2)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    values = np.random.default_rng(0).random((50, 1))
    labels, people = members(np.zeros(50, int), 1), np.arange(50)
    one, same, other = (subject_bootstrap(values, labels, people, seed=s).micro for s in (0, 0, 1))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_thousand_resamples_of_5000_queries_take_about_a_second():
    values = np.random.default_rng(0).random((5000, 11))
    labels = members(np.arange(5000) % 5, 5)
    start = time.process_time()
    subject_bootstrap(values, labels, np.arange(5000) // 2)
    assert time.process_time() - start < 3  # measured 0.2 s; room for a busy machine


def table(values, subjects, labels):
    members = np.array(labels)[:, None] == np.arange(2)
    columns = np.repeat(np.array(values, float)[:, None], len(metric_names(SETTINGS.ks)), 1)
    return QueryMetrics(columns, columns * 0, np.array(subjects), members, ("0", "1"))


def test_means_over_folds_by_hand():
    both = pooled([table([1, 0, 0], [0, 0, 1], [0, 0, 1]), table([0.5], [0], [1])])
    found = summarise(both, SETTINGS)["mAP@10"].value
    assert found.micro == pytest.approx(1.5 / 4)
    assert found.macro == pytest.approx((0.5 + 0.25) / 2)


def test_people_of_different_folds_are_different_people():
    one = table([1, 0], [0, 1], [0, 1])
    assert len(set(pooled([one, one, one]).subjects.tolist())) == 6


def test_folds_of_other_labels_are_refused():
    one = table([1], [0], [0])
    other = QueryMetrics(one.values, one.chance, one.subjects, one.members, ("0", "2"))
    with pytest.raises(ValueError, match="same label values"):
        pooled([one, other])
    with pytest.raises(ValueError, match="other queries"):
        paired(one, other)


def test_paired_is_the_difference_by_query():
    first, second = table([1, 0], [0, 1], [0, 1]), table([0.5, 0.5], [0, 1], [0, 1])
    assert paired(first, second).values[:, 0].tolist() == [-0.5, 0.5]
    with pytest.raises(ValueError, match="other queries"):
        paired(first, table([1, 0], [0, 0], [0, 1]))

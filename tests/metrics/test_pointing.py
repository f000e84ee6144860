"""Maps against masks: by hand, against slow loops, OpenCV and scikit-learn."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from foveola.metrics.pointing import MEASURES, dilated, point, point_many, summary, target, upsampled

ALL = np.ones((4, 4), dtype=bool)


def spot(*pixels, shape=(4, 4)):
    mask = np.zeros(shape, dtype=bool)
    for pixel in pixels:
        mask[pixel] = True
    return mask


def test_pointing_by_hand():
    # The map is as large as the mask, so it stays as it is. Two of 16 pixels are lesion, with 4
    # and 2 of a sum of 8; the maximum is one of them. Of the other 14 one has 2, the rest 0:
    # 4 is above 14 of 14, 2 is above 13 and ties with one: (14 + 13.5) / 28.
    heat = np.zeros((4, 4))
    heat[0, 0], heat[3, 3], heat[2, 1] = 4, 2, 2
    got = point(heat, target(spot((0, 0), (3, 3)), ALL, 0))
    assert got.hit == 1
    assert got.chance == pytest.approx(2 / 16)
    assert got.energy == pytest.approx((6 / 8) / (2 / 16))
    assert got.auc == pytest.approx(27.5 / 28)


def test_the_tolerance_decides_a_near_miss_and_its_chance():
    # the maximum lies at (1, 1), the lesion at (0, 0): sqrt 2 away. Within 1 of the lesion lie 3
    # pixels, within 1.5 lie 4.
    heat = spot((1, 1)).astype(float)
    near, far = (point(heat, target(spot((0, 0)), ALL, t)) for t in (1.5, 1.0))
    assert (near.hit, near.chance) == (1, 4 / 16)
    assert (far.hit, far.chance) == (0, 3 / 16)


def test_negative_values_have_no_energy_but_a_rank():
    heat = np.full((4, 4), -1.0)
    heat[0, 0], heat[1, 1], heat[2, 2] = 1, 3, -2
    got = point(heat, target(spot((0, 0), (2, 2)), ALL, 0))
    assert got.energy == pytest.approx((1 / 4) / (2 / 16))
    assert got.auc == pytest.approx((13 + 0) / 28)  # 1 is above 13 of 14, -2 above none


def test_what_lies_outside_the_field_does_not_count():
    field = ALL.copy()
    field[:, 2:] = False  # 8 pixels are left
    heat = np.zeros((4, 4))
    heat[0, 0], heat[1, 0], heat[3, 3] = 1, 1, 9
    got = point(heat, target(spot((0, 0), (3, 3)), field, 0))
    assert got.hit == pytest.approx(0.5)  # two equal maxima, one of them on the lesion
    assert got.chance == pytest.approx(1 / 8)
    assert got.energy == pytest.approx((1 / 2) / (1 / 8))
    assert got.auc == pytest.approx((6 + 0.5) / 7)


def test_a_flat_map_is_at_chance_exactly():
    at = target(spot((1, 2), (3, 0)), ALL, 1)
    got = point(np.full((2, 2), 0.7), at)
    assert got.hit == pytest.approx(at.chance)
    assert (got.energy, got.auc) == (pytest.approx(1), 0.5)


def test_a_random_maximum_hits_as_often_as_chance_says():
    generator = np.random.default_rng(3)
    at = target(spot((5, 5), (9, 1), shape=(12, 12)), np.ones((12, 12), bool), 2)
    hits = [point(generator.random((12, 12)), at).hit for _ in range(4000)]
    assert np.mean(hits) == pytest.approx(at.chance, abs=0.025)  # three standard errors


def test_an_image_without_a_lesion_is_no_case():
    got = point(np.eye(4), target(spot(), ALL, 1))
    assert all(np.isnan(getattr(got, name)) for name in MEASURES)


def test_a_map_without_anything_above_zero_has_no_energy():
    assert np.isnan(point(-np.eye(4), target(spot((0, 0)), ALL, 1)).energy)


def test_a_field_full_of_lesion_has_no_auc():
    got = point(np.eye(4), target(ALL, ALL, 1))
    assert np.isnan(got.auc)
    assert got.energy == pytest.approx(1)


@given(st.integers(0, 10_000), st.booleans())
def test_auc_is_scikit_learns(seed, coarse):
    generator = np.random.default_rng(seed)
    heat = generator.normal(size=(5, 7))
    heat = np.round(heat) if coarse else heat  # many ties
    lesion = generator.random((5, 7)) < 0.3
    field = generator.random((5, 7)) < 0.8
    lesion[0, 0], lesion[0, 1], field[0, :2] = True, False, True
    got = point(heat, target(lesion, field, 0)).auc
    assert got == pytest.approx(roc_auc_score(lesion[field], heat[field]), abs=1e-12)


def test_several_targets_at_once_are_as_one_by_one():
    heat = np.random.default_rng(1).random((3, 3))
    at = [target(spot(*pixels), ALL, 1) for pixels in ([(0, 0)], [(2, 2), (3, 1)], [])]
    for one, many in zip((point(heat, each) for each in at), point_many(heat, at), strict=True):
        assert [getattr(one, n) for n in MEASURES] == pytest.approx([getattr(many, n) for n in MEASURES], nan_ok=True)


@given(st.integers(0, 10_000), st.sampled_from([0, 0.9, 1, 1.5, 2, 2.3, 3.7, 30]))
def test_dilation_is_a_loop_over_distances(seed, radius):
    generator = np.random.default_rng(seed)
    mask = generator.random((9, 6)) < 0.05
    there = np.argwhere(mask)
    slow = [[any(np.hypot(y - a, x - b) <= radius for a, b in there) for x in range(6)] for y in range(9)]
    assert (dilated(mask, radius) == np.array(slow)).all()


@pytest.mark.parametrize(("small", "large"), [((7, 5), (40, 33)), ((3, 4), (3, 4)), ((1, 2), (5, 9))])
def test_upsampling_is_opencvs(small, large):
    heat = np.random.default_rng(2).normal(size=small)
    expected = cv2.resize(heat, large[::-1], interpolation=cv2.INTER_LINEAR)
    assert upsampled(heat, large) == pytest.approx(expected, abs=1e-6)


def test_the_summary_is_the_mean_and_leaves_out_what_is_not_known():
    got = summary([[1.0, np.nan], [0.0, 3.0], [0.5, 5.0]])
    assert got[:, 0] == pytest.approx([0.5, 4])
    assert (got[:, 1] <= got[:, 0]).all()
    assert (got[:, 0] <= got[:, 2]).all()
    assert got[0, 1] < 0.5 < got[0, 2]


def test_the_interval_holds_the_true_mean_about_as_often_as_it_says():
    generator = np.random.default_rng(4)
    intervals = [summary(generator.normal(size=(40, 1)), resamples=300)[0] for _ in range(150)]
    held = np.mean([low <= 0 <= high for _, low, high in intervals])
    assert 0.88 <= held <= 0.99


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: target(ALL, np.ones((3, 4), bool), 1), "expected two masks"),
        (lambda: target(ALL, ~ALL, 1), "field of view is empty"),
        (lambda: target(ALL, ALL, -1), "expected 0 or above"),
        (lambda: point(np.ones(4), target(ALL, ALL, 1)), r"got \(4,\)"),
        (lambda: point(np.full((2, 2), np.nan), target(ALL, ALL, 1)), "finite"),
        (lambda: point_many(ALL, [target(ALL, ALL, 1), target(ALL, spot((0, 0)), 1)]), "several fields"),
    ],
)
def test_what_does_not_fit_is_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_a_lesion_outside_the_field_does_not_reach_into_it():
    field = ALL.copy()
    field[:, 2:] = False
    # (3, 2) lies outside, beside (3, 1); of the other lesion 3 of the field's 8 pixels are near
    assert target(spot((0, 0), (3, 2)), field, 1).chance == pytest.approx(3 / 8)

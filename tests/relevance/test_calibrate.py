"""Calibration on numbers whose right answer is known; chances that rise with similarity, against scikit-learn."""

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from foveola.relevance.calibrate import (
    BIN,
    BINS,
    Scaling,
    as_common,
    calibrate,
    fit_curve,
    percentile,
    restricted,
    share_of,
    wilson,
)
from foveola.relevance.labels import LabelTable
from foveola.relevance.linear import sigmoid, softmax

MANY = 6000


def drawn(rng, probabilities):
    """One value a row, (N, K) bool."""
    at = (probabilities.cumsum(axis=1) > rng.random((len(probabilities), 1))).argmax(axis=1)
    return np.eye(probabilities.shape[1], dtype=bool)[at]


def test_a_known_slope_and_shift_are_found_again():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(MANY, 3)) * 3
    shift = np.array([1.0, 0.0, -1.0])
    members = drawn(rng, softmax(0.4 * z + shift))
    made = calibrate(z, members, np.arange(MANY), link="softmax").natural
    assert made.slope == pytest.approx(np.full(3, 0.4), abs=0.03)
    assert made.shift - made.shift.mean() == pytest.approx(shift, abs=0.1)


def test_each_finding_has_its_own_slope_and_shift():
    rng = np.random.default_rng(1)
    z = rng.normal(size=(MANY, 2)) * 3
    slope, shift = np.array([0.3, 1.0]), np.array([-1.0, 0.5])
    members = rng.random(z.shape) < sigmoid(slope * z + shift)
    made = calibrate(z, members, np.arange(MANY), link="sigmoid").natural
    assert made.slope == pytest.approx(slope, abs=0.06)
    assert made.shift == pytest.approx(shift, abs=0.12)


def test_of_one_finding_alone():
    rng = np.random.default_rng(2)
    z = rng.normal(size=(MANY, 1)) * 2
    members = rng.random(z.shape) < sigmoid(0.5 * z - 1)
    made = calibrate(z, members, np.arange(MANY), link="sigmoid")
    assert made.natural.slope == pytest.approx([0.5], abs=0.05)
    assert made.natural.shift == pytest.approx([-1], abs=0.1)
    assert made.even.shift[0] > made.natural.shift[0] + 0.5  # it is rare, and counts as common


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_even_is_natural_where_all_values_are_as_common(link):
    rng = np.random.default_rng(3)
    z = rng.normal(size=(400, 2 if link == "softmax" else 1))
    z = np.concatenate([z, -z])
    members = np.eye(2, dtype=bool)[np.repeat([0, 1], 400)][:, : z.shape[1]]
    made = calibrate(z, members, np.arange(800), link=link)
    even = made.even.probabilities(z, link)
    assert even == pytest.approx(made.natural.probabilities(z, link), abs=1e-4)


def test_even_probabilities_are_the_natural_ones_over_how_common_a_value_is():
    """Bayes: with slope 1 the shifts differ by the logarithm of the shares."""
    rng = np.random.default_rng(4)
    shares = np.array([0.7, 0.2, 0.1])
    value = rng.choice(3, MANY, p=shares)
    means = np.eye(3) * 2
    x = means[value] + rng.normal(size=(MANY, 3))
    z = x @ means.T - (means**2).sum(axis=1) / 2  # log likelihood of each value
    made = calibrate(z, np.eye(3, dtype=bool)[value], np.arange(MANY), link="softmax")
    assert made.even.probabilities(z, "softmax") == pytest.approx(softmax(z), abs=0.06)
    expected = softmax(z + np.log(shares))
    assert made.natural.probabilities(z, "softmax") == pytest.approx(expected, abs=0.06)


def test_reliability_and_interval_on_new_people():
    """Of those told p, about p have the value, and the interval holds it."""
    rng = np.random.default_rng(5)
    z = rng.normal(size=(2 * MANY, 2)) * 2
    members = drawn(rng, softmax(0.6 * z + [0.5, 0]))
    made = calibrate(z[:MANY], members[:MANY], np.arange(MANY), link="softmax")
    told = made.natural.probabilities(z[MANY:], "softmax")[:, 0]
    for low in np.arange(0.1, 0.9, 0.2):
        near = (told >= low) & (told < low + 0.2)
        assert members[MANY:][near, 0].mean() == pytest.approx(told[near].mean(), abs=0.05)
        share = made.share(float(told[near].mean()))
        assert share.low - 0.03 <= members[MANY:][near, 0].mean() <= share.high + 0.03


def test_the_interval_contains_the_share():
    rng = np.random.default_rng(6)
    z = rng.normal(size=(200, 3))
    members = drawn(rng, softmax(z))
    made = calibrate(z, members, np.arange(200) // 2, link="softmax")
    for p in np.linspace(0, 1, 101):
        share = made.share(float(p))
        assert share.value == p
        assert 0 <= share.low <= p <= share.high <= 1


def test_fewer_people_are_less_sure():
    rng = np.random.default_rng(7)
    z = rng.normal(size=(600, 2))
    members = np.repeat(drawn(rng, softmax(z[::6])), 6, axis=0)
    z = np.repeat(z[::6], 6, axis=0)
    apart = calibrate(z, members, np.arange(600), link="softmax").share(0.5)
    same = calibrate(z, members, np.arange(600) // 6, link="softmax")
    assert same.people == 100
    together = same.share(0.5)
    assert together.high - together.low > 1.5 * (apart.high - apart.low)


def test_of_too_few_nothing_is_told():
    z = np.array([[1.0, 0], [0, 1]] * 6)
    made = calibrate(z, z > 0.5, np.arange(12), link="softmax")
    assert made.curve is None
    assert made.share(0.5) is None


def test_logits_that_tell_nothing_give_how_common_a_value_is():
    members = np.eye(2, dtype=bool)[np.repeat([0, 1], [90, 10])]
    made = calibrate(np.zeros((100, 2)), members, np.arange(100), link="softmax")
    assert made.natural.probabilities(np.zeros(2), "softmax") == pytest.approx([0.9, 0.1], abs=0.02)
    assert made.even.probabilities(np.zeros(2), "softmax") == pytest.approx([0.5, 0.5], abs=0.02)


def test_logits_that_tell_everything_stay_finite():
    members = np.eye(2, dtype=bool)[np.repeat([0, 1], 50)]
    for link, columns in (("softmax", slice(None)), ("sigmoid", slice(0, 1))):
        z = (200.0 * members - 100)[:, columns]
        made = calibrate(z, members[:, columns], np.arange(100), link=link)
        for scaling in (made.even, made.natural):
            assert np.isfinite(scaling.slope).all()
            assert np.isfinite(scaling.shift).all()


def test_logits_that_say_the_contrary_lose_their_weight():
    rng = np.random.default_rng(8)
    z = rng.normal(size=(500, 2))
    members = drawn(rng, softmax(-2 * z))
    made = calibrate(z, members, np.arange(500), link="softmax")
    assert made.natural.slope[0] < 0.1


def test_restricted_to_some_values():
    scaling = Scaling(np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.2, 0.3]))
    some = restricted(scaling, np.array([2, -1, 0]))
    assert some.slope.tolist() == [3, 1, 1]
    assert some.shift.tolist() == [0.3, 0, 0.1]


def test_what_is_common_in_an_archive_is_likelier_by_bayes():
    # Even odds of 1 : 1 where 3 of 4 cases have the first value are odds of 3 : 1.
    labels = LabelTable.of("grade", [{"0"}] * 300 + [{"1"}] * 100)
    natural = as_common(Scaling(np.ones(2), np.zeros(2)), labels)
    np.testing.assert_allclose(natural.probabilities(np.zeros((1, 2)), "softmax"), [[0.75, 0.25]], atol=0.002)
    found = LabelTable.of("findings", [{"A"}] * 100 + [set()] * 300)
    natural = as_common(Scaling(np.ones(1), np.zeros(1)), found)
    np.testing.assert_allclose(natural.probabilities(np.zeros((1, 1)), "sigmoid"), [[0.25]], atol=0.002)


def test_wilson_by_hand() -> None:
    # 8 of 10: centre (.8 + .19207) / 1.38415, half 1.95996 / 1.38415 * sqrt(.016 + .0096037)
    share = wilson(8, 10)
    assert (share.value, share.low, share.high) == pytest.approx((0.8, 0.49016, 0.94331), abs=1e-4)


def test_an_interval_of_none_or_all_is_not_empty() -> None:
    assert wilson(0, 10).high == pytest.approx(0.27753, abs=1e-4)
    assert wilson(10, 10).low == pytest.approx(1 - 0.27753, abs=1e-4)


def test_pairs_of_one_person_count_once() -> None:
    agree = np.array([True] * 12 + [False] * 8)
    once = share_of(agree, np.arange(20))
    thrice = share_of(np.repeat(agree, 3), np.repeat(np.arange(20), 3))
    assert (thrice.value, thrice.low, thrice.high) == pytest.approx((once.value, once.low, once.high))


def test_pairs_of_different_people_narrow_it() -> None:
    agree = np.array([True] * 12 + [False] * 8)
    once, thrice = share_of(agree, np.arange(20)), share_of(np.repeat(agree, 3), np.arange(60))
    assert thrice.high - thrice.low < 0.7 * (once.high - once.low)


def test_the_curve_is_the_isotonic_regression_of_its_bins() -> None:
    rng = np.random.default_rng(3)
    x = rng.uniform(-1, 1, 4000)
    agree = rng.uniform(size=4000) < 0.5 + 0.2 * x
    curve = fit_curve(x, agree, np.arange(4000))
    assert curve is not None
    bins = np.array_split(np.argsort(x, kind="stable"), BINS)
    wanted = IsotonicRegression().fit_transform(
        np.arange(BINS), [agree[b].mean() for b in bins], sample_weight=[len(b) for b in bins]
    )
    middles = [curve.at(float(np.median(x[b]))).value for b in bins]
    assert len(set(curve.chance)) == len(set(np.round(wanted, 12)))
    assert set(np.round(curve.chance, 9)) == set(np.round(wanted, 9))
    assert np.abs(middles - wanted).max() < 0.05  # linear between the steps


def test_it_never_falls_and_lies_in_its_interval() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=3000)
    agree = rng.uniform(size=3000) < 1 / (1 + np.exp(-x))
    curve = fit_curve(x, agree, rng.integers(0, 200, 3000))
    assert curve is not None
    at = [curve.at(v) for v in np.linspace(-5, 5, 300)]
    for line in ([s.low for s in at], [s.value for s in at], [s.high for s in at]):
        assert (np.diff(line) >= -1e-12).all()
    assert all(s.low <= s.value <= s.high for s in at)


def test_it_finds_the_chance_that_was_put_in() -> None:
    rng = np.random.default_rng(5)
    x = rng.uniform(0, 1, 20_000)
    curve = fit_curve(x, rng.uniform(size=20_000) < x, np.arange(20_000))
    assert curve is not None
    for v in (0.1, 0.5, 0.9):
        share = curve.at(v)
        assert share.value == pytest.approx(v, abs=0.04)
        assert share.low < v < share.high


def test_too_few_pairs_have_no_curve() -> None:
    few = BIN - 1
    assert fit_curve(np.zeros(few), np.zeros(few, bool), np.arange(few)) is None


def test_percentile_by_hand() -> None:
    quantiles = [0.0, 0.2, 0.6, 1.0]  # a third of the values lies between each two
    assert percentile(0.2, quantiles) == pytest.approx(1 / 3)
    assert percentile(0.4, quantiles) == pytest.approx(0.5)
    assert percentile(-0.1, quantiles) == 0
    assert percentile(1.1, quantiles) == 1

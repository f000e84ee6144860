"""Calibration on numbers whose right answer is known."""

import numpy as np
import pytest

from foveola.relevance.calibrate import Scaling, as_common, calibrate, restricted
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

"""A temperature makes confidence agree with frequency, and leaves the order alone."""

import math

import numpy as np
import pytest

from foveola.metrics.probabilities import COLDEST, HOTTEST, fit_temperature


def test_right_three_times_of_four_is_a_probability_of_three_quarters():
    truth = np.array([[1.0], [1.0], [1.0], [0.0]])
    assert fit_temperature(truth, np.full((4, 1), 2.0)) == pytest.approx(2 / math.log(3))


def test_of_a_softmax_likewise():
    truth = np.array([[1.0, 0.0]] * 3 + [[0.0, 1.0]])
    logits = np.tile([[2.0, 0.0]], (4, 1))  # p = 1 / (1 + exp(-2 / T))
    assert fit_temperature(truth, logits, softmax=True) == pytest.approx(2 / math.log(3))


def log_loss(truth, logits, temperature):
    p = 1 / (1 + np.exp(-logits / temperature))
    return -(truth * np.log(p) + (1 - truth) * np.log(1 - p)).mean()


def test_no_temperature_on_a_grid_is_better():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (300, 4))
    truth = (rng.random((300, 4)) < 1 / (1 + np.exp(-logits / 1.7))).astype(float)
    found = fit_temperature(truth, logits)
    best = min(log_loss(truth, logits, t) for t in np.geomspace(0.3, 6, 400))
    assert log_loss(truth, logits, found) <= best + 1e-12
    assert found == pytest.approx(1.7, rel=0.15)


def test_what_is_not_known_counts_nothing():
    truth = np.array([[1.0, np.nan], [1.0, np.nan], [1.0, np.nan], [0.0, np.nan]])
    logits = np.array([[2.0, -9.0]] * 4)
    assert fit_temperature(truth, logits) == pytest.approx(2 / math.log(3))
    assert fit_temperature(np.full((3, 2), np.nan), np.ones((3, 2))) == 1.0
    spread = np.array([[1.0, 0.0, np.nan], [np.nan, np.nan, np.nan]])
    assert np.isfinite(fit_temperature(spread, np.ones((2, 3)), softmax=True))


def test_it_stays_within_its_bounds():
    logits = np.array([[1.0], [2.0], [-1.0]])
    truth = np.array([[1.0], [1.0], [0.0]])
    assert fit_temperature(truth, logits) == pytest.approx(COLDEST)  # no mistake: ever surer
    assert fit_temperature(1 - truth, logits) == pytest.approx(HOTTEST)


def test_wrong_input_is_said():
    with pytest.raises(ValueError, match="expected truth and logits"):
        fit_temperature(np.ones((2, 2)), np.ones((2, 3)))
    with pytest.raises(ValueError, match="not a finite number"):
        fit_temperature(np.ones((1, 1)), np.array([[np.nan]]))

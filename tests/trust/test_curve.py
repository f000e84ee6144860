"""Chances that rise with similarity: by hand, against scikit-learn, and by what must hold."""

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from foveola.relevance.calibrate import BIN, BINS, fit_curve, percentile, share_of, wilson


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

"""From evidence to probability, by hand and on data with a known truth."""

import math

import numpy as np
import pytest

from foveola.errors import MatchingError
from foveola.matching.pair import Calibration, Evidence, fit, posterior


def test_the_posterior_by_hand():
    # prior 1/2 over 4 photographs: 1/8 each. LR 7: 7/8 / (7/8 + 7/8) = 1/2. LR 1: 1/8.
    chances, none = posterior(np.log([7.0, 1.0]), 4)
    assert chances == pytest.approx([0.5, 1 / 8])
    # 1/8 (7 + 1 + two not looked at) = 10/8 against 1/2
    assert none == pytest.approx(0.5 / (0.5 + 10 / 8))
    # if those two speak against it by a half each: 1/8 (8 + 2 / 2)
    assert posterior(np.log([7.0, 1.0]), 4, others=math.log(0.5))[1] == pytest.approx(0.5 / (0.5 + 9 / 8))
    chances, none = posterior([], 10, prior=0.3)
    assert len(chances) == 0
    assert none == pytest.approx(0.7)


def test_a_larger_archive_asks_for_stronger_evidence():
    small, large = (posterior([math.log(1000)], n)[0][0] for n in (10, 10_000))
    assert small > 0.97
    assert large < 0.1


@pytest.mark.parametrize(("ratios", "gallery", "prior"), [([0.0], 0, 0.5), ([0.0], 1, 0.0), ([0.0, 0.0], 1, 0.5)])
def test_senseless_numbers_are_refused(ratios, gallery, prior):
    with pytest.raises(ValueError, match="prior is"):
        posterior(ratios, gallery, prior)


def pairs(count=4000, seed=0):
    """Cosines of two normal distributions: log LR is known, 2 * 0.2 * (c - 0.5) / 0.1^2 ..."""
    rng = np.random.default_rng(seed)
    same = rng.random(count) < 0.25
    cosine = np.where(same, 0.6, 0.4) + 0.1 * rng.normal(size=count)
    return [Evidence(float(c)) for c in cosine], same


def test_the_log_ratio_of_two_normal_distributions_is_found():
    # log LR = ((c - .4)^2 - (c - .6)^2) / (2 * .01) = (.4 c - .2) / .02 = 20 c - 10
    evidence, same = pairs()
    made = fit(evidence, same, "e")
    assert made.weights[0] == pytest.approx(-10, rel=0.1)
    assert made.weights[1] == pytest.approx(20, rel=0.1)
    assert made.weights[2:] == pytest.approx((0, 0), abs=1e-6)  # nothing was seen of them
    assert made.log_ratio([Evidence(0.5)])[0] == pytest.approx(0, abs=0.3)


def test_ratios_are_bounded_by_the_pairs_they_rest_on():
    separable = [Evidence(0.9, 40, 0.8)] * 20 + [Evidence(0.1)] * 300
    made = fit(separable, [True] * 20 + [False] * 300, "e")
    assert made.log_ratio([Evidence(1.0, 1000, 1.0)])[0] == pytest.approx(math.log(300))
    assert made.log_ratio([Evidence(-1.0)])[0] == pytest.approx(-math.log(20))
    assert made.pairs == (20, 300)


def test_features_that_agree_speak_for_one_eye():
    rng = np.random.default_rng(1)
    same = np.arange(400) < 100
    inliers = np.where(same, rng.integers(12, 80, 400), rng.integers(0, 8, 400))
    made = fit([Evidence(0.5, int(n)) for n in inliers], same, "e")
    ratios = made.log_ratio([Evidence(0.5, n) for n in (0, 5, 10, 20, 40)])
    assert (np.diff(ratios) >= 0).all()
    assert ratios[0] < 0 < ratios[-1]


def test_it_is_kept_and_refused_for_another_encoder(tmp_path):
    made = fit(*pairs(200), "one")
    made.save(tmp_path / "c.json")
    assert Calibration.load(tmp_path / "c.json", "one") == made
    with pytest.raises(MatchingError, match="belongs to another encoder"):
        Calibration.load(tmp_path / "c.json", "two")
    (tmp_path / "c.json").write_text('{"weights": [1, 2]}')
    with pytest.raises(MatchingError, match=r"c\.json can't be used"):
        Calibration.load(tmp_path / "c.json", "one")


def test_pairs_of_one_kind_are_refused():
    with pytest.raises(ValueError, match="pairs of both kinds"):
        fit([Evidence(0.1)], [True], "e")

"""Left or right: antisymmetric by construction, learnt from eyes that the mirror turns over."""

import numpy as np
import pytest

from foveola.errors import MatchingError
from foveola.matching.laterality import Laterality, fit_laterality


def eyes(count=200, noise=0.5, seed=0):
    rng = np.random.default_rng(seed)
    right = rng.random(count) < 0.5
    changes = np.where(right, 1, -1)[:, None] * [1.0, 0, 0, 0.5] + noise * rng.normal(
        size=(count, 4)
    )
    return changes, ["right" if r else "left" for r in right]


def test_the_side_is_learnt_and_its_probability_is_calibrated():
    changes, sides = eyes()
    rule = fit_laterality(changes, sides, "e")
    others, truth = eyes(4000, noise=0.8, seed=1)
    said = rule.of(others)
    right = np.array([s.eye == t for s, t in zip(said, truth, strict=True)])
    assert right.mean() > 0.9
    assert all(0.5 <= s.probability <= 1 for s in said)


def test_a_mirrored_photograph_is_the_other_eye_with_the_same_certainty():
    changes, sides = eyes()
    rule = fit_laterality(changes, sides, "e")
    for plain, mirrored in zip(rule.of(changes[:20]), rule.of(-changes[:20]), strict=True):
        assert plain.eye != mirrored.eye
        assert plain.probability == pytest.approx(mirrored.probability)


def test_one_number_by_hand():
    rule = Laterality(encoder="e", weights=(2.0, 0.0), photographs=1)
    (right,), (left,) = rule.of([[0.5, 9.0]]), rule.of([[-0.5, 9.0]])
    assert (right.eye, left.eye) == ("right", "left")
    assert right.probability == pytest.approx(1 / (1 + np.exp(-1)))


def test_it_is_kept_and_refused_for_another_encoder(tmp_path):
    rule = fit_laterality(*eyes(), "one")
    rule.save(tmp_path / "l.json")
    assert Laterality.load(tmp_path / "l.json", "one") == rule
    with pytest.raises(MatchingError, match="belongs to another encoder"):
        Laterality.load(tmp_path / "l.json", "two")
    (tmp_path / "l.json").write_text('{"encoder": "one", "weights": [], "photographs": 3}')
    with pytest.raises(MatchingError, match="expected finite weights"):
        Laterality.load(tmp_path / "l.json", "one")
    with pytest.raises(ValueError, match="of N eyes"):
        fit_laterality(np.zeros((3, 2)), ["left"], "e")

"""Left or right, up or down: antisymmetric by construction, learnt from eyes that mirrors turn."""

import numpy as np
import pytest

from foveola.errors import MatchingError, PairError
from foveola.laterality import EXCHANGED, Laterality, Side, check_sides, fit_laterality

# A descriptor of 4 numbers: the first says right, the second upright; the others say nothing.
MIRROR, FLIP = np.array([-1, 1, 1, 1]), np.array([1, -1, 1, 1])


def eyes(count=200, noise=0.3, seed=0, turned=0.0):
    """Views (N, 4, 4), sides, and which were turned by 180 degrees."""
    rng = np.random.default_rng(seed)
    right, down = rng.random(count) < 0.5, rng.random(count) < turned
    seen = np.column_stack([np.where(right, 1, -1), np.ones(count), *rng.normal(size=(2, count))])
    seen[down] *= MIRROR * FLIP
    views = np.stack([seen, seen * MIRROR, seen * FLIP, seen * MIRROR * FLIP], axis=1)
    return views + noise * rng.normal(size=views.shape), np.where(right, "right", "left"), down


def accuracy(said, truth):
    return np.mean([side.eye == eye for side, eye in zip(said, truth, strict=True)])


def test_the_side_is_learnt():
    rule = fit_laterality(*eyes()[:2], "e")
    views, truth, _ = eyes(4000, noise=0.6, seed=1)
    said = rule.of(views)
    assert accuracy(said, truth) > 0.95
    assert all(0.5 <= side.probability <= 1 for side in said)
    assert all(side.upside_down == 0 for side in said)


def test_a_mirrored_photograph_is_the_other_eye_with_the_same_certainty():
    views, sides, _ = eyes()
    rule = fit_laterality(views, sides, "e")
    mirrored = views[:, [1, 0, 3, 2]]
    for one, other in zip(rule.of(views, 0.1), rule.of(mirrored, 0.1), strict=True):
        assert one.eye != other.eye
        assert one.probability == pytest.approx(other.probability)
        assert one.upside_down == pytest.approx(other.upside_down)


def test_one_photograph_by_hand():
    rule = Laterality(encoder="e", right=(2.0, 0.0), upright=(0.0, 1.0), photographs=1)
    #         plain        mirrored     flipped       both
    views = [[[0.5, 0.8], [0.0, 0.6], [0.1, -0.2], [0.3, 0.0]]]
    right = 1 / (1 + np.exp(-2 * (0.5 - 0.0)))
    down = 1 / (1 + np.exp((0.8 + 0.2 + 0.6 - 0.0) / 2 - np.log(0.25 / 0.75)))
    assert rule.of(views)[0].probability == pytest.approx(right)
    (side,) = rule.of(views, 0.25)
    assert side.upside_down == pytest.approx(down)
    assert side.probability == pytest.approx((1 - down) * right + down * (1 - right))


def test_one_that_is_upright_is_told_by_two_views_as_by_four():
    views, sides, _ = eyes()
    rule = fit_laterality(views, sides, "e")
    for seen, wanted in zip(views, rule.of(views), strict=True):
        said = rule.of_upright(seen[:2])
        assert (said.eye, said.probability) == (wanted.eye, pytest.approx(wanted.probability))


@pytest.mark.parametrize(
    ("left", "right", "said"),
    [
        (Side("left", 0.9), Side("right", 0.9), ()),
        (Side("right", 0.9), Side("left", 0.9), (EXCHANGED,)),
        (Side("right", 0.9), Side("left", 0.89), ()),
        (Side("left", 0.89), Side("left", 1.0), ()),
        (None, Side("left", 1.0), ()),
        (Side("right", 0.9), Side("right", 0.9), "a right eye"),
        (Side("left", 0.9), Side("left", 0.9), "a left eye"),
    ],
)
def test_what_is_said_of_two(left, right, said):
    given = {"left": left, "right": right}
    if isinstance(said, str):
        with pytest.raises(PairError, match=f"both photographs seem to show {said}"):
            check_sides(given)
    else:
        assert check_sides(given) == said
    assert check_sides({"left": left}) == ()


def test_two_that_are_as_alike_as_one_eye_are_refused_whatever_side_they_show():
    one, like, fellow = np.float32([[1, 0], [0.91, 0.4146], [0.89, 0.456]])
    left = Side("left", 0.6, descriptor=one)
    for other in (like, fellow):
        given = {"left": left, "right": Side("right", 0.99, descriptor=other)}
        if other is like:
            with pytest.raises(PairError, match="the same photograph, or two of the same eye"):
                check_sides(given)
        else:
            assert check_sides(given) == ()
    assert check_sides({"left": left, "right": Side("right", 1.0)}) == ()  # the archive knows it


@pytest.mark.parametrize("turned", [0.0, 0.1, 0.4])
def test_the_share_that_is_upside_down_is_estimated_and_allowed_for(turned):
    rule = fit_laterality(*eyes(1000)[:2], "e")
    views, truth, down = eyes(2000, seed=5, turned=turned)
    share = rule.share_upside_down(views)
    assert share == pytest.approx(down.mean(), abs=0.02)
    assert accuracy(rule.of(views, share), truth) > 0.97
    if turned:
        assert accuracy(rule.of(views), truth) < 1 - 0.9 * turned


def test_photographs_of_one_visit_are_upright_or_not_together():
    rule = fit_laterality(*eyes(1000)[:2], "e")
    views, truth, _ = eyes(600, noise=1.5, seed=6)
    views[300:] = views[300:, [3, 2, 1, 0]]  # the second half is turned
    visits = [n // 6 for n in range(600)]
    alone = rule.of(views, rule.share_upside_down(views))
    share = rule.share_upside_down(views, visits)
    said = rule.of(views, share, visits)
    assert share == pytest.approx(0.5, abs=0.05)
    assert accuracy(said, truth) > accuracy(alone, truth) + 0.05
    assert len({side.upside_down for side in said[:6]}) == 1


def test_few_photographs_do_not_change_what_is_expected_of_a_set():
    rule = fit_laterality(*eyes(1000)[:2], "e")
    views, _, _ = eyes(1, seed=2, turned=1.0)
    assert 0.02 < rule.share_upside_down(views) < 0.12


def test_it_is_kept_and_refused_for_another_encoder(tmp_path):
    views, sides, _ = eyes()
    rule = fit_laterality(views, sides, "one")
    rule.save(tmp_path / "l.json")
    assert Laterality.load(tmp_path / "l.json", "one") == rule
    with pytest.raises(MatchingError, match="belongs to another encoder"):
        Laterality.load(tmp_path / "l.json", "two")
    (tmp_path / "l.json").write_text('{"encoder": "one", "right": [1], "upright": []}')
    with pytest.raises(MatchingError, match="as many of the one as of the other"):
        Laterality.load(tmp_path / "l.json", "one")
    with pytest.raises(ValueError, match="of N eyes"):
        fit_laterality(views[:3], ["left"], "e")
    with pytest.raises(ValueError, match=r"expected views \(N, 4, D\)"):
        rule.of(views[:, :2])


def test_of_two_fellow_eyes_the_order_is_told_by_hand():
    rule = Laterality(encoder="e", right=(1.0, 0, 0, 0), upright=(0, 1.0, 0, 0), photographs=2)

    def views(right):
        seen = np.array([right, 1.0, 0, 0])
        return np.stack([seen, seen * MIRROR, seen * FLIP, seen * MIRROR * FLIP])

    # The odds that each is a right eye are exp(2 x): exp(0.4) and exp(1). The first is the left
    # one of the two with odds exp(1 - 0.4), though alone it looks like a right eye, too.
    assert rule.left_first(views(0.2), views(0.5)) == pytest.approx(1 / (1 + np.exp(-0.6)))
    assert rule.left_first(views(0.5), views(0.2)) == pytest.approx(1 / (1 + np.exp(0.6)))

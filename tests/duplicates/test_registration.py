"""The map that features agree on, where the truth is made."""

import numpy as np
import pytest

from foveola.duplicates.registration import Features, agree

TURN, SCALE, MOVE = np.deg2rad(20), 1.6, (30.0, -12.0)
MAP = np.column_stack([SCALE * np.array([[np.cos(TURN), -np.sin(TURN)], [np.sin(TURN), np.cos(TURN)]]), MOVE])


def made(rng, right, wrong, noise=0.0):
    """Two photographs: `right` features of b lie in a under MAP, `wrong` match anything."""
    count = right + wrong
    b = rng.uniform(20, 200, (count, 2)).astype(np.float32)
    frames = np.column_stack([rng.uniform(2, 9, count), rng.uniform(0, 2 * np.pi, count)])
    a = b @ MAP[:, :2].T + MAP[:, 2] + rng.normal(0, noise, (count, 2)) if noise else (b @ MAP[:, :2].T + MAP[:, 2])
    moved = np.column_stack([frames[:, 0] * SCALE, frames[:, 1] + TURN])
    a[right:] = rng.uniform(20, 360, (wrong, 2))
    moved[right:] = np.column_stack([rng.uniform(2, 9, wrong), rng.uniform(0, 2 * np.pi, wrong)])
    vectors = rng.integers(0, 256, (count, 128)).astype(np.uint8)  # each is its own nearest
    return (
        Features(a.astype(np.float32), moved.astype(np.float32), vectors),
        Features(b, frames.astype(np.float32), vectors),
    )


def test_the_map_is_found_where_all_agree():
    found = agree(*made(np.random.default_rng(1), 40, 0))
    assert found.inliers == 40
    assert found.affine == pytest.approx(MAP, abs=1e-3)


def test_four_right_matches_of_a_hundred_are_found():
    # RANSAC would draw three right ones once in 15,625 times.
    for seed in range(20):
        found = agree(*made(np.random.default_rng(seed), 4, 96))
        assert found.affine == pytest.approx(MAP, abs=0.2)
        assert found.inliers >= 4


def test_few_agree_where_there_is_no_map():
    found = [agree(*made(np.random.default_rng(seed), 0, 400)).inliers for seed in range(20)]
    assert max(found) < 8
    assert agree(*made(np.random.default_rng(0), 2, 0)).inliers == 0


def test_some_pixels_of_error_do_no_harm():
    found = agree(*made(np.random.default_rng(3), 60, 60, noise=1.0))
    assert found.inliers > 50
    corners = np.array([[20, 20, 1], [200, 20, 1], [20, 200, 1]])
    assert corners @ found.affine.T == pytest.approx(corners @ MAP.T, abs=1.0)


@pytest.mark.parametrize("change", ["turn", "scale"])
def test_a_match_whose_own_frame_contradicts_the_map_is_no_support(change):
    a, b = made(np.random.default_rng(5), 30, 0)
    frames = a.frames.copy()
    if change == "turn":
        frames[:10, 1] += np.deg2rad(30)
    else:
        frames[:10, 0] *= 1.5
    assert agree(Features(a.points, frames, a.vectors), b).inliers == 20


def test_a_place_counts_once_however_many_directions_it_has():
    a, b = made(np.random.default_rng(7), 12, 0)
    for of in (a, b):
        of.points[6:] = of.points[:6]
    assert agree(a, b).inliers == 6


def test_a_mirrored_or_squeezed_map_is_not_believed():
    rng = np.random.default_rng(9)
    b = rng.uniform(20, 300, (40, 2)).astype(np.float32)
    frames = np.column_stack([np.full(40, 5.0), np.zeros(40)]).astype(np.float32)
    vectors = rng.integers(0, 256, (40, 128)).astype(np.uint8)
    second = Features(b, frames, vectors)
    for stretch in ((-1, 1), (1.7, 1)):
        first = Features((b * np.array(stretch)).astype(np.float32), frames, vectors)
        assert agree(first, second).inliers < 12, stretch


def test_nothing_agrees_with_nothing():
    empty = np.empty((0, 2), np.float32)
    none = Features(empty, empty, np.empty((0, 128), np.uint8))
    _, b = made(np.random.default_rng(0), 5, 5)
    for first, second in ((none, none), (none, b), (b, none)):
        found = agree(first, second)
        assert found.inliers == 0
        assert (found.affine == np.eye(2, 3)).all()

"""A photograph is nearly the same to an encoder whether libjpeg made it smaller or we did."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
from files import save

from foveola.images.decode import decode
from foveola.images.fundus import Contract, find_field_of_view, prepare
from foveola.phantom import make_eye, make_subject, render

SIZE = 128
CONTRACT = Contract(size=SIZE)

# The shorter side leaves 4 pixels and more, or 8, for each of the size: there libjpeg could
# give a quarter or an eighth, and is asked for a half or a quarter.
HEIGHTS = (*range(512, 768, 32), *range(1024, 1536, 64))


@pytest.fixture(scope="module")
def scene():
    return render(make_eye(make_subject(0, 1), "right"), [0, 3], size=512).image


def photograph(scene, height):
    """As most cameras take it: (height, 1.5 height, 3), the disc cut at top and bottom."""
    side = round(1.1 * height)
    how = cv2.INTER_AREA if side < len(scene) else cv2.INTER_CUBIC
    disc = cv2.resize(scene, (side, side), interpolation=how)
    frame = np.zeros((height, 3 * height // 2, 3), np.uint8)
    top, left = (side - height) // 2, (frame.shape[1] - side) // 2
    frame[:, left : left + side] = disc[top : top + height]
    return frame


def both(scene, height):
    """Its JPEG as an encoder reads it, and what a PNG of the JPEG's pixels holds."""
    data = save(photograph(scene, height), "JPEG", quality=92)
    return decode(data, min_side=CONTRACT.min_side), decode(data)


@pytest.mark.parametrize("height", [256, 301, 383])
def test_a_photograph_below_three_times_the_size_is_decoded_whole(scene, height):
    np.testing.assert_array_equal(*both(scene, height))


def test_prepared_pixels_are_nearly_those_of_the_whole_photograph(scene):
    away = []
    for height in HEIGHTS:
        small, whole = both(scene, height)
        assert small.shape[0] < whole.shape[0]  # else there is nothing to see here
        away.append(np.abs(prepare(small, CONTRACT).astype(int) - prepare(whole, CONTRACT)).mean())
    assert np.mean(away) < 0.9  # of 255; 1.4 where libjpeg leaves no more than the size
    assert max(away) < 1.6  # likewise 2.5


def test_the_field_of_view_is_found_in_the_same_place(scene):
    for height in HEIGHTS:
        small, whole = both(scene, height)
        by = whole.shape[0] / small.shape[0]
        one, other = find_field_of_view(small), find_field_of_view(whole)
        unit = 2 * other.radius / SIZE  # a prepared pixel
        assert np.hypot(one.x * by - other.x, one.y * by - other.y) < 0.25 * unit
        assert abs(one.radius * by - other.radius) < 0.25 * unit


def test_half_as_much_again_as_the_size_is_asked_for_and_rounded_up():
    sides = [Contract(size=size).min_side for size in range(32, 400)]
    assert sides[:2] == [48, 50]
    assert all(one < other for one, other in pairwise(sides))

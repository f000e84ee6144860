"""Where a map is high the photograph is coloured, and nowhere else."""

import numpy as np
import pytest

from foveola.images.pictures import COLOUR, STRONGEST, overlay, shares

GREY = np.full((64, 64, 3), 100, np.uint8)


def test_nothing_is_drawn_where_nothing_speaks_for_it():
    assert (overlay(GREY, np.zeros((4, 4))) == GREY).all()
    assert (overlay(GREY, np.full((4, 4), -3.0)) == GREY).all()


def test_the_colour_lies_where_the_weight_is():
    weights = np.zeros((4, 4))
    weights[0, 3] = 1  # up and right
    drawn = overlay(GREY, weights).astype(int)
    changed = np.abs(drawn - 100).sum(2)
    assert changed[:16, 48:].min() > 0
    assert changed[32:, :32].max() == 0


def test_a_full_weight_mixes_the_colour_as_it_says():
    drawn = overlay(GREY, np.ones((4, 4)))
    expected = 100 * (1 - STRONGEST) + np.array(COLOUR) * STRONGEST
    assert np.abs(drawn[32, 32] - expected).max() <= 1


def test_shares_are_of_the_greatest():
    assert shares([[2.0, -1.0], [1.0, 0.0]]).tolist() == [[1.0, 0.0], [0.5, 0.0]]
    assert shares([[2.0]], most=4.0).tolist() == [[0.5]]
    assert shares([[-2.0]]).tolist() == [[0.0]]


def test_no_number_is_refused():
    with pytest.raises(ValueError, match="not a number"):
        overlay(GREY, [[np.nan]])

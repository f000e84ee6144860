"""Boxes by hand: on the picture, on the field of view, on the grid."""

import numpy as np
import pytest

from foveola.errors import RegionError
from foveola.images.fundus import FieldOfView
from foveola.regions.box import Box, Cells, Field, square

# A picture of 400 x 200 pixels whose field has its centre at (200, 100) and radius 100: a square
# from 100 to 300 across, all of it down. A position of a grid of 20 is 10 pixels.
FIELD = Field.of(FieldOfView(200, 100, 100, round=True), 200, 400)


def test_a_box_covers_positions():
    # 150 to 190 across is 50 to 90 in the field: positions 5 to 8; 20 to 40 down: 2 and 3
    assert FIELD.cells(Box(150 / 400, 20 / 200, 40 / 400, 20 / 200), 20) == Cells(5, 2, 4, 2)


def test_a_sliver_of_a_position_is_left_out():
    # 148 to 192 across is 4.8 to 9.2 positions: less than a quarter of 4 and of 9
    assert FIELD.cells(Box(148 / 400, 0.1, 44 / 400, 0.1), 20)[::2] == (5, 4)
    assert FIELD.cells(Box(146 / 400, 0.1, 48 / 400, 0.1), 20)[::2] == (4, 6)


def test_the_smallest_box_is_one_position():
    assert FIELD.cells(Box(0.5, 0.5, 1e-4, 1e-4), 20) == Cells(10, 10, 1, 1)


def test_a_point_stands_for_a_tenth_of_the_field():
    assert FIELD.cells(Box(0.5, 0.5, 0, 0), 20) == Cells(9, 9, 2, 2)
    assert FIELD.cells(Box(100 / 400, 0.5, 0, 0), 20) == Cells(0, 9, 1, 2)  # cut at the edge


def test_there_and_back():
    cells = Cells(3, 7, 4, 2)
    assert FIELD.cells(FIELD.box(cells, 20), 20) == cells
    assert FIELD.box(cells, 20) == pytest.approx((130 / 400, 70 / 200, 40 / 400, 20 / 200))
    assert square(cells, 20) == (0.15, 0.35, 0.2, 0.1)


def test_a_field_cut_by_the_frame():
    # centre (100, 50) and radius 100 in 200 x 100 pixels: of 20 rows 5 lie above, 5 below
    cut = Field.of(FieldOfView(100, 50, 100, round=True), 100, 200)
    inside = cut.inside(20)
    assert not inside[:5].any()
    assert not inside[15:].any()
    assert inside[5:15, 5:15].all()
    assert cut.box(Cells(0, 4, 20, 4), 20) == pytest.approx((0, 0, 1, 0.3))


def test_inside_a_circle_and_a_whole_frame():
    inside = FIELD.inside(20)
    assert not inside[0, 0]
    assert inside[0, 10]
    assert inside[10].all()
    y, x = np.mgrid[:20, :20] + 0.5
    assert (inside == (np.hypot(y - 10, x - 10) <= 9.7)).all()
    whole = Field.of(FieldOfView(50, 50, 50, round=False), 100, 100)
    assert whole.inside(20).all()


@pytest.mark.parametrize("box", [Box(0, 0, 0.1, 0.1), Box(0.9, 0.2, 0.1, 0.1), Box(0.02, 0.5, 0, 0)])
def test_what_lies_beside_the_field_is_refused(box):
    with pytest.raises(RegionError, match="outside the field of view"):
        FIELD.cells(box, 20)


def test_parsing():
    assert Box.parse("0.4, 0.5,0.1,0.2") == (0.4, 0.5, 0.1, 0.2)
    assert Box.parse("0.25,1") == (0.25, 1, 0, 0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1,2,3",
        "a,b",
        "0.5,0.5,0.6,0.1",
        "-0.1,0,0.5,0.5",
        "nan,0,1,1",
        "0,0,-1,1",
        "inf,0",
        "0.1,0.1,0.1,0.1,0.1",
        "300,200,50,50",
    ],
)
def test_what_is_no_region_is_refused(text):
    with pytest.raises(RegionError, match=r"expected X,Y|within the picture"):
        Box.parse(text)

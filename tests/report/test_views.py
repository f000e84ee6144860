"""Where a person's grades stand in the drawing."""

import pytest

from foveola.records import Case
from foveola.report.views import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, timeline


def case(visit, grade, eye="left"):
    return Case(image="a", path=f"/{visit}{eye}{grade}", visit=visit, grade=grade, eye=eye)


def test_times_are_to_scale_and_grades_upwards():
    drawn = timeline([(1, case(0, 0)), (2, case(12, 2)), (3, case(48, 4))])
    (line,) = drawn.lines
    span = WIDTH - LEFT - RIGHT
    assert [p.x for p in line.points] == pytest.approx([LEFT, LEFT + span / 4, LEFT + span])
    assert [p.y for p in line.points] == pytest.approx([HEIGHT - BOTTOM, (TOP + HEIGHT - BOTTOM) / 2, TOP])
    assert line.path.startswith(f"M{LEFT:.1f} {HEIGHT - BOTTOM:.1f} L")
    assert drawn.to_scale
    assert [visit.word for visit in drawn.visits] == ["first visit", "month 12", "month 48"]


def test_dates_are_to_scale():
    drawn = timeline([(1, case("2020-01-01", 1)), (2, case("2020-01-11", 1)), (3, case("2020-02-10", 1))])
    xs = [p.x for p in drawn.lines[0].points]
    assert (xs[1] - xs[0]) / (xs[2] - xs[0]) == pytest.approx(0.25)


@pytest.mark.parametrize("visits", [("first", "second", "third"), (0, "2020-01-01", 12)])
def test_what_is_no_time_stands_at_equal_distances(visits):
    drawn = timeline([(i, case(visit, 1)) for i, visit in enumerate(visits)])
    xs = [visit.x for visit in drawn.visits]
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1])
    assert not drawn.to_scale


def test_eyes_are_apart_and_the_ungraded_are_in_the_table_alone():
    drawn = timeline(
        [
            (1, case(0, 1, "left")),
            (2, case(0, 2, "right")),
            (3, case(6, None)),
            (4, case(6, 3, "right")),
            (5, case(None, 4)),
        ]
    )
    assert {line.eye: [p.id for p in line.points] for line in drawn.lines} == {"right": [2, 4], "left": [1]}
    assert [id_ for id_, _ in drawn.visits[1].eyes["left"]] == [3]


def test_one_visit_is_no_course():
    assert timeline([(1, case(0, 1)), (2, case(0, 2, "right")), (3, case(None, 2))]) is None

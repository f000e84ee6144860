"""A place is marked in a real browser: by mouse, and by keyboard alone."""

import shutil

import pytest

from foveola.regions import switch_on
from foveola.server import create_app
from server.browsing import NEEDED, listening, sent, until

pytestmark = NEEDED


@pytest.fixture(scope="module")
def address(served, tmp_path_factory):
    """Of the service on an archive that keeps its places."""
    folder = tmp_path_factory.mktemp("browsed") / "archive"
    shutil.copytree(served, folder)
    switch_on(folder)
    with listening(create_app(folder)) as found:
        yield found


def marked(tab):
    return tab.locator("#region").input_value()


def test_a_place_is_marked_by_dragging(tab, address, photographs):
    sent(tab, address, photographs[5])
    tab.get_by_role("link", name="Cases like one place of it").click()
    tab.wait_for_selector("body[data-ready=yes]")
    assert tab.get_by_role("button", name="Find cases like this place").is_disabled()
    where = tab.locator("#photo").bounding_box()
    x, y = where["x"] + where["width"] / 2, where["y"] + where["height"] / 2
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x + 15, y + 10)
    tab.mouse.move(x + 60, y + 40, steps=4)
    tab.mouse.up()
    tab.wait_for_selector("#found .hit .boxed rect")
    left, top, width, height = map(float, marked(tab).split(","))
    assert (left, top) == pytest.approx((0.5, 0.5), abs=0.05)
    assert width == pytest.approx(1.5 * height, rel=0.3)
    assert "Marked" in tab.locator("#said").inner_text()


def test_a_place_is_marked_by_keyboard_alone(tab, address, photographs):
    sent(tab, address, photographs[5])
    tab.goto(tab.url.split("?")[0] + "/region")
    tab.wait_for_selector("body[data-ready=yes]")
    tab.locator("#photo").focus()
    tab.keyboard.press("ArrowRight")  # the first puts a box in the middle
    first = list(map(float, marked(tab).split(",")))
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("Shift+ArrowDown")
    then = list(map(float, marked(tab).split(",")))
    assert then[0] > first[0]
    assert then[3] > first[3]
    assert then[1] == pytest.approx(first[1])
    tab.keyboard.press("Enter")
    until(lambda: tab.locator("#found .hit").count() == 12)

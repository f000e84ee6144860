"""The pages as a person uses them: in a real browser, which must be on the machine."""

import pytest

from foveola.retrieval import Retriever
from foveola.server import create_app
from server.browsing import NEEDED, dropped, listening, sent, until

pytestmark = NEEDED


@pytest.fixture(scope="module")
def address(served):
    """Of the service, listening."""
    with listening(create_app(served)) as found:
        yield found


def shown(tab):
    return [link.get_attribute("href") for link in tab.query_selector_all("a.shot")]


def test_choose_a_photograph_and_filter(tab, address, photographs, served):
    sent(tab, address, photographs[6])
    assert len(shown(tab)) == 12
    assert "/queries/" in tab.url
    assert photographs[6].stem not in tab.content()
    tab.get_by_role("checkbox", name="2 moderate NPDR").check()  # no button is pressed
    until(lambda: len(tab.query_selector_all(".hit")) != 12)
    with Retriever.open(served) as retriever:
        ids = [int(link.rsplit("/", 1)[1]) for link in shown(tab)]
        assert ids
        assert {retriever.archive.case(id_).grade for id_ in ids} == {2}
    tab.get_by_label("Condition").fill("age >")
    tab.get_by_role("button", name="Show these").click()
    tab.wait_for_selector("#found .fault")


def test_drop_a_photograph(tab, address, photographs):
    tab.goto(address)
    dropped(tab, photographs[1])
    assert tab.evaluate("document.getElementById('photograph').files.length") == 1
    until(lambda: tab.evaluate("document.getElementById('preview').naturalWidth") > 0)
    tab.get_by_role("button", name="Find similar cases").click()
    tab.wait_for_selector(".hit")


def test_compare_moves_both_and_lays_the_map_over(tab, address, photographs):
    sent(tab, address, photographs[6])
    tab.locator("a.shot").first.click()
    tab.wait_for_selector("body[data-ready=yes]")
    before = colours(tab)
    tab.get_by_label("Where the two agree").check()
    until(lambda: colours(tab) != before)
    one, two = bounds(tab)
    tab.mouse.move(350, 500)
    tab.mouse.wheel(0, -600)
    until(lambda: bounds(tab)[0][2] < one[2] * 0.9)
    tab.wait_for_timeout(800)  # the movement comes to rest
    left, right = bounds(tab)
    assert right[2] / two[2] == pytest.approx(left[2] / one[2], rel=0.02)
    tab.get_by_label("Move both together").uncheck()
    tab.mouse.move(350, 500)
    tab.mouse.wheel(0, 600)
    until(lambda: bounds(tab)[0][2] > left[2] * 1.1)
    tab.wait_for_timeout(800)
    assert bounds(tab)[1][2] == pytest.approx(right[2], rel=0.01)


# What the canvases show, and what part of its picture each viewer does.
COLOURS = """() => [...document.querySelectorAll(".viewer canvas")].map((c) => {
    const p = c.getContext("2d")?.getImageData(0, 0, c.width, c.height).data;
    return p ? p.reduce((s, v, i) => s + (i % 4 == 2 ? v : 0), 0) : 0; })"""
BOUNDS = """() => ["left", "right"].map((id) => {
    const b = OpenSeadragon.getViewer(id).viewport.getBounds(true);
    return [b.x, b.y, b.width]; })"""


def colours(tab):
    return ",".join(map(str, tab.evaluate(COLOURS)))


def bounds(tab):
    return tab.evaluate(BOUNDS)


def test_more_like_this_and_a_case(tab, address, photographs):
    sent(tab, address, photographs[6])
    first = tab.url
    tab.get_by_role("button", name="More like this").first.click()
    tab.wait_for_url(lambda url: url != first)
    tab.wait_for_selector(".hit")
    tab.get_by_role("link", name="Case").first.click()
    tab.wait_for_selector(".visits [aria-current]")


def test_the_keyboard_is_enough(tab, address, photographs):
    tab.goto(address)
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    tab.set_input_files("#photograph", photographs[3])
    tab.get_by_role("button", name="Find similar cases").focus()
    tab.keyboard.press("Enter")
    tab.wait_for_selector(".hit")


def test_light_or_dark_is_remembered(tab, address):
    tab.goto(address)

    def page():
        return tab.evaluate("getComputedStyle(document.body).backgroundColor")

    light = page()
    tab.get_by_role("button", name="Light or dark").click()
    dark = page()
    assert dark != light
    tab.reload()
    assert page() == dark


@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_is_wider_than_the_screen(browser, address, photographs, width):
    context = browser.new_context(viewport={"width": width, "height": 900})
    tab = context.new_page()
    tab.set_default_timeout(60_000)
    sent(tab, address, photographs[2])
    for _ in range(2):
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        tab.locator("a.shot").first.click()
        tab.wait_for_selector("body[data-ready=yes]")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        tab.go_back()
        tab.wait_for_selector(".hit")
    context.close()

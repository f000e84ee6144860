"""What an archive suggests, as a person sees it in a real browser."""

from pathlib import Path

import pytest

import refused
from foveola.server import create_app
from server.browsing import NEEDED, listening, shoot, until

pytestmark = NEEDED


@pytest.fixture(scope="module")
def address(learnt):
    """Of the service, listening."""
    with listening(create_app(learnt)) as found:
        yield found


def asked(tab, address, photograph):
    tab.goto(address)
    tab.set_input_files("#photograph", str(photograph))
    tab.get_by_role("button", name="Find similar cases").click()
    tab.wait_for_selector(".hit")


def shown(tab):
    return [link.get_attribute("href") for link in tab.query_selector_all("a.shot")]


def grades(tab):
    return {each.inner_text() for each in tab.query_selector_all(".hit .grade b")}


def test_the_drawing_says_what_the_sentence_says(tab, address, new_photographs):
    asked(tab, address, new_photographs[0])
    sentence = tab.inner_text(".headline")
    assert sentence.startswith("Of 100 photographs like this, ")
    rows = [row.inner_text().replace("\t", " ") for row in tab.query_selector_all(".chances tr")]
    told = [row for row in rows if int(row.rsplit("(")[0].split()[-1]) >= 5]
    assert told
    for row in told:  # "2 moderate NPDR 55 (46 to 63)"
        number = row[row.rindex(" ", 0, row.index("(") - 1) + 1 :]
        assert number in sentence
    widths = tab.evaluate(WIDTHS)
    assert all(low <= share + 0.5 and share <= high + 0.5 for share, low, high in widths)
    first = tab.evaluate(TOPS)
    assert first[0] < first[1] < first[2]  # headline, drawing, hits
    shoot(tab, "suggestion")


# In percent of the drawing: the bar, and the ends of its interval.
WIDTHS = """() => [...document.querySelectorAll(".gauged svg")].map((svg) => {
    const all = svg.getBoundingClientRect(), one = (e) => e.getBoundingClientRect();
    const bar = one(svg.querySelector(".share")), range = one(svg.querySelector(".range"));
    const part = (x) => 100 * (x - all.left) / all.width;
    return [part(bar.right), part(range.left), part(range.right)]; })"""
TOPS = """() => [".headline", ".chances", ".hit"].map(
    (name) => document.querySelector(name).getBoundingClientRect().top)"""


def test_another_order_is_chosen_and_kept(tab, address, new_photographs):
    asked(tab, address, new_photographs[0])
    learned = shown(tab)
    tab.get_by_label("Order").select_option("by looks")  # no button is pressed
    until(lambda: "Ordered by looks" in tab.inner_text("#found"))
    looks = shown(tab)
    assert looks != learned
    numbers = [float(each.inner_text()) for each in tab.query_selector_all(".hit .similarity")]
    assert numbers == sorted(numbers, reverse=True)
    with tab.expect_download() as waiting:
        tab.get_by_role("link", name="Save as a table").click()
    lines = Path(waiting.value.path()).read_text(encoding="utf-8").splitlines()
    ids = [line.split(",")[1] for line in lines[1:]]
    assert ids == [link.rpartition("/")[2] for link in looks]
    tab.locator("select[name=label]").select_option("findings")
    until(lambda: "findings are recorded" in tab.inner_text("#found"))


def test_a_condition_on_the_label_changes_no_suggestion(tab, address, new_photographs):
    asked(tab, address, new_photographs[0])
    before = tab.inner_text(".headline")
    tab.get_by_role("checkbox", name="4 PDR").check()
    until(lambda: grades(tab) == {"4"})
    assert tab.inner_text(".headline") == before
    shoot(tab, "suggestion-filtered")


def test_a_cat_gets_hits_and_no_suggestion(tab, address, tmp_path):
    asked(tab, address, refused.write(tmp_path / "cat.png", refused.cat()))
    assert "does not look like a colour photograph" in tab.inner_text("#found")
    refused.silent(tab.inner_text("main"), "cat")
    assert not tab.query_selector_all(".chances")
    shoot(tab, "suggestion-refused")


@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_is_wider_than_the_screen(browser, address, new_photographs, tmp_path, width):
    context = browser.new_context(viewport={"width": width, "height": 900})
    tab = context.new_page()
    tab.set_default_timeout(60_000)
    asked(tab, address, new_photographs[0])
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    report = tmp_path / "report.html"
    report.write_bytes(context.request.get(f"{tab.url}/report").body())
    tab.goto(report.as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    context.close()

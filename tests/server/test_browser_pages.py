"""Both eyes, marks, the audit and a study as a person does them: in a real browser."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from foveola.archive import Archive
from foveola.matching import permission, saved_audit
from foveola.server import create_app
from foveola.server.study import new_study
from server.browsing import NEEDED, listening, sent, until

pytestmark = NEEDED


@pytest.fixture(scope="module")
def folder(served, tmp_path_factory):
    """The archive with matching on, an audit's findings to decide on, and a study beside it."""
    base = tmp_path_factory.mktemp("pages")
    shutil.copytree(served, base / "A")
    permission.switch_on(base / "A", "tests of a page")
    write_findings(base / "A")
    with Archive.open(base / "A", read_only=True) as archive:
        new_study(archive, base / "S", queries=1, shown=3, controls=0.34)
    return base


def write_findings(archive):
    """As an audit would; test_identity.py runs a real one."""
    found = [
        {"key": f"{n:012x}", "kind": kind, "ids": ids, "score": 0.9, "said": said, "evidence": {"probability": 0.9}}
        for n, (kind, ids, said) in enumerate(
            [
                ("wrong side", [1], "It is filed as left, and looks like a right eye."),
                ("two splits", [2, 3], "One subject lies in the splits test and train."),
                ("label", [4, 5, 6], "2 is doubtful."),
            ],
            1,
        )
    ]
    told = {"time": "2030-01-01T00:00:00+00:00", "checked": {"photographs": 32}, "findings": found}
    (archive / saved_audit.WORKLIST).write_text(json.dumps(told), encoding="utf-8")


@pytest.fixture(scope="module")
def address(folder):
    """Of the service, listening."""
    with listening(create_app(folder / "A", study=folder / "S")) as found:
        yield found


def test_both_eyes_from_drop_to_reading(tab, address, eyes):
    tab.goto(address)
    tab.set_input_files("#photograph", [str(path) for path in eyes])
    until(lambda: tab.evaluate("document.getElementById('second').naturalWidth") > 0)
    tab.get_by_role("radio", name="right").check()
    assert "The first is the right eye" in tab.inner_text("#told")
    tab.get_by_role("button", name="Exchange left and right").click()
    assert "The first is the left eye" in tab.inner_text("#told")
    tab.get_by_role("button", name="Exchange left and right").click()
    tab.get_by_role("button", name="Find similar cases").click()
    tab.wait_for_selector(".hits.wide .hit")
    count = len(tab.query_selector_all(".hit"))
    tab.get_by_role("checkbox", name="2 moderate NPDR").check()
    until(lambda: len(tab.query_selector_all(".hit")) < count)
    tab.get_by_role("link", name="Reading", exact=True).click()
    tab.wait_for_selector(".read")
    assert "This is not a diagnosis" in tab.inner_text(".reading")
    tab.get_by_role("link", name="glaucoma").click()
    tab.wait_for_selector("h3:has-text('glaucoma')")
    overlay = tab.locator(".over").first
    tab.locator("[data-over]").fill("30")
    assert overlay.evaluate("e => getComputedStyle(e).opacity") == "0.3"
    tab.get_by_role("button", name="Exchange left and right").click()
    tab.wait_for_selector(".hits.wide .hit")


def test_blend_and_keys(tab, address, eyes):
    sent(tab, address, eyes[1])
    tab.locator("a.shot").first.click()
    tab.wait_for_selector("body[data-ready=yes]")
    before = shade(tab)
    for _ in range(5):
        tab.keyboard.press("]")
    until(lambda: shade(tab) != before)
    assert "50 % of the case" in tab.inner_text("#mixed")
    tab.keyboard.press("[")
    assert "40 % of the case" in tab.inner_text("#mixed")
    tab.keyboard.press("m")
    assert tab.locator("#map").is_checked()
    tab.keyboard.press("?")
    until(lambda: tab.locator("#keys").is_visible())
    tab.keyboard.press("Escape")
    until(lambda: not tab.locator("#keys").is_visible())


SHADE = """() => { const c = document.querySelector("#left canvas");
    const p = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
    return p.reduce((s, v, i) => s + (i % 4 < 3 ? v : 0), 0); }"""


def shade(tab):
    return tab.evaluate(SHADE)


def test_marked_hits_move_the_search(tab, address, eyes):
    sent(tab, address, eyes[1])
    marks = tab.locator(".hit").nth(3).get_by_role("checkbox")
    marks.nth(1).check()
    marks.nth(0).check()
    assert not marks.nth(1).is_checked()  # more and less exclude each other
    chosen = marks.nth(0).get_attribute("value")
    tab.locator(".hit").nth(0).get_by_role("checkbox").nth(1).check()
    tab.get_by_role("button", name="Search again with the marks").click()
    tab.wait_for_selector(".marked")
    links = [link.get_attribute("href") for link in tab.query_selector_all("a.shot")]
    assert chosen not in {link.rpartition("/")[2] for link in links}
    assert len(tab.query_selector_all(".marked label")) == 2


def test_the_audit_by_keyboard(tab, address, folder):
    tab.goto(f"{address}/audit")
    assert "0 of 3 decided" in tab.inner_text("aside")
    first = tab.inner_text("#said")
    tab.keyboard.press("j")
    tab.wait_for_selector(f"#said:not(:has-text('{first[:20]}'))")
    tab.keyboard.press("k")
    tab.wait_for_selector(f"#said:has-text('{first[:20]}')")
    tab.get_by_label("Note").fill("j 1 k")  # letters of a note are no commands
    assert tab.inner_text("#said") == first
    tab.keyboard.press("Escape")
    tab.keyboard.press("1")
    until(lambda: "1 of 3 decided" in tab.inner_text("aside"))
    tab.wait_for_selector(f"#said:not(:has-text('{first[:20]}'))")  # the next one takes keys
    tab.keyboard.press("3")
    until(lambda: "2 of 3 decided" in tab.inner_text("aside"))
    tab.keyboard.press("2")
    tab.wait_for_selector(".empty")
    text = (folder / "A" / "audit-decisions.jsonl").read_text(encoding="utf-8")
    made = [json.loads(line) for line in text.splitlines()]
    assert [each["verdict"] for each in made] == ["wrong", "unsure", "right"]
    assert made[0]["note"] == "j 1 k"


def test_the_map_leads_to_a_case(tab, address):
    tab.goto(f"{address}/overview")
    tab.wait_for_selector("body[data-points='32']")
    place = tab.evaluate("""async () => {
        const data = await (await fetch("/overview/points")).arrayBuffer();
        const n = data.byteLength / 9, side = document.getElementById("points").clientWidth - 28;
        return [14 + new Uint16Array(data, 4 * n, n)[5] / 65535 * side,
                14 + (1 - new Uint16Array(data, 6 * n, n)[5] / 65535) * side]; }""")
    tab.locator("#points").click(position={"x": place[0], "y": place[1]})
    tab.wait_for_selector("#chosen a")
    tab.locator("#chosen a").click()
    tab.wait_for_selector(".course svg")
    tab.goto(f"{address}/card")
    tab.wait_for_selector(".card table")


def test_a_study_by_keyboard(tab, address):
    tab.goto(f"{address}/study")
    tab.get_by_label("Your code").fill("R1")
    tab.keyboard.press("Enter")
    for number in range(3):
        until(lambda n=number: f"{n} of 3 answered" in tab.inner_text("main"))
        tab.wait_for_timeout(300)
        tab.keyboard.press(str(number + 1))
        tab.keyboard.press("8")
        tab.keyboard.press("Enter")
    tab.wait_for_selector("text=Thank you")
    tab.goto(f"{address}/study")
    with tab.expect_download() as waiting:
        tab.get_by_role("link", name="All answers as CSV").click()
    text = Path(waiting.value.path()).read_text(encoding="utf-8")
    rows = sorted(csv.DictReader(io.StringIO(text)), key=lambda row: int(row["order"]))
    assert [(row["score"], row["useful"]) for row in rows] == [("1", "3"), ("2", "3"), ("3", "3")]
    assert all(0.2 < float(row["seconds"]) <= float(row["server_seconds"]) + 1 for row in rows)


@pytest.mark.parametrize("width", [400, 1400])
def test_no_page_is_wider_than_the_screen(browser, address, eyes, width):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme="dark")
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(address)
    page.set_input_files("#photograph", [str(path) for path in eyes])
    page.get_by_role("radio", name="right").check()
    page.get_by_role("button", name="Find similar cases").click()
    page.wait_for_selector(".hit")
    pair = page.url
    for where in (
        address,
        pair,
        f"{pair}?show=reading",
        f"{pair}?show=left",
        f"{address}/overview",
        f"{address}/card",
        f"{address}/audit",
        f"{address}/match",
        f"{address}/study",
        f"{address}/study/readers/R7",
        f"{address}/cases/1",
    ):
        page.goto(where)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, where
    context.close()

"""All of it in one go, as an ophthalmologist does it between two patients: in a real browser."""

import csv
import io
import re
import shutil
from pathlib import Path

import pytest

from foveola.regions import switch_on
from foveola.retrieval import Retriever
from foveola.server.audit import read, verify
from server.browsing import NEEDED, as_served, dropped, log_in, shoot, until
from server.conftest import MARK
from server.people import PASSWORD, with_accounts

pytestmark = NEEDED


@pytest.fixture(scope="module")
def archive(served, tmp_path_factory):
    """With accounts, and its places kept for the search by region."""
    folder = tmp_path_factory.mktemp("visit") / "A"
    shutil.copytree(served, folder)
    with_accounts(folder, roles=("viewer",))
    switch_on(folder)
    return folder


@pytest.fixture(scope="module")
def address(archive):
    """Of the service, listening as `foveola serve` does."""
    with as_served(archive) as found:
        yield found


def shown(tab):
    return [int(link.get_attribute("href").rpartition("/")[2]) for link in tab.query_selector_all("a.shot")]


def saved(tab, name):
    with tab.expect_download() as waiting:
        tab.get_by_role("link", name=name).click()
    return Path(waiting.value.path()).read_text(encoding="utf-8")


def test_from_the_login_to_the_export(tab, address, archive, photographs, eyes):
    right = eyes[0]
    tab.goto(address)
    log_in(tab, "viewer", PASSWORD)
    tab.wait_for_selector("#zone")
    shoot(tab, "start")

    dropped(tab, right)
    tab.get_by_label("right").check()
    tab.get_by_role("button", name="Find similar cases").click()
    tab.wait_for_selector(".hit")
    shoot(tab, "hits")

    tab.get_by_role("checkbox", name="2 moderate NPDR").check()
    tab.get_by_role("checkbox", name="3 severe NPDR").check()
    with Retriever.open(archive) as retriever:
        wanted = [h.id for h in retriever.search(right, 12, where="grade in (2, 3)").hits]
    until(lambda: shown(tab) == wanted)
    query = tab.url.partition("?")[0]

    tab.locator("a.shot").first.click()
    tab.wait_for_selector("body[data-ready=yes]")
    tab.keyboard.press("m")
    assert tab.locator("#map").is_checked()
    tab.keyboard.press("]")
    assert "10 % of the case" in tab.inner_text("#mixed")
    tab.wait_for_timeout(500)
    shoot(tab, "compare")

    tab.goto(f"{query}?grade=2&grade=3")
    assert shown(tab) == wanted
    liked, disliked = wanted[2], wanted[0]
    tab.locator(f"input[name=more][value='{liked}']").check()
    tab.locator(f"input[name=less][value='{disliked}']").check()
    tab.get_by_role("button", name="Search again with the marks").click()
    tab.wait_for_selector(".marked")
    moved = shown(tab)
    assert not {liked, disliked} & set(moved)
    shoot(tab, "marks")

    rows = list(csv.DictReader(io.StringIO(saved(tab, "Save as a table"))))
    assert [int(row["id"]) for row in rows] == moved
    assert {row["grade"] for row in rows} <= {"2", "3"}
    report = saved(tab, "Save as a page")
    assert [int(id_) for id_ in re.findall(r">Case (\d+)<", report)] == moved
    assert MARK not in report

    tab.get_by_role("link", name="Cases like one place of it").click()
    tab.wait_for_selector("body[data-ready=yes]")
    where = tab.locator("#photo").bounding_box()
    x, y = where["x"] + where["width"] * 0.55, where["y"] + where["height"] * 0.45
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x + 60, y + 50, steps=5)
    tab.mouse.up()
    tab.wait_for_selector("#found .hit .boxed rect")
    shoot(tab, "region")

    tab.get_by_role("button", name="Log out").click()
    tab.wait_for_url(f"{address}/login")
    actions = [seen.action for seen in read(archive, account="viewer")]
    assert actions[0] == "log in"
    assert {"search", "compare", "export"} <= set(actions)
    exported = [set(seen.cases) for seen in read(archive) if seen.action == "export"]
    assert exported == [set(moved)] * 2
    assert verify(archive).cut == ()
    assert logs(archive)
    assert MARK not in "".join(path.read_text(errors="replace") for path in logs(archive))


def logs(archive):
    return [path for path in archive.iterdir() if path.suffix in (".log", ".jsonl")]

"""A pair whose sides are not sure, and one eye without a retina, in a real browser."""

from pathlib import Path

import pytest

import refused
from foveola.laterality import Side, Sides
from foveola.server import create_app
from server.browsing import NEEDED, SHOTS, listening

pytestmark = NEEDED


@pytest.fixture
def address(served, monkeypatch):
    app = create_app(served)
    monkeypatch.setattr(Sides, "of", lambda *_: Side("left", 0.5))
    with listening(app) as found:
        yield found


def shoot(tab, name):
    if SHOTS:
        tab.screenshot(path=f"{SHOTS}/{name}", full_page=True)


def test_a_person_is_asked_which_eye_is_which(tab, address, eyes, tmp_path):
    chest = refused.write(tmp_path / "chest.png", refused.chest())
    tab.goto(address)
    tab.set_input_files("#photograph", [str(chest), str(eyes[0])])
    tab.get_by_label("Pseudonym").fill("nobody-1")
    shoot(tab, "start.png")
    tab.get_by_role("button", name="Find similar cases").click()
    tab.wait_for_url("**/eyes/*")
    shoot(tab, "which.png")
    tab.get_by_role("radio", name="left").check()
    tab.get_by_role("button", name="Find similar cases").click()
    tab.wait_for_url("**/people/*")
    assert "nobody-1" not in tab.url
    text = tab.inner_text("#found")
    assert "The photograph of the left eye does not look like" in text
    assert "Same person: none left out" in text
    shoot(tab, "people.png")
    tab.get_by_role("link", name="Reading").click()
    tab.wait_for_selector(".reading table")
    text = tab.inner_text("#found")
    assert "was left out" in text
    assert text.count("not read") == 8
    shoot(tab, "reading.png")
    with tab.expect_download() as download:
        tab.get_by_role("link", name="Save as a page").click()
    if SHOTS:
        Path(SHOTS, "report.html").write_bytes(Path(download.value.path()).read_bytes())
        tab.goto(f"file://{SHOTS}/report.html")
        shoot(tab, "report.png")

"""The pictures of docs/how-to/user-guide.md: taken here, so that the guide shows the pages as they are.

    FOVEOLA_SHOTS=docs/images python -m pytest tests/server/test_guide.py

takes them anew, of a larger archive. Phantoms only; no patient is shown.
"""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foveola.archive import Archive
from foveola.datasets.manifest import Manifest
from foveola.indexing import add_missing
from foveola.matching import gallery, permission
from foveola.matching.worklist import audit_archive
from foveola.phantom import generate
from foveola.server import create_app
from foveola.server.study import new_study
from server.browsing import NEEDED, SHOTS, listening

pytestmark = NEEDED
GUIDE = Path(__file__).parents[2] / "docs/how-to/user-guide.md"
OUTCOMES = ("stable", "laser treatment", "injections")
LAYERS = "OpenSeadragon.getViewer('left').world.getItemCount()"
PAGES = ("people", "hits", "reading", "marks", "compare", "case", "overview", "match", "study", "audit")


@pytest.fixture(scope="module")
def work(served, tmp_path_factory):
    """An archive with outcomes, matching, and an audit of one eye in the other's place; a study."""
    folder = tmp_path_factory.mktemp("guide")
    archive = folder / "A"
    if SHOTS:
        drawn = generate(folder / "ph", subjects=40, visits=3, seed=7, size=512, masks=False)
        add_missing(archive, list(Manifest.read(drawn, collection="phantom").cases()))
    else:
        shutil.copytree(served, archive)
    with Archive.open(archive) as opened:
        opened.update_records(
            replace(case, extra={**case.extra, "outcome": OUTCOMES[id_ % 3]}) for id_, case in opened.cases()
        )
    gallery.update(archive, permission.switch_on(archive, "check of a registry's identities"))
    with Archive.open(archive) as opened:
        new_study(opened, folder / "study", queries=5)
        case = opened.case(1)
        opened.update_records([replace(case, eye="left" if case.eye == "right" else "right")])
    audit_archive(archive)
    with Archive.open(archive) as opened:
        opened.update_records([case])
    return folder


@pytest.fixture(scope="module")
def address(work):
    """Of the service, listening."""
    with listening(create_app(work / "A", study=work / "study")) as found:
        yield found


@pytest.fixture(scope="module")
def new_eyes(eyes, tmp_path_factory):
    """Both eyes of a person that the archive does not hold; larger where they are for the guide."""
    if not SHOTS:
        return eyes
    folder = tmp_path_factory.mktemp("person")
    drawn = generate(folder, subjects=2, visits=1, seed=99, size=512, masks=False)
    return [Path(case.path) for case in list(Manifest.read(drawn).cases())[:2]]


def test_every_picture_of_the_guide_can_be_taken(tab, address, new_eyes, tmp_path):
    tab.set_viewport_size({"width": 1240, "height": 860})
    for name, go in zip(PAGES, steps(tab, address, list(map(str, new_eyes))), strict=True):
        go()
        tab.wait_for_timeout(1500)
        path = Path(SHOTS or tmp_path) / f"page-{name}.jpg"
        tab.screenshot(path=path, type="jpeg", quality=62)
        with Image.open(path) as picture:
            assert np.asarray(picture.convert("L")).std() > 10, name  # more than an empty page
    shown = set(re.findall(r"images/page-(\w+)\.jpg", GUIDE.read_text(encoding="utf-8")))
    assert shown <= set(PAGES)


def steps(tab, address, eyes):
    """What is done before each picture, in the order of PAGES."""

    def people():
        tab.goto(address)
        tab.set_input_files("#photograph", eyes)
        tab.get_by_role("radio", name="right").check()
        tab.get_by_role("button", name="Find similar cases").click()
        tab.wait_for_selector(".hit")

    def hits():
        tab.get_by_role("link", name="Left eye", exact=True).click()
        tab.wait_for_selector(".answer")

    def reading():
        tab.get_by_role("link", name="Reading", exact=True).click()
        tab.wait_for_selector(".read")

    def marks():
        tab.get_by_role("link", name="Left eye", exact=True).click()
        tab.wait_for_selector(".hit")
        tab.locator(".hit").first.get_by_role("checkbox").first.check()
        tab.get_by_role("button", name="Search again with the marks").click()
        tab.wait_for_selector(".marked")

    def compare():
        tab.locator("a.shot").first.click()
        tab.wait_for_selector("body[data-ready=yes]")
        tab.locator("#map").check()
        tab.locator("#blend").fill("40")
        while tab.evaluate(LAYERS) < 3:  # the photograph, its map, and the case laid over it
            tab.wait_for_timeout(200)

    def case():
        tab.goto(f"{address}/cases/8")

    def overview():
        tab.goto(f"{address}/overview")
        tab.wait_for_selector("body[data-points]")
        tab.locator("#points").click(position={"x": 300, "y": 300})

    def match():
        tab.goto(f"{address}/match")
        tab.set_input_files("input[type=file]", eyes[0])
        tab.get_by_role("button", name="Look for the same eye").click()
        tab.wait_for_selector(".verdict")

    def study():
        tab.goto(f"{address}/study/readers/R1")

    def audit():
        tab.goto(f"{address}/audit")
        tab.wait_for_selector("#said")

    return people, hits, reading, marks, compare, case, overview, match, study, audit

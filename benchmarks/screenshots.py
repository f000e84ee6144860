"""The pictures of docs/user-guide.md, taken in a real browser.

    python benchmarks/screenshots.py docs/images [--work FOLDER] [--chromium PATH]

Draws phantoms, indexes them, allows matching, audits, draws a reader study, serves all of it and
takes the pictures: phantoms only, no patient is shown. What is in FOLDER already is used again.
"""

import argparse
import shutil
import socket
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import uvicorn
from playwright.sync_api import Page, sync_playwright

from foveola.archive import Archive
from foveola.datasets.manifest import Manifest
from foveola.indexing import add_missing
from foveola.matching import gallery, permission
from foveola.matching.kept import FILE
from foveola.matching.worklist import audit_archive
from foveola.phantom import generate
from foveola.service import create_app
from foveola.study import new_study
from foveola.study.plan import FILE as STUDY

OUTCOMES = ("stable", "laser treatment", "injections")
WIDTH, HEIGHT = 1240, 860
LAYERS = "OpenSeadragon.getViewer('left').world.getItemCount()"


def main() -> None:
    """Draw, serve, take pictures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as away:
        work = arguments.work or Path(away)
        prepare(work)
        with serving(work) as address, sync_playwright() as driver:
            browser = driver.chromium.launch(
                executable_path=arguments.chromium, chromium_sandbox=False
            )
            context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT})
            page = context.new_page()
            page.set_default_timeout(120_000)
            eyes = sorted((work / "new" / "images").iterdir())[:2]
            take_all(page, address, eyes, arguments.out, work / "A")
            browser.close()


def prepare(work: Path) -> None:
    """The archive, with matching and an audit, and a study."""
    archive = work / "A"
    if not archive.exists():
        manifest = generate(work / "ph", subjects=40, visits=3, seed=7, size=512, masks=False)
        add_missing(archive, list(Manifest.read(manifest, collection="phantom").cases()))
        generate(work / "new", subjects=2, visits=1, seed=99, size=512, masks=False)
        with Archive.open(archive) as opened:
            opened.update_records(
                replace(case, extra={**case.extra, "outcome": OUTCOMES[id_ % 3]})
                for id_, case in opened.cases()
            )
    if not (archive / permission.SETTINGS).exists():
        gallery.update(archive, permission.switch_on(archive, "check of a registry's identities"))
    if not (work / "study" / STUDY).exists():
        with Archive.open(archive, read_only=True) as opened:
            new_study(opened, work / "study", queries=5)


def audit(archive: Path) -> None:
    """Look for what is filed wrong: one eye, in the other's place."""
    if not (archive / FILE).exists():
        with Archive.open(archive) as opened:
            case = opened.case(1)
            opened.update_records([replace(case, eye="left" if case.eye == "right" else "right")])
        audit_archive(archive)


class serving:  # noqa: N801 - a context manager, named as it is used
    """The service on a free port."""

    def __init__(self, work: Path) -> None:
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        app = create_app(work / "A", study=work / "study")
        self.server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        arguments = {"sockets": [self.listener]}
        self.thread = threading.Thread(target=self.server.run, kwargs=arguments)

    def __enter__(self) -> str:
        self.thread.start()
        while not self.server.started:
            time.sleep(0.05)
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join()
        self.listener.close()


def take_all(page: Page, address: str, eyes: list[Path], out: Path, archive: Path) -> None:
    """Every picture."""

    def take(name: str) -> None:
        page.wait_for_timeout(1500)
        page.screenshot(path=out / f"page-{name}.jpg", type="jpeg", quality=62)

    page.goto(address)
    page.set_input_files("#photograph", [str(path) for path in eyes])
    page.get_by_role("button", name="Find similar cases").click()
    page.wait_for_selector(".hit")
    take("people")
    page.get_by_role("link", name="Reading", exact=True).click()
    page.wait_for_selector(".read")
    take("reading")
    page.get_by_role("link", name="Left eye", exact=True).click()
    page.wait_for_selector(".hit")
    page.locator(".hit").first.get_by_role("checkbox").first.check()
    page.get_by_role("button", name="Search again with the marks").click()
    page.wait_for_selector(".marked")
    take("marks")
    page.locator("a.shot").first.click()
    page.wait_for_selector("body[data-ready=yes]")
    page.locator("#map").check()
    page.locator("#blend").fill("40")
    while page.evaluate(LAYERS) < 3:  # the photograph, its map, and the case laid over it
        page.wait_for_timeout(500)
    take("compare")
    page.goto(f"{address}/cases/8")
    take("case")
    page.goto(f"{address}/overview")
    page.wait_for_selector("body[data-points]")
    page.locator("#points").click(position={"x": 300, "y": 300})
    take("overview")
    page.goto(f"{address}/match")
    page.set_input_files("input[type=file]", str(eyes[0]))
    page.get_by_role("button", name="Look for the same eye").click()
    page.wait_for_selector(".verdict")
    take("match")
    page.goto(f"{address}/study/readers/R1")
    take("study")
    audit(archive)  # takes longest, so last
    page.goto(f"{address}/audit")
    take("audit")


if __name__ == "__main__":
    main()

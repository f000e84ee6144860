"""An archive of phantoms, served."""

import shutil
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from foveola.datasets.manifest import Manifest
from foveola.indexing import add_missing
from foveola.phantom import generate
from foveola.server import create_app
from server.browsing import ARGUMENTS, CHROMIUM

MARK = "Mustermann"  # a person's name, in a file's


@pytest.fixture(scope="session")
def served(phantoms, tmp_path_factory) -> Path:
    """The folder of an archive whose file names tell a name."""
    folder = tmp_path_factory.mktemp("service")
    manifest = Manifest.read(phantoms, collection="phantom")
    images = folder / f"{MARK}_photographs"
    images.mkdir()
    table = manifest.table.copy()
    for row, case in enumerate(manifest.cases()):
        name = f"{MARK}_{row}{Path(case.path).suffix}"
        shutil.copy(case.path, images / name)
        table.loc[row, "image"] = f"{images.name}/{name}"
    table.to_csv(folder / "labels.csv", index=False)
    add_missing(folder / "archive", list(Manifest.read(folder / "labels.csv", collection="p").cases()))
    return folder / "archive"


@pytest.fixture(scope="session")
def client(served):
    with TestClient(create_app(served), follow_redirects=False) as made:
        yield made


@pytest.fixture(scope="session")
def photographs(served) -> list[Path]:
    """The files in the archive."""
    return sorted((served.parent / f"{MARK}_photographs").iterdir())


@pytest.fixture(scope="session")
def eyes(tmp_path_factory) -> tuple[Path, Path]:
    """Both eyes of one phantom person whom the archive does not hold: right, left."""
    folder = tmp_path_factory.mktemp("new-person")
    manifest = generate(folder, subjects=1, visits=1, seed=99, size=256, masks=False)
    files = {case.eye: Path(case.path) for case in Manifest.read(manifest).cases()}
    return files["right"], files["left"]


@pytest.fixture(scope="session")
def token(client, photographs) -> str:
    """Of one of these, sent."""
    return send(client, photographs[5])


def send(client, path, **fields) -> str:
    """Send a photograph as the page does; the token of its hits."""
    files = {"photograph": (path.name, path.read_bytes(), "image/png")}
    answer = client.post("/queries", files=files, data=fields)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"].removeprefix("/queries/")


@pytest.fixture(scope="module")
def browser():
    """Chromium, closed with the file of tests: its loop would stand in the way of others'."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS, chromium_sandbox=False)
        yield opened
        opened.close()


@pytest.fixture
def tab(browser):
    """A page; a script's fault or a refusal of the fence fails the test."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    opened = context.new_page()
    opened.set_default_timeout(60_000)
    faults = []

    def hear(message):
        if message.type == "error" and "Failed to load resource" not in message.text:
            faults.append(f"{message.text} {message.location}")

    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("console", hear)
    yield opened
    context.close()
    assert not faults

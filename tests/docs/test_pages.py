"""The manual as its reader meets it: tutorials that run, links that lead somewhere, a short README.

A block marked `sh` or `python` is run, in the order of the page. A block without a mark needs what a
test does not have: an installation, a second encoder.
"""

import importlib
import os
import re
import shutil
import socket
import subprocess
import sys
import textwrap
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from foveola.encoders.release import DEFAULT, find

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
TUTORIALS = ["first-search", "python", "evaluate", "service"]  # each goes on in the folder of the first
BLOCK = re.compile(r"^( *)```(sh|python)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
MADE = {"commands.md", "openapi.md", "openapi.json", "library.md"}  # by docs/generate.py


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the tutorials work, with `foveola` on the path."""
    folder = tmp_path_factory.mktemp("tutorials")
    command = folder / "bin" / "foveola"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m foveola "$@"\n')
    command.chmod(0o755)
    return folder


@pytest.fixture
def run(folder, monkeypatch):
    """Run every block of a page in that folder, Python in one session, services until the end."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
    with ExitStack() as services, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
        listener.close()

        def run(page):
            text = page.read_text(encoding="utf-8").replace(":8321", f":{port}")
            names = {}
            for _, kind, indented in BLOCK.findall(text):
                block = textwrap.dedent(indented)
                if kind == "python":
                    exec(compile(block, page.name, "exec"), names)
                elif block.strip().endswith("&"):
                    command = ["sh", "-c", "exec " + block.strip().removesuffix("&") + f" --port {port}"]
                    services.callback(end, subprocess.Popen(command, stdout=subprocess.DEVNULL))
                    wait_for(int(port))
                else:
                    done = subprocess.run(["sh", "-ec", block], capture_output=True, text=True, check=False)
                    assert done.returncode == 0, (block, done.stdout, done.stderr)
            return names

        yield run


def end(service):
    service.terminate()
    service.wait(60)


def wait_for(port):
    for _ in range(600):
        with socket.socket() as asking:
            if asking.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(port)


@pytest.mark.parametrize("name", TUTORIALS)
def test_every_block_of_a_tutorial_runs(run, name):
    pytest.importorskip("torch")
    names = run(DOCS / "tutorials" / f"{name}.md")
    match name:
        case "first-search":
            assert "Of 100 photographs like this" in Path("report.html").read_text(encoding="utf-8")
        case "python":
            assert len(names["hits"]) == 5
            assert names["found"].probability < 0.9
        case "service":
            assert len(names["answer"].hits) == 5


def test_every_tutorial_is_run():
    assert {path.stem for path in (DOCS / "tutorials").glob("*.md")} == set(TUTORIALS)


def test_the_blocks_of_the_readme_run_on_photographs_of_ones_own(run, folder, phantoms, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(phantoms.parent / "images", tmp_path / "photographs")
    first, second = sorted((tmp_path / "photographs").iterdir())[:2]
    first.rename(tmp_path / "fundus.jpg")
    shutil.copy(second, tmp_path / "other.jpg")
    names = run(ROOT / "README.md")
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert -1 <= names["similarity"] < 0.9999


def test_the_readme_is_short():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 150


def test_the_figures_of_the_readme_stand_in_the_card_of_the_shipped_encoder():
    card = (find(DEFAULT) / "CARD.md").read_text(encoding="utf-8")
    of_sets = {
        "ODIR-5K": "odir grade, ",
        "ODIR-5K, eight findings": "odir findings, ",
        "IDRiD": "idrid grade, (?:known|new)",
        "SRahim": "srahim grade, (?:known|new)",
        "EyePACS": "eyepacs grade, ",
        "EyePACS, 640 px": "eyepacs_hires grade, ",
        "IDRiD, left out as a whole": "idrid grade, whole",
        "SRahim, left out as a whole": "srahim grade, whole",
    }
    rows = re.findall(
        r"^\| ((?:ODIR|IDRiD|SRahim|EyePACS)[^|]*?) \|(.*)$", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    assert [name for name, _ in rows] == list(of_sets)
    for name, quoted in rows:
        measured = "".join(re.findall(rf"^\| {of_sets[name]}.*$", card, re.MULTILINE))
        figures = re.findall(r"\.\d{3}", quoted)
        assert figures
        assert set(figures) <= set(re.findall(r"0(\.\d{3})", measured)), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file_and_a_heading(page):
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)
    for link in LINK.findall(text):
        if link.startswith("http"):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        if path.name in MADE and path.parent.name == "reference":
            continue
        assert path.exists(), f"{page.name} links to {link}"
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path), f"{page.name} links to {link}"


def anchors(page):
    """The marks of a page's headings, as they are made from their texts."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)|[`*]", r"\1", heading).lower()
        found.add(re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", plain).strip()))
    return found


def test_every_page_has_its_place_on_the_site():
    listed = set(re.findall(r"^ *- (?:[\w ]+: )?([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    there = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    assert listed - {f"reference/{name}" for name in MADE} == there


@pytest.mark.parametrize("page", PAGES[:2] + PAGES[3:], ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_file_and_name_of_the_program_that_a_page_mentions_is_there(page):
    text = page.read_text(encoding="utf-8")
    for path in re.findall(r"(?<![\w/.])(?:src|tests|benchmarks|recipes|deploy)/[\w./-]*\w", text):
        assert (ROOT / path).exists() or "NAME" in path, f"{page.name} names {path}"
    for name in re.findall(r"`(foveola(?:\.\w+)+)", text):
        assert resolves(name), f"{page.name} names {name}"
    for module, names in re.findall(r"^from (foveola[\w.]*) import (.*)$", text, re.MULTILINE):
        for name in names.split(","):
            assert resolves(f"{module}.{name.strip()}"), f"{page.name} imports {name} from {module}"


def resolves(name):
    """Whether a dotted name leads to a module or what one holds."""
    first, *rest = name.split(".")
    found = importlib.import_module(first)
    for number, part in enumerate(rest, 1):
        try:
            found = getattr(found, part)
        except AttributeError:
            try:
                found = importlib.import_module(".".join([first, *rest[:number]]))
            except ImportError:
                return False
    return True


def test_the_walk_through_the_code_passes_files_that_are_there():
    text = (DOCS / "explanation/walk.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/]+\.(?:py|lark))`", text)
    assert len(named) > 20
    assert not [path for path in named if not (ROOT / "src/foveola" / path).is_file()]

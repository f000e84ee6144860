"""A photograph unlike those that the encoder knows is warned of by every door in the same words."""

import json
from pathlib import Path

import pytest

from commands import foveola
from foveola.datasets.manifest import Manifest
from foveola.encoders.reading_model import ReadingModel
from foveola.indexing import add_missing
from foveola.reading import read_people, read_person
from foveola.records import Case
from foveola.retrieval import Retriever

UNLIKE = "is unlike the photographs that the encoder knows: another camera, a rare disease, or no"


@pytest.fixture(scope="module")
def unusual(phantoms):
    """A phantom's right eye that is drawn unlike a photograph, but is not refused."""
    cases = [case for case in Manifest.read(phantoms).cases() if case.subject == "P00007"]
    return next(Path(case.path) for case in cases if case.eye == "right" and case.visit == 0)


@pytest.fixture(scope="module")
def archive(phantoms, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unusual") / "A"
    cases = list(Manifest.read(phantoms).cases())
    add_missing(folder, [case for case in cases if case.subject != "P00007"])
    return folder


def test_python_says_it_of_a_search_a_reading_a_table_and_people(unusual, archive):
    reader = ReadingModel.load()
    with Retriever.open(archive) as retriever:
        searched = retriever.search(unusual, 3).sentences
        people = retriever.search_person(None, unusual, 3)
    assert any(line.startswith(f"The photograph {UNLIKE}") for line in searched)
    (person,) = read_people(reader, [Case(image="x", path=str(unusual), subject="a", eye="right")])
    for said in (people, read_person(reader, None, unusual), person.reading):
        assert any(f"the photograph of the right eye {UNLIKE}" in line for line in said.warnings)


def test_commands_say_it_on_stderr_as_json_and_in_reports(unusual, archive, tmp_path):
    page = tmp_path / "page.html"
    for command in (
        ("search", archive, unusual),
        ("search", archive, "--right", unusual),
        ("read", "--right", unusual),
    ):
        done = foveola(*command, "--json", "--html", page)
        values = json.loads(done.stdout)
        assert UNLIKE in done.stderr
        assert UNLIKE in page.read_text()
        if "warnings" in values:
            assert any(UNLIKE in line for line in values["warnings"])

"""foveola search --left --right as a user runs it: in a process of its own."""

import csv
import json

import pytest

from commands import foveola


@pytest.fixture(scope="module")
def archive(phantoms, tmp_path_factory):
    folder = tmp_path_factory.mktemp("people") / "archive"
    foveola("index", folder, phantoms)
    return folder


@pytest.fixture(scope="module")
def eyes(phantoms):
    """The left and the right photograph of the first person's first visit."""
    with phantoms.open(newline="") as file:
        rows = list(csv.DictReader(file))
    first = [row for row in rows if (row["subject"], row["visit"]) == (rows[0]["subject"], "0")]
    paths = {row["eye"]: phantoms.parent / row["image"] for row in first}
    return paths["left"], paths["right"]


def test_people_are_printed_to_stdout_and_notes_to_stderr(archive, eyes):
    left, right = eyes
    done = foveola("search", archive, "--left", left, "--right", right, "-k", 3)
    head, *lines = done.stdout.splitlines()
    assert head.split()[:4] == ["similarity", "left", "right", "eyes"]
    assert len(lines) == 3
    assert all(line.count(".jpg") == 2 for line in lines)
    person = "1 left out, with what is so alike that it may be"
    assert done.stderr == f"14 people compared; same person: {person}\n"


def test_people_as_json_are_one_line_with_everything(archive, eyes):
    left, right = eyes
    done = foveola("search", archive, "--left", left, "--right", right, "--where", "grade >= 1", "--json")
    (line,) = done.stdout.splitlines()
    values = json.loads(line)
    assert values["judged_by"] == ["left", "right"]
    assert "left" in values["in_archive"]
    assert [hit["rank"] for hit in values["hits"]] == list(range(1, len(values["hits"]) + 1))
    for hit in values["hits"]:
        alike = [pair["similarity"] for pair in hit["pairs"]]
        assert hit["similarity"] == pytest.approx(sum(alike) / 2, abs=2e-6)
        assert {hit["left"]["subject"], hit["right"]["subject"]} == {hit["subject"]}
        assert hit["grade"] == max(hit["left"]["grade"], hit["right"]["grade"]) >= 1
        assert hit["crossed"] == (hit["pairs"][0]["eye"] == "right")


def test_one_eye_alone_is_enough_and_the_result_says_so(archive, eyes, tmp_path):
    page = tmp_path / "people.html"
    done = foveola("search", archive, "--left", eyes[0], "--html", page)
    assert "judged by the left eye alone" in done.stderr
    assert "Judged by the left eye alone." in page.read_text()
    values = json.loads(foveola("search", archive, "--right", eyes[1], "--json").stdout)
    assert values["judged_by"] == ["right"]
    assert values["query"]["left"] is None


def test_the_page_shows_both_eyes_of_everybody_and_needs_nothing_else(archive, eyes, tmp_path):
    page = tmp_path / "people.html"
    done = foveola("search", archive, "--left", eyes[0], "--right", eyes[1], "--html", page)
    assert f"report: {page}" in done.stderr
    text = page.read_text()
    assert text.count("data:image/jpeg;base64,") == 22  # the query and ten hits
    assert "does not state a diagnosis" in text
    assert "http://" not in text
    assert "https://" not in text


MISTYPED = [
    ([], "give a photograph IMAGE, or a person's eyes with --left and --right"),
    (["{left}", "--left", "{left}"], "give either IMAGE or --left and --right, not both"),
    (["--left", "{left}", "--eye", "left"], "--eye goes with IMAGE"),
]


@pytest.mark.parametrize(("arguments", "sentence"), MISTYPED)
def test_a_question_that_is_none_is_explained(archive, eyes, arguments, sentence):
    done = foveola("search", archive, *[a.format(left=eyes[0]) for a in arguments], code=2)
    assert sentence in done.stderr


def test_what_cannot_be_searched_is_said_in_one_sentence(archive, eyes, phantoms, tmp_path):
    left, right = eyes
    swapped = foveola("search", archive, "--left", right, "--right", left, code=1)
    assert "the photograph given as the left eye is case " in swapped.stderr
    assert "which knows it as the right one" in swapped.stderr
    assert right.name not in swapped.stderr
    missing = foveola("search", archive, "--left", tmp_path / "none.jpg", code=1)
    assert "none.jpg" in missing.stderr
    (tmp_path / "images").mkdir()
    (tmp_path / "images/one.jpg").write_bytes(left.read_bytes())
    foveola("index", tmp_path / "plain", tmp_path / "images")
    nobody = foveola("search", tmp_path / "plain", "--left", left, code=1)
    assert "records no subject and no eye, so people can't be compared" in nobody.stderr
    assert len(nobody.stderr.splitlines()) == 1

"""foveola read as a user runs it: in a process of its own."""

import csv
import json
from pathlib import Path

import pytest

from commands import foveola, is_private


@pytest.fixture(scope="module")
def eyes(phantoms):
    with phantoms.open(newline="") as file:
        rows = list(csv.DictReader(file))
    first = [row for row in rows if (row["subject"], row["visit"]) == (rows[0]["subject"], "0")]
    paths = {row["eye"]: phantoms.parent / row["image"] for row in first}
    return paths["left"], paths["right"]


def test_both_eyes_are_read_to_stdout(eyes, made_reader):
    done = foveola("read", *eyes, "--reader", made_reader)
    head, *lines = done.stdout.splitlines()
    assert head.split() == ["person", "left", "right"]
    assert [line.split()[0] for line in lines] == ["N", "D", "G"]
    assert "no diagnosis" in done.stderr


def test_json_says_all_on_one_line(eyes, made_reader):
    (line,) = foveola("read", *eyes, "--reader", made_reader, "--json").stdout.splitlines()
    values = json.loads(line)
    assert list(values["probabilities"]) == ["N", "D", "G"]
    assert all(0 <= p <= 1 for p in values["probabilities"].values())
    assert list(values["eyes"]) == ["left", "right"]
    assert 0 <= values["eyes"]["left"]["gradability"] <= 1
    found = [n for n, p in values["probabilities"].items() if p > values["thresholds"][n]]
    assert values["found"] == found


def test_one_eye_is_read_and_said_to_be_one(eyes, made_reader):
    done = foveola("read", "--right", eyes[1], "--reader", made_reader, "--json")
    assert list(json.loads(done.stdout)["eyes"]) == ["right"]
    assert "only the right eye was given" in done.stderr


def test_alike_people_of_an_archive_stand_beside_it(eyes, made_reader, phantoms, tmp_path):
    foveola("index", tmp_path / "archive", phantoms)
    page = tmp_path / "reading.html"
    done = foveola(
        "read", *eyes, "--reader", made_reader, "--archive", tmp_path / "archive", "-k", 3, "--html", page, "--json"
    )
    assert len(json.loads(done.stdout)["similar"]) == 3
    assert is_private(page)
    text = page.read_text()
    assert "Similar people of the archive" in text
    assert text.count('class="hit panel"') == 3
    assert "no diagnosis" in text
    assert "<script" not in text


def test_a_manifest_is_read_person_by_person(made_reader, phantoms, tmp_path):
    manifest = tmp_path / "m.csv"
    with phantoms.open(newline="") as file, manifest.open("w", newline="") as written:
        rows = list(csv.DictReader(file))[:8]  # two people, each seen twice
        table = csv.DictWriter(written, rows[0])
        table.writeheader()
        table.writerows(row | {"image": phantoms.parent / row["image"]} for row in rows)
    done = foveola("read", "--manifest", manifest, "--reader", made_reader, "--json")
    people = json.loads(done.stdout)
    assert len(people) == 4
    assert {"subject", "visit", "probabilities", "eyes", "warnings"} <= set(people[0])
    assert list(people[0]["probabilities"]) == ["N", "D", "G"]
    table = foveola("read", "--manifest", manifest, "--reader", made_reader).stdout
    assert len(table.splitlines()) == 5
    assert table.splitlines()[1].split("\t")[2] == "left+right"


def test_a_bad_photograph_in_a_manifest_is_named_and_the_rest_read(made_reader, eyes, tmp_path):
    for name in ("bad.jpg", "worse.jpg"):
        (tmp_path / name).write_bytes(b"\xff\xd8\xff")
    (tmp_path / "m.csv").write_text(f"image,subject,eye\n{eyes[0]},a,left\nbad.jpg,a,right\nworse.jpg,b,left\n")
    done = foveola("read", "--manifest", tmp_path / "m.csv", "--reader", made_reader, "--json", code=3)
    first, second = json.loads(done.stdout)
    assert list(first["eyes"]) == ["left"]
    assert second["probabilities"] is None
    assert second["failed"][0]["image"] == "worse.jpg"
    assert list(second) == list(first)  # one shape for all, as docs/how-to/reading.md shows it
    empty = {"found": [], "eyes": {}, "refused": {}, "warnings": []}
    assert {key: second[key] for key in empty} == empty
    documented = (Path(__file__).parents[2] / "docs/how-to/reading.md").read_text(encoding="utf-8")
    (shown,) = [line for line in documented.splitlines() if line.startswith('{"subject"')]
    assert list(json.loads(shown.replace(", ...", "").replace("{...}", "{}"))) == list(first)
    assert "2 photographs could not be used" in done.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((), "give LEFT and RIGHT"),
        (("{left}",), "nobody knows of which eye"),
        (("{left}", "{right}", "--manifest", "{manifest}"), "not both"),
        (("--manifest", "{manifest}", "--html", "x.html"), "for one person"),
        (("{left}", "--right", "{right}"), "not some of each"),
    ],
)
def test_what_was_typed_wrongly_is_said(given, said, eyes, phantoms):
    words = {"left": eyes[0], "right": eyes[1], "manifest": phantoms}
    done = foveola("read", *(word.format(**words) for word in given), code=2)
    assert said in done.stderr


@pytest.mark.parametrize("reader", ["nothing-such", "{encoder}"])
def test_what_is_no_reader_is_said(reader, eyes, tmp_path):
    from foveola.encoders.release import RELEASED

    name = reader.format(encoder=RELEASED / "fundus-similarity-3")
    done = foveola("read", *eyes, "--reader", name, code=1)
    assert "is no reader" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_file_that_is_no_photograph_is_said(eyes, made_reader, tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"no picture")
    done = foveola("read", eyes[0], tmp_path / "x.jpg", "--reader", made_reader, code=1)
    assert "x.jpg" in done.stderr
    assert len(done.stderr.splitlines()) == 1

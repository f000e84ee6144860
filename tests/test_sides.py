"""Two photographs of one eye are no pair, exchanged ones are told: in Python and by commands."""

import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from commands import foveola
from dicoms import to_bytes, with_pixels
from foveola.datasets.manifest import Manifest
from foveola.encoders.reading_model import ReadingModel
from foveola.errors import ImageError, PairError
from foveola.images.decode import decode
from foveola.indexing import add_missing
from foveola.laterality import TWICE, check_sides, shipped_sides
from foveola.reading import read_people, read_person
from foveola.records import Case
from foveola.retrieval import Retriever
from foveola.server import create_app
from told import tell

SAME = "both photographs seem to show a (left|right) eye; give one of each eye, or one eye alone"
EXCHANGED = "left and right seem to be exchanged"


@pytest.fixture(scope="module")
def reader(made_reader):
    return ReadingModel.load(made_reader)


@pytest.fixture(scope="module")
def cases(phantoms):
    return list(Manifest.read(phantoms).cases())


@pytest.fixture(scope="module")
def archive(cases, tmp_path_factory):
    """Without the first person."""
    folder = tmp_path_factory.mktemp("sides") / "A"
    add_missing(folder, [case for case in cases if case.subject != cases[0].subject])
    return folder


@pytest.fixture(scope="module")
def eyes(cases):
    """Left and right of the first person."""
    whose = cases[0].identity, cases[0].visit
    return {case.eye: Path(case.path) for case in cases if (case.identity, case.visit) == whose}


def bulk(reader, left, right):
    """Read as the only person of a table."""
    (person,) = read_people(
        reader,
        [
            Case(image=eye, path=str(path), subject="a", eye=eye)
            for eye, path in (("left", left), ("right", right))
            if path is not None
        ],
    )
    return person


def test_two_of_one_side_are_refused(reader, archive, eyes, monkeypatch):
    left, right = eyes["left"], eyes["right"]
    tell(monkeypatch, {left: ("left", 0.9), right: ("left", 0.97)})
    with pytest.raises(PairError, match=SAME):
        read_person(reader, left, right)
    person = bulk(reader, left, right)
    assert person.reading is None
    assert [failed.case.eye for failed in person.failed] == ["left", "right"]
    assert "seem to show a left eye" in person.failed[0].reason
    with Retriever.open(archive) as retriever:
        with pytest.raises(PairError, match=SAME):
            retriever.search_person(left, right)
        assert retriever.search_person(left, None).warnings == ()
    assert list(read_person(reader, left, None).eyes) == ["left"]


@pytest.mark.parametrize("told", [("left", 0.89), ("right", 0.99)])
def test_what_is_not_sure_or_right_is_read_without_a_word(reader, archive, eyes, monkeypatch, told):
    left, right = eyes["left"], eyes["right"]
    tell(monkeypatch, {left: ("left", 0.99), right: told})
    assert read_person(reader, left, right).sides == ()
    assert bulk(reader, left, right).reading.sides == ()
    with Retriever.open(archive) as retriever:
        assert retriever.search_person(left, right).warnings == ()


def test_exchanged_ones_are_told(reader, archive, eyes, monkeypatch):
    left, right = eyes["left"], eyes["right"]
    tell(monkeypatch, {left: ("right", 0.9), right: ("left", 0.97)})
    for said in (read_person(reader, left, right), bulk(reader, left, right).reading):
        warning, *_ = said.warnings
        assert warning.startswith(EXCHANGED)
    with Retriever.open(archive) as retriever:
        (warning,) = retriever.search_person(left, right).warnings
    assert warning.startswith(EXCHANGED)


def test_what_the_archive_records_is_believed(archive, cases, monkeypatch):
    whose = cases[-1].identity, cases[-1].visit
    known = {c.eye: Path(c.path) for c in cases if (c.identity, c.visit) == whose}
    tell(monkeypatch, {known["left"]: ("left", 0.99), known["right"]: ("left", 0.99)})
    with Retriever.open(archive) as retriever:
        assert retriever.search_person(known["left"], known["right"]).sides == ()
        retriever.doubts_subjects = lambda: True
        with pytest.raises(PairError, match=SAME):
            retriever.search_person(known["left"], known["right"])


@pytest.fixture(scope="module")
def real(shared_data):
    def photograph(name):
        return shared_data / "tvhl" / "images" / f"tvhl_{name}.jpg"

    return photograph


def test_commands_refuse_two_left_eyes_of_two_people(real, archive):
    one, two = real("1227_OI_f_3"), real("1229_OI_f_3")
    for command in (("read", one, two), ("search", archive, "--left", one, "--right", two)):
        done = foveola(*command, code=1)
        assert done.stderr.startswith("Error: both photographs seem to show a left eye; give one")


def test_commands_refuse_two_photographs_of_one_real_eye(real, archive, tmp_path):
    one, two = real("1227_OD_f_1"), real("1227_OD_f_2")
    page = tmp_path / "page.html"
    for command in (
        ("read", one, two, "--json", "--html", page),
        ("search", archive, "--left", one, "--right", two, "--json"),
    ):
        done = foveola(*command, code=1)
        assert (done.stdout, page.exists()) == ("", False)
        assert done.stderr.startswith(f"Error: {TWICE}")
    (tmp_path / "m.csv").write_text(f"image,subject,eye\n{one},a,left\n{two},a,right\n")
    done = foveola("read", "--manifest", tmp_path / "m.csv", "--json", code=3)
    (person,) = json.loads(done.stdout)
    assert person["probabilities"] is None
    assert person["failed"][0]["reason"] == TWICE


def test_what_is_said_of_two_nearly_identical_photographs_of_one_eye_is_true(real, archive):
    one, two = real("1221_OI_f_3"), real("1221_OI_f_4")
    for command in (("read", one, two), ("search", archive, "--left", one, "--right", two)):
        done = foveola(*command, code=1)
        assert done.stderr.startswith(f"Error: {TWICE}")


def test_commands_warn_of_exchanged_real_eyes(real, archive, tmp_path):
    left, right = real("1232_OD_f_1"), real("1232_OI_f_3")
    page = tmp_path / "page.html"
    for command in (("read", left, right), ("search", archive, "--left", left, "--right", right)):
        done = foveola(*command, "--json", "--html", page)
        assert any(line.startswith(EXCHANGED) for line in json.loads(done.stdout)["warnings"])
        assert f"warning: {EXCHANGED}" in done.stderr
        assert EXCHANGED in page.read_text()
    (tmp_path / "m.csv").write_text(f"image,subject,eye\n{left},a,left\n{right},a,right\n")
    table = ("read", "--manifest", tmp_path / "m.csv")
    (person,) = json.loads(foveola(*table, "--json").stdout)
    assert person["warnings"][0].startswith(EXCHANGED)
    assert "1 person has warnings, which --json lists" in foveola(*table).stderr


def test_hardly_a_true_pair_is_refused(real):
    # three of 671 that it was not fitted to are, and these rightly so: docs/explanation/matching-measured.md
    for number in (1222, 1227, 1229, 1232):
        pair = {"left": f"{number}_OI_f_3", "right": f"{number}_OD_f_1"}
        told = {eye: shipped_sides().of(decode(real(name))) for eye, name in pair.items()}
        assert check_sides(told) == ()


# What a file's header says


@pytest.fixture(scope="module")
def headed(eyes, tmp_path_factory):
    """DICOM images of both eyes, whose headers say which they are."""
    folder = tmp_path_factory.mktemp("headed")
    for eye, path in eyes.items():
        made = with_pixels(decode(path), ImageLaterality=eye[0].upper())
        (folder / f"{eye}.dcm").write_bytes(to_bytes(made))
    return {eye: folder / f"{eye}.dcm" for eye in eyes}


def test_a_header_that_says_the_other_eye_is_heard(reader, archive, headed):
    left, right = headed["left"], headed["right"]
    said = "is given as the left eye, and its header says that it is the right one"
    assert list(read_person(reader, left, right).eyes) == ["left", "right"]
    with pytest.raises(ImageError, match=said):
        read_person(reader, right, left)
    assert said in bulk(reader, right, None).failed[0].reason
    with Retriever.open(archive) as retriever:
        assert len(retriever.search_person(left, right)) > 0
        assert retriever.search(left, 1).query.eye == "left"
        for door in (lambda: retriever.search(right, 1, eye="left"), lambda: retriever.search_person(right, left)):
            with pytest.raises(ImageError, match=said):
                door()
    with TestClient(create_app(archive)) as client:
        mixed = {"left": right.read_bytes(), "right": left.read_bytes()}
        one = {"photograph": mixed["left"]}
        for answer in (
            client.post("/api/v1/read", files=mixed),
            client.post("/api/v1/read", files={"left": mixed["left"]}, data={"k": 0}),
            client.post("/api/v1/search", files=one, data={"eye": "left"}),
            client.post("/queries", files=one, data={"eye": "left"}),
        ):
            assert (answer.status_code, said in answer.text) == (422, True), answer.text


def test_a_curated_record_is_believed_before_a_header(cases, headed, tmp_path):
    add_missing(tmp_path / "A", [*cases[:4], Case(image="odd", path=str(headed["left"]), subject="odd", eye="right")])
    with Retriever.open(tmp_path / "A") as retriever:
        assert retriever.search(headed["left"], 1, eye="right").query.eye == "right"
        assert retriever.search(headed["left"], 1).query.eye == "right"

"""Of what shows no retina, or too little of it, nothing is said, in Python and by commands."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import refused
from commands import foveola
from foveola.datasets.manifest import Manifest
from foveola.encoders.reading_model import ReadingModel
from foveola.errors import ImageError
from foveola.images.decode import decode
from foveola.indexing import add_missing
from foveola.reading import prepare_eye, read_people, read_person, read_prepared
from foveola.records import Case
from foveola.retrieval import Retriever

NAMES = ("chest", "cat", "black", "noise", "blotches", "plain", "disc", "tinted", "poor", "blurred", "tiny")
WHY = "does not look like a colour photograph of the retina|shows too little of the retina"


@pytest.fixture(scope="module")
def reader(made_reader):
    return ReadingModel.load(made_reader)


@pytest.fixture(scope="module")
def eyes(phantoms):
    """Both eyes of one person."""
    first, *rest = Manifest.read(phantoms).cases()
    fellow = next(c for c in rest if (c.identity, c.visit) == (first.identity, first.visit))
    files = {case.eye: Path(case.path) for case in (first, fellow)}
    return files["left"], files["right"]


@pytest.fixture(scope="module")
def folder(eyes, tmp_path_factory):
    """Every such picture, as a file."""
    made = tmp_path_factory.mktemp("refused")
    for name, pixels in refused.unreadable(refused.read(eyes[0])).items():
        refused.write(made / f"{name}.png", pixels)
    return made


@pytest.fixture(scope="module")
def retriever(phantoms, tmp_path_factory):
    archive = tmp_path_factory.mktemp("archive") / "A"
    add_missing(archive, list(Manifest.read(phantoms).cases()))
    with Retriever.open(archive) as opened:
        yield opened


@pytest.mark.parametrize("name", NAMES)
def test_no_door_of_python_reads_it(reader, retriever, folder, eyes, name):
    picture = folder / f"{name}.png"
    for left, right in ((picture, None), (None, picture)):
        with pytest.raises(ImageError, match=WHY):
            read_person(reader, left, right)
    with pytest.raises(ImageError, match=WHY):
        read_prepared(reader, {"left": prepare_eye(reader, decode(picture))})
    alone = read_person(reader, None, eyes[1])
    both = read_person(reader, picture, eyes[1])
    assert list(both.eyes) == ["right"]
    assert (both.probabilities == alone.probabilities).all()
    assert list(both.refused) == ["left"]
    assert any("left eye" in line and "was left out" in line for line in both.warnings)
    with pytest.raises(ImageError, match=WHY):
        retriever.search_person(picture, None)
    found = retriever.search_person(picture, eyes[1], 3)
    assert found.judged_by == ("right",)
    wanted = retriever.search_person(None, eyes[1], 3)
    assert [hit.ids for hit in found.hits] == [hit.ids for hit in wanted.hits]
    assert "left out" in " ".join(found.warnings)


def test_a_table_says_who_was_not_read_and_why(reader, folder, eyes):
    cases = [
        Case(image=f"{name}-{eye}", path=str(path), subject=name, eye=eye)
        for name in NAMES
        for eye, path in (("left", folder / f"{name}.png"), ("right", eyes[1]))
    ]
    cases.append(Case(image="alone", path=str(folder / "cat.png"), subject="alone", eye="left"))
    *people, last = read_people(reader, cases)
    for person in people:
        assert list(person.reading.eyes) == ["right"]
        assert [failed.case.eye for failed in person.failed] == ["left"]
    assert last.reading is None
    assert "does not look like" in last.failed[0].reason


def test_both_eyes_in_one_frame_are_refused(reader, retriever, eyes, tmp_path):
    frame = refused.write(tmp_path / "frame.png", np.concatenate([refused.read(eye) for eye in eyes], axis=1))
    for ask in (
        lambda: read_person(reader, frame, None),
        lambda: read_person(reader, frame, eyes[1]),
        lambda: retriever.search(frame),
        lambda: retriever.search_person(frame, None),
    ):
        with pytest.raises(ImageError, match="two fields of view or more, such as both eyes in one frame"):
            ask()


def test_two_of_them_are_refused_with_both_reasons(reader, folder):
    with pytest.raises(ImageError, match=r"left eye does not .* right eye shows too little"):
        read_person(reader, folder / "cat.png", folder / "poor.png")


def test_a_photograph_is_read_as_before(reader, eyes):
    reading = read_person(reader, *eyes)
    assert not reading.refused
    assert list(reading.eyes) == ["left", "right"]


def test_real_radiographs_are_refused_and_real_retinas_read(reader, shared_data):
    pictures = sorted((shared_data / "hannover_cxr").rglob("*.jpg"))[:40:10]
    assert pictures
    for picture in pictures:
        with pytest.raises(ImageError, match=WHY):
            read_person(reader, picture, None)
    for picture in sorted((shared_data / "idrid").rglob("*.jpg"))[:3]:
        assert list(read_person(reader, picture, None).eyes) == ["left"]


def test_the_commands_say_a_sentence_in_their_place(folder, eyes, made_reader, retriever):
    archive = retriever.archive.folder
    options = ("--reader", made_reader, "--archive", archive, "--json")
    done = foveola("read", "--left", folder / "chest.png", *options, code=1)
    assert not done.stdout
    assert "does not look like a colour photograph of the retina" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    done = foveola("read", folder / "chest.png", eyes[1], *options)
    said = json.loads(done.stdout)
    assert list(said["eyes"]) == ["right"]
    assert list(said["refused"]) == ["left"]
    assert len(said["similar"]) == 5
    assert "left out" in done.stderr
    done = foveola("search", archive, "--left", folder / "chest.png", "--json", code=1)
    assert "does not look like" in done.stderr


def resaved(path, folder):
    """One picture in other files."""
    image = cv2.imread(str(path))
    assert cv2.imwrite(str(folder / "same.png"), image)
    assert cv2.imwrite(str(folder / "again.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 70])
    assert cv2.imwrite(str(folder / "mirrored.png"), image[:, ::-1])
    half = cv2.resize(image, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)
    assert cv2.imwrite(str(folder / "smaller.png"), half)
    assert cv2.imwrite(str(folder / "brighter.png"), np.uint8(np.minimum(image * 1.1, 255)))
    (folder / "copy.jpg").write_bytes(path.read_bytes())


@pytest.mark.parametrize("name", ["copy.jpg", "same.png", "again.jpg", "mirrored.png", "smaller.png", "brighter.png"])
def test_one_picture_is_not_two_eyes(reader, retriever, eyes, tmp_path, name):
    resaved(eyes[0], tmp_path)
    other = tmp_path / name
    with pytest.raises(ImageError, match="same photograph, or two of the same eye"):
        read_person(reader, eyes[0], other)
    with pytest.raises(ImageError, match="same photograph, or two of the same eye"):
        retriever.search_person(eyes[0], other)
    cases = [
        Case(image=eye, path=str(path), subject="a", eye=eye) for eye, path in (("left", eyes[0]), ("right", other))
    ]
    (person,) = read_people(reader, cases)
    assert person.reading is None
    assert "same photograph, or two of the same eye" in person.failed[0].reason


def test_whose_it_is_not_known_is_said(retriever, eyes, tmp_path):
    resaved(eyes[0], tmp_path)
    new = tmp_path / "again.jpg"
    known = next(case.subject for _, case in retriever.archive.cases())
    unknown = retriever.search(new, 3)
    assert unknown.sentences[-1] == "Same person: not known whose photograph this is."
    assert retriever.search(new, 3, subject="nobody").sentences[-1] == "Same person: none left out."
    assert retriever.search(new, 3, subject=known).sentences[-1].startswith("Same person: 4 left out")
    done = foveola("search", retriever.archive.folder, new, "-k", 2)
    assert "same person: not known whose photograph this is; ordered" in done.stderr

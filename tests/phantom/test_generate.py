import csv
import json
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from foveola.errors import ConfigError, ImageError
from foveola.phantom import COLUMNS, COMMENT, KINDS, generate, grades, make_subject, read_masks

SIZE = 160


def rows_of(manifest: Path) -> list[dict[str, str]]:
    with manifest.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "phantom.json"
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "out"
    generate(folder, subjects=3, visits=2, seed=5, size=SIZE, workers=2)
    return folder


def test_same_seed_gives_the_same_bytes_whatever_the_number_of_workers(made, tmp_path):
    generate(tmp_path / "again", subjects=3, visits=2, seed=5, size=SIZE, workers=1)
    assert bytes_of(tmp_path / "again") == bytes_of(made)


def test_another_seed_gives_other_images(made, tmp_path):
    generate(tmp_path / "other", subjects=1, visits=1, seed=6, size=SIZE)
    other = bytes_of(tmp_path / "other")
    assert not {*other.values()} & {*bytes_of(made).values()}


def test_a_subject_does_not_depend_on_how_many_subjects_or_visits_are_asked_for(made, tmp_path):
    generate(tmp_path / "one", subjects=1, visits=1, seed=5, size=SIZE)
    one, many = bytes_of(tmp_path / "one"), bytes_of(made)
    del one["manifest.csv"]
    assert len(one) == 4  # an image and a mask file for each eye
    assert all(many[name] == data for name, data in one.items())


def test_manifest_has_a_row_for_each_image_and_the_columns_in_order(made):
    rows = rows_of(made / "manifest.csv")
    assert tuple(rows[0]) == COLUMNS
    assert COLUMNS[:6] == ("image", "subject", "eye", "visit", "grade", "findings")
    assert {row["image"] for row in rows} == {f"images/{p.name}" for p in made.glob("images/*")}
    assert len(rows) == 3 * 2 * 2
    assert {row["visit"] for row in rows} == {"0", "12"}
    assert {row["eye"] for row in rows} == {"left", "right"}
    assert {row["phantom"] for row in rows} == {"1"}
    assert all((made / row["masks"]).is_file() for row in rows)
    ages = {(row["subject"], row["eye"], row["visit"]): int(row["age"]) for row in rows}
    assert all(ages[s, e, "12"] == ages[s, e, "0"] + 1 for s, e, _ in ages)


def test_findings_follow_grade_and_drusen(tmp_path):
    rows = rows_of(generate(tmp_path / "out", subjects=24, visits=1, seed=1, size=128, masks=False))
    for row in rows:
        letters = set(row["findings"].split(";"))
        assert ("D" in letters) == (row["grade"] != "0")
        assert ("A" in letters) == (row["drusen"] != "0")
        assert ("N" in letters) == (letters == {"N"})
    assert {letter for row in rows for letter in row["findings"].split(";")} == {"N", "D", "A"}


def test_without_masks_no_mask_is_written_and_the_images_are_the_same(made, tmp_path):
    manifest = generate(tmp_path / "out", subjects=1, visits=1, seed=5, size=SIZE, masks=False)
    assert not list((tmp_path / "out" / "masks").iterdir())
    assert {row["masks"] for row in rows_of(manifest)} == {""}
    name = "images/P00000_L_m000.jpg"
    assert (tmp_path / "out" / name).read_bytes() == (made / name).read_bytes()


def test_mask_file_gives_back_every_kind(made):
    masks = read_masks(made / "masks" / "P00000_R_m000.png")
    assert tuple(masks) == KINDS
    assert all(mask.shape == (SIZE, SIZE) and mask.dtype == np.bool_ for mask in masks.values())
    assert masks["vessels"].mean() > 0.03
    assert 0.01 < masks["disc"].mean() < 0.03


@pytest.mark.parametrize("content", [None, b"", b"no png"])
def test_a_bad_mask_file_is_an_image_error(content, tmp_path):
    path = tmp_path / "mask.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageError, match="mask file"):
        read_masks(path)


def test_every_jpeg_says_in_its_comment_that_it_is_no_patient(made):
    segment = b"\xff\xfe" + (len(COMMENT) + 2).to_bytes(2, "big") + COMMENT.encode()
    for path in made.glob("images/*.jpg"):
        data = path.read_bytes()
        assert data[:4] == b"\xff\xd8\xff\xe0"  # JFIF wants its APP0 first
        assert segment in data[:100]
        assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape == (SIZE, SIZE, 3)
    assert COMMENT == "Foveola phantom - not a patient"


def test_grade_never_falls_and_all_grades_occur():
    courses = [grades(make_subject(0, n), eye, 6) for n in range(150) for eye in ("right", "left")]
    assert all(a <= b for course in courses for a, b in pairwise(course))
    assert any(course[0] < course[-1] for course in courses)
    assert {course[0] for course in courses} == {0, 1, 2, 3, 4}


def test_fellow_eyes_have_like_grades():
    subjects = [make_subject(0, n) for n in range(100)]
    gaps = [abs(grades(s, "right", 1)[0] - grades(s, "left", 1)[0]) for s in subjects]
    assert max(gaps) <= 2
    assert 0.1 < np.mean(np.array(gaps) > 0) < 0.7


def test_a_strangers_folder_is_refused_and_left_alone(tmp_path):
    keep = tmp_path / "holiday.jpg"
    keep.write_bytes(b"mine")
    with pytest.raises(ConfigError, match=r"not empty and holds no phantom.*new or an empty"):
        generate(tmp_path, subjects=1, visits=1, size=128)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_file_in_the_folders_place_is_refused(tmp_path):
    path = tmp_path / "out"
    path.write_text("")
    with pytest.raises(ConfigError, match="is a file; expected a folder"):
        generate(path, subjects=1, visits=1, size=128)


def test_a_run_over_an_earlier_one_leaves_only_its_own_images_and_strange_files(tmp_path):
    generate(tmp_path / "out", subjects=2, visits=1, seed=5, size=128)
    (tmp_path / "out" / "images" / "notes.txt").write_text("keep")
    (tmp_path / "out" / "images" / "P00001_R_m000.jpg.part").write_bytes(b"killed here")
    generate(tmp_path / "out", subjects=1, visits=1, seed=5, size=128)
    names = {path.name for path in (tmp_path / "out" / "images").iterdir()}
    assert names == {"P00000_R_m000.jpg", "P00000_L_m000.jpg", "notes.txt"}


def test_a_killed_run_leaves_no_manifest_and_can_be_repeated(made, tmp_path):
    def stop(done: int, total: int) -> None:
        assert total == 12
        if done >= 4:
            raise KeyboardInterrupt

    ask = {"subjects": 3, "visits": 2, "seed": 5, "size": SIZE}
    generate(tmp_path / "out", **ask)
    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path / "out", **ask, progress=stop, workers=1)
    assert len(list((tmp_path / "out" / "images").glob("*.jpg"))) < 12  # the queue was dropped
    assert not (tmp_path / "out" / "manifest.csv").exists()
    assert json.loads((tmp_path / "out" / "phantom.json").read_text())["seed"] == 5
    generate(tmp_path / "out", **ask)
    assert bytes_of(tmp_path / "out") == bytes_of(made)


def test_progress_counts_images_up_to_all(tmp_path):
    seen = []
    generate(tmp_path / "out", subjects=1, visits=2, size=128, progress=lambda *x: seen.append(x))
    assert seen == [(2, 4), (4, 4)]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"subjects": 0}, "subjects is 0; expected 1 to"),
        ({"visits": 0}, "visits is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"size": 64}, "size is 64; expected 128 to 2048"),
        ({"workers": 0}, "workers is 0"),
    ],
)
def test_a_number_out_of_range_is_named_and_nothing_is_written(wrong, says, tmp_path):
    with pytest.raises(ConfigError, match=says):
        generate(tmp_path / "out", **({"subjects": 1, "visits": 1, "size": 128} | wrong))
    assert not (tmp_path / "out").exists()


def test_opencv_keeps_its_number_of_threads(tmp_path):
    before = cv2.getNumThreads()
    generate(tmp_path / "out", subjects=1, visits=1, size=128)
    assert cv2.getNumThreads() == before

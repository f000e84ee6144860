"""foveola evaluate by split files, and with figures, as a user runs it."""

import json
import shutil
import subprocess
import sys

import pytest

from commands import is_private
from foveola.trust import Seen


def evaluate(archive, *arguments, code=0):
    command = [sys.executable, "-m", "foveola", "evaluate", archive, *arguments, "--bootstrap", 20]
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=300, check=False, umask=0o022
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def places(phantoms, tmp_path_factory):
    """Archive of ten people's eyes named as in the Kaggle set, ungraded, and split files.

    Of the three queries 0_right and 1_right have their fellow eye in the gallery; 2_right and
    9_right are in no file. Grades are 0, 1, 2, 0, ... by subject.
    """
    folder = tmp_path_factory.mktemp("split")
    photographs = sorted((phantoms.parent / "images").iterdir())[:20]
    names = [f"{subject}_{eye}" for subject in range(10) for eye in ("left", "right")]
    (folder / "images").mkdir()
    for photograph, name in zip(photographs, names, strict=True):
        shutil.copy(photograph, folder / "images" / f"{name}.jpg")
    index = [sys.executable, "-m", "foveola", "index", folder / "archive", folder / "images"]
    subprocess.run([str(part) for part in index], check=True, capture_output=True, timeout=300)
    parts = {"train": ["0_left", "1_left", *names[6:14]], "val": names[14:19], "test": ["0_right", "1_right", "2_left"]}
    (folder / "files").mkdir()
    for part, images in parts.items():
        grades = {name: int(name.split("_")[0]) % 3 for name in images}
        text = [f"{n} {' '.join(str(int(g == i)) for i in range(5))}" for n, g in grades.items()]
        (folder / "files" / f"{part}.txt").write_text("\n".join(text))
    return folder


def test_the_author_s_protocol_ranks_fellow_eyes_and_warns(places):
    done = evaluate(places / "archive", "--split-files", places / "files", "--json")
    values = json.loads(done.stdout)
    assert (values["queries"], values["gallery"]) == (3, 15)
    assert values["settings"]["exclude"] == "none"
    assert values["excluded_same_subject"] == {"pairs": 0, "queries": 0}
    assert values["split"] == {"protocol": "author", "queries_with_subject_in_gallery": 2, "cases_in_no_file": 2}
    assert "warning: 2 of 3 queries (67 %) have an image of the same subject" in done.stderr
    assert "2 cases of the archive are in no split file" in done.stderr
    # ranked are one eye of 0, 1 and 9, both of 3 to 8: 6 of grade 0 (of 0, 3, 6, 9), 5 and 4
    ranked = {"0": 6, "1": 5, "2": 4}
    chance = values["metrics"]["mHR@10"]["chance"]["per_grade"]
    assert chance == pytest.approx({grade: n / 15 for grade, n in ranked.items()})


def test_the_same_files_by_subject_keep_people_apart_without_a_warning(places):
    arguments = ("--split-files", places / "files", "--split", "subject", "--json")
    done = evaluate(places / "archive", *arguments)
    values = json.loads(done.stdout)
    assert values["queries"] + values["gallery"] == 18
    assert values["queries"] == pytest.approx(3, abs=1)
    assert values["settings"]["exclude"] == "subject"
    assert values["excluded_same_subject"]["pairs"] == 0  # there is none to leave out
    assert values["split"]["queries_with_subject_in_gallery"] == 0
    assert "warning" not in done.stderr


def marked(places, folder, *names):
    """The archive with an encoder that was trained on these photographs."""
    archive = shutil.copytree(places / "archive", folder / "marked")
    Seen.of_files(places / "images" / f"{name}.jpg" for name in names).save(archive / "encoder")
    return archive


def test_what_the_encoder_was_trained_on_is_counted_on_both_sides(places, tmp_path):
    archive = marked(places, tmp_path, "0_right", "2_left", "2_right", "0_left", "3_left", "9_left")
    page = tmp_path / "e.html"
    split = ("--split-files", places / "files")
    done = evaluate(archive, *split, "--json", "--html", page)
    # 2_right is in no file
    assert json.loads(done.stdout)["trained_on"] == {"queries": 2, "gallery": 3, "asked": 3, "ranked": 15}
    sentence = "the encoder was trained on 2 of the 3 photographs that ask (67 %)"
    assert f"warning: {sentence}; of new ones it finds less" in done.stderr
    assert sentence in page.read_text()


def test_figures_are_written_where_asked(places, tmp_path):
    archive, files = places / "archive", places / "files"
    other = shutil.copytree(archive, tmp_path / "other")
    arguments = ("--split-files", files, "--plots", tmp_path / "figures", "--against", other)
    done = evaluate(archive, *arguments)
    written = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert written == ["map.png", "precision.png", "retrieved.png", "subjects.png"]
    assert is_private(tmp_path / "figures")
    assert "figures: " in done.stderr
    assert "figures: " not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (["--split", "subject"], "--split needs --split-files", 2),
        (["--map", "tsne"], "--map needs --plots", 2),
        (["--split-files", "{files}", "--exclude", "eye"], "give neither --queries nor", 2),
        (["--split-files", "{files}", "--queries", "{images}"], "give neither --queries nor", 2),
        (["--split-files", "{images}"], "train.txt: no such file; split files are train.txt", 1),
        (["--split-files", "{files}", "--plots", "{files}/test.txt"], "is a file", 2),
    ],
)
def test_options_that_do_not_fit_are_refused(places, arguments, words, code):
    given = [a.format(files=places / "files", images=places / "images") for a in arguments]
    assert words in evaluate(places / "archive", *given, code=code).stderr


def test_an_image_that_is_not_indexed_is_named_by_file_and_row(places, tmp_path):
    files = shutil.copytree(places / "files", tmp_path / "files")
    with (files / "val.txt").open("a") as file:
        file.write("\n12345_left 1 0 0 0 0")
    said = evaluate(places / "archive", "--split-files", files, code=1).stderr
    assert "val.txt, row 6: no indexed image has this name" in said
    assert "12345" not in said

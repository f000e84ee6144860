"""What foveola index and foveola search say of photographs that may not be gradable."""

import html
import json
import shutil

import cv2
import numpy as np
import pytest

from commands import foveola


@pytest.fixture(scope="module")
def folder(phantoms, tmp_path_factory):
    """Three sound phantoms, and one of them nearly black."""
    folder = tmp_path_factory.mktemp("gradability") / "photographs"
    folder.mkdir()
    sound = sorted((phantoms.parent / "images").iterdir())[:3]
    for path in sound:
        shutil.copy(path, folder)
    dark = cv2.imread(str(sound[0])).astype(np.float32) * 0.1
    cv2.imwrite(str(folder / "dark.png"), dark.astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def indexed(folder, tmp_path_factory):
    archive = tmp_path_factory.mktemp("gradability") / "archive"
    result = foveola("index", archive, folder, "--json")
    assert result.returncode == 0, result.stderr
    return archive, result


def test_index_counts_them_on_stderr_and_names_them_in_json(indexed):
    _, result = indexed
    (doubtful,) = json.loads(result.stdout)["may_not_be_gradable"]
    assert doubtful["image"] == "dark.png"
    assert 0 <= doubtful["gradability"] < 0.5
    assert "1 of the 4 added may be too dark, blurred or hazy to be graded" in result.stderr


def test_index_again_says_nothing_of_those_that_are_there_already(indexed, folder):
    archive, _ = indexed
    result = foveola("index", archive, folder, "--json")
    values = json.loads(result.stdout)
    assert (values["unchanged"], values["relabelled"]) == (4, 0)
    assert values["may_not_be_gradable"] == []
    assert "graded" not in result.stderr


def test_search_warns_of_its_query_in_words_json_and_report(indexed, folder, tmp_path):
    archive, _ = indexed
    page = tmp_path / "report.html"
    result = foveola("search", archive, folder / "dark.png", "--json", "--html", page)
    assert result.returncode == 0
    value = json.loads(result.stdout)["gradability"]
    assert value < 0.5
    said = f"may be too dark, blurred or hazy to be graded (gradability {value:.2f})"
    assert f"The photograph {said}" in result.stderr
    assert said in html.unescape(page.read_text())


def test_search_says_nothing_of_a_sound_query(indexed, folder, tmp_path):
    archive, _ = indexed
    sound = next(path for path in sorted(folder.iterdir()) if path.name != "dark.png")
    page = tmp_path / "report.html"
    result = foveola("search", archive, sound, "--json", "--html", page)
    assert json.loads(result.stdout)["gradability"] > 0.9
    assert "graded" not in result.stderr
    assert "to be graded" not in page.read_text()


def test_search_for_people_warns_of_the_eye_it_is_of(phantoms, folder, tmp_path):
    assert foveola("index", tmp_path / "archive", phantoms).returncode == 0
    sound = next(path for path in sorted(folder.iterdir()) if path.name != "dark.png")
    other = next(folder.glob("*_R_*"))
    dim = cv2.imread(str(other)).astype(np.float32) * 0.15  # a retina is still seen
    cv2.imwrite(str(tmp_path / "dim.png"), dim.astype(np.uint8))
    asked = "--left", sound, "--right", tmp_path / "dim.png"  # the archive knows the left
    result = foveola("search", tmp_path / "archive", *asked, "--json")
    assert result.returncode == 0, result.stderr
    gradability = json.loads(result.stdout)["gradability"]
    assert gradability["right"] < 0.5 < gradability["left"]
    assert "the photograph of the right eye may be too dark" in result.stderr
    assert "the left eye may" not in result.stderr
    asked = "--left", sound, "--right", folder / "dark.png"
    result = foveola("search", tmp_path / "archive", *asked, "--json")
    said = "the photograph of the right eye shows too little of the retina and was left out"
    assert said in result.stderr
    assert json.loads(result.stdout)["judged_by"] == ["left"]


def test_what_shows_no_retina_is_counted_apart(tmp_path):
    (tmp_path / "pictures").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "pictures" / "noise.png"), noise)
    result = foveola("index", tmp_path / "A", tmp_path / "pictures", "--json")
    assert json.loads(result.stdout)["no_retina"] == ["noise.png"]
    assert "1 of the 1 added do not look like colour photographs of the retina" in result.stderr
    assert "graded" not in result.stderr

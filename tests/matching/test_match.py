"""The same eye again, on phantoms whose identity is known, and the command as a user types it."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import refused
from foveola.answers import local_case
from foveola.archive import Archive
from foveola.datasets.manifest import Manifest
from foveola.encoders.release import DEFAULT, MATCHER
from foveola.errors import ImageError, MatchingError
from foveola.indexing import add_missing
from foveola.matching import gallery, permission
from foveola.matching.match import Matcher, answer, months_between, to_page, to_text
from foveola.phantom.anatomy import make_eye, make_subject
from foveola.phantom.rendering import render
from foveola.records import Case


def foveola(*arguments):
    return subprocess.run([sys.executable, "-m", "foveola", *map(str, arguments)], capture_output=True, text=True)


@pytest.fixture
def later(phantoms):
    """Second visits."""
    cases = Manifest.read(phantoms / "manifest.csv", collection="p").cases()
    return [case for case in cases if case.visit == 12]


@pytest.fixture
def again(archive, tmp_path, write_jpeg):
    """A case of the archive, and its photograph darker and turned: surely the same eye."""
    with Archive.open(archive, read_only=True) as opened:
        case = next(case for _, case in opened.cases() if case.visit == 0)
    image = cv2.imread(case.path)[..., ::-1]
    turn = cv2.getRotationMatrix2D((192, 192), 8, 1.05)
    moved = cv2.warpAffine((0.8 * image).astype(np.uint8), turn, (384, 384))
    return case, write_jpeg(tmp_path / "again.jpg", moved)


def test_later_visits_are_found_and_dated(archive, later):
    right = 0
    drawn = [case for case in later if case.subject != "P00002"]  # taken for no retina
    with Matcher.open(archive) as matcher:
        for case in drawn[:8]:
            result = matcher.match(Path(case.path), visit=12.0)
            first = result.candidates[0]
            right += (first.case.subject, first.case.eye) == (case.subject, case.eye)
            assert sum(c.probability for c in result.candidates) < len(result.candidates)
            assert [c.rank for c in result.candidates] == list(range(1, len(result.candidates) + 1))
            bound = matcher.calibration.pairs[1] * 0.5 / result.considered
            assert result.most == pytest.approx(bound / (bound + 1 - 0.5 / result.considered))
            chances = [c.probability for c in result.candidates]
            assert max(chances) <= result.most + 1e-9
            assert chances == sorted(chances, reverse=True)
            for found in result.found:
                assert (found.case.subject, found.case.eye) == (case.subject, case.eye)
                assert found.months == (0 if found.case.visit == 12 else 12)
    assert right >= 4


def test_an_eye_that_is_not_there_is_no_match(archive, tmp_path, write_jpeg):
    with Matcher.open(archive) as matcher, Archive.open(archive, read_only=True) as opened:
        for number in range(4):
            stranger = render(make_eye(make_subject(77, number), "left"), [0], size=384).image
            result = matcher.match(write_jpeg(tmp_path / f"s{number}.jpg", stranger))
            assert result.found == ()
            assert result.none > 0.5
            assert to_text(result).startswith("No match: ")
            assert answer(result, opened, local_case).match is False


@pytest.mark.parametrize("name", ["chest", "cat", "black", "noise", "disc", "poor", "tiny"])
def test_what_shows_no_retina_has_no_probability(archive, later, tmp_path, name):
    made = refused.unreadable(refused.read(later[0].path))[name]
    picture = refused.write(tmp_path / f"{name}.png", made)
    why = "does not look like a colour photograph of the retina|shows too little of the retina"
    with Matcher.open(archive) as matcher, pytest.raises(ImageError, match=why):
        matcher.match(picture)
    done = foveola("match", archive, picture, "--json", "--html", tmp_path / "match.html")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.search(f"^Error: the photograph ({why}), so nothing is said of it", done.stderr)
    assert not (tmp_path / "match.html").exists()


def test_what_shows_no_retina_is_no_candidate(archive, later, tmp_path):
    chest = refused.write(tmp_path / "chest.png", refused.chest())
    add_missing(archive, [Case(image="chest", path=str(chest), subject="x", eye="left")])
    assert gallery.update(archive, permission.permission(archive)) == ()
    with Matcher.open(archive) as matcher:
        result = matcher.match(Path(later[0].path), candidates=1000)
    assert len(result.candidates) == result.considered - 1
    assert str(chest) not in {each.case.path for each in result.candidates}


def test_the_file_itself_is_not_its_own_match(archive):
    with Matcher.open(archive) as matcher:
        _, own = next(matcher.archive.cases())
        result = matcher.match(Path(own.path))
    assert result.in_archive
    assert own.path not in {c.case.path for c in result.candidates}
    assert "holds this very file, which is left out" in to_text(result)


def test_every_question_is_logged_and_tells_no_one(archive, later):
    with Matcher.open(archive) as matcher:
        for _ in range(2):
            matcher.match(Path(later[0].path))
        with pytest.raises(ImageError):
            matcher.match(Path(__file__))
    uses = permission.read_log(archive)[1:]
    assert [use["action"] for use in uses] == ["match"] * 3
    assert uses[0]["query"] == uses[1]["query"] != uses[2]["query"]
    text = (archive / permission.LOG).read_text()
    assert str(later[0].subject) not in text
    assert Path(later[0].path).name not in text


def test_it_is_refused_where_it_is_off_or_cannot_be_logged(archive, later):
    with Matcher.open(archive) as matcher:
        (archive / permission.LOG).unlink()
        (archive / permission.LOG).mkdir()
        with pytest.raises(MatchingError, match="without a log"):
            matcher.match(Path(later[0].path))
    (archive / permission.LOG).rmdir()
    permission.switch_off(archive)
    with pytest.raises(MatchingError, match="is switched off"):
        Matcher.open(archive)


def test_a_candidate_whose_file_is_gone_is_counted_not_compared(archive, later, tmp_path):
    copies = tmp_path / "copies"
    with Archive.open(archive / gallery.FOLDER, read_only=True) as inner:
        cases = [case for _, case in inner.cases()]
    copies.mkdir()
    moved = Path(cases[0].path)
    shutil.move(moved, copies / moved.name)
    try:
        with Matcher.open(archive) as matcher:
            result = matcher.match(Path(later[0].path), candidates=len(cases))
    finally:
        shutil.move(copies / moved.name, moved)
    assert result.unread == 1


def test_what_is_added_and_removed_is_followed(archive, phantoms):
    everyone = list(Manifest.read(phantoms / "manifest.csv", collection="p").cases())
    add_missing(archive, everyone)
    gallery.update(archive, permission.permission(archive))
    with Archive.open(archive / gallery.FOLDER, read_only=True) as inner:
        assert len(inner) == len(everyone)
    gone = foveola("remove", archive, "--subject", everyone[0].subject, "--json")
    assert json.loads(gone.stdout)["removed"] == 4
    with Archive.open(archive / gallery.FOLDER, read_only=True) as inner:
        assert everyone[0].subject not in {case.subject for _, case in inner.cases()}


def test_another_encoder_needs_a_new_start(archive):
    allowed = permission.Permission(purpose="x", encoder=DEFAULT)
    assert gallery.update(archive, allowed) == ()  # the same files under another name
    bad = archive / gallery.FOLDER / "encoder" / "calibration.json"
    bad.unlink()
    with pytest.raises(MatchingError, match="foveola matching calibrate"):
        Matcher.open(archive)


def test_what_an_earlier_shipped_encoder_described_goes_on_by_it(archive, later):
    unnamed = permission.Permission(purpose="x")  # the archive was made by the stand-in
    add_missing(archive, later[:1])
    assert gallery.update(archive, unnamed) == ()
    with (
        Archive.open(archive / gallery.FOLDER, read_only=True) as inner,
        Archive.open(archive, read_only=True) as outer,
    ):
        assert len(inner) == len(outer)
    named = permission.Permission(purpose="x", encoder=MATCHER)
    with pytest.raises(MatchingError, match=f"not by '{MATCHER}'; switch matching off and on again"):
        gallery.update(archive, named)


def test_the_page_shows_each_pair_and_what_speaks_for_it(archive, again):
    with Matcher.open(archive) as matcher:
        result = matcher.match(again[1], visit=12.0)
    assert result.found[0].case.path == again[0].path
    assert re.match(r"[12] of the 36 photographs probably shows? the same eye\.", to_text(result))
    page = to_page(result, shown=3)
    assert page.count('class="panel pair"') == 3
    assert page.count("data:image/jpeg;base64,") >= 6
    for word in ("Same eye", "Prior", "phantom images", "agree on one map", "does not state"):
        assert word in page
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_months_between_visits():
    assert months_between(0, 12.0) == 12
    assert months_between("2020-01-01", "2021-01-01") == pytest.approx(12.02, abs=0.01)
    assert months_between("2020-01-01", 12.0) is None
    assert months_between(None, 3.0) is None
    assert months_between("2020", "soon") is None


def test_the_command_says_that_it_is_off_then_answers(archive, again, tmp_path, stand_in):
    case, query = again
    assert foveola("matching", "off", archive).returncode == 0
    assert not (archive / gallery.FOLDER).exists()
    refused = foveola("match", archive, query)
    assert refused.returncode == 1
    assert "is switched off" in refused.stderr
    assert "Traceback" not in refused.stderr
    on = foveola("matching", "on", archive, "--purpose", "a test", "--encoder", stand_in)
    assert on.returncode == 0, on.stderr
    assert "36 photographs described" in on.stdout
    html = tmp_path / "match.html"
    done = foveola("match", archive, query, "--json", "--html", html, "--visit", "12")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["match"] is True
    assert said["candidates"][0]["case"]["subject"] == case.subject
    assert said["candidates"][0]["months_to_query"] == 12
    assert np.isfinite(said["probability_of_none"])
    assert html.read_text().startswith("<!doctype html>")
    log = json.loads(foveola("matching", "log", archive, "--json").stdout)
    assert [use["action"] for use in log][-3:] == ["switched off", "switched on", "match"]
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(query.read_bytes()[:2000])
    bad = foveola("match", archive, broken)
    assert bad.returncode == 1
    assert bad.stderr.startswith("Error: broken.jpg")

"""What is filed wrong is found, what is right is left alone, decisions are kept."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from foveola.datasets.manifest import Manifest
from foveola.indexing import add_missing
from foveola.matching import gallery, permission
from foveola.matching.saved_audit import Finding, key
from foveola.matching.worklist import audit_archive, counts, to_dict, to_page, to_text
from foveola.records import Case


def foveola(*arguments):
    return subprocess.run([sys.executable, "-m", "foveola", *map(str, arguments)], capture_output=True, text=True)


def make(folder, cases, stand_in):
    add_missing(folder, cases)
    gallery.update(folder, permission.switch_on(folder, "tests", str(stand_in)))
    return folder


def copied(case, path, alter=None, **record):
    """A photograph in a file of its own, altered or not."""
    if alter is None:
        shutil.copy(case.path, path)
    else:
        image = alter(cv2.imread(case.path))
        cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return replace(case, image=path.name, path=str(path), **record)


@pytest.fixture(scope="module")
def planted(phantoms, stand_in, tmp_path_factory):
    """First visits of 12 people with one error of each kind that needs no likeness of eyes."""
    work = tmp_path_factory.mktemp("audit")
    everyone = Manifest.read(phantoms / "manifest.csv", collection="p").cases()
    cases = [replace(c, extra={**c.extra, "split": "train"}) for c in everyone if c.visit == 0]
    people = sorted({c.subject for c in cases})

    def of(subject, eye="right"):
        return next(c for c in cases if (c.subject, c.eye) == (subject, eye))

    darker = lambda image: (image * 0.8).astype("uint8")  # noqa: E731
    extra = [
        copied(of(people[0]), work / "new.jpg", darker, subject="new"),
        copied(of(people[1]), work / "same.jpg"),
        copied(of(people[2]), work / "darker.jpg", darker),
        copied(of(people[3]), work / "side.jpg", darker, eye="left"),
    ]
    cases = [
        replace(c, extra={**c.extra, "split": "test"}) if c.subject == people[4] and c.eye == "left" else c
        for c in cases
    ]
    return make(work / "archive", [*cases, *extra], stand_in), people


def of_kind(work, kind):
    return [{Path(work.cases[i].path).name for i in f.cases} for _, f in work.open if f.kind == kind]


@pytest.fixture(scope="module")
def work(planted):
    return audit_archive(planted[0], labels=False)


def test_one_eye_under_two_subjects_is_raised(work, planted):
    (found,) = of_kind(work, "one eye, two subjects")
    assert found == {f"{planted[1][0]}_R_m000.jpg", "new.jpg"}


def test_copies_are_raised_whatever_they_are_filed_as(work, planted):
    found = of_kind(work, "copy")
    people = planted[1]
    for person, copy in ((1, "same.jpg"), (2, "darker.jpg"), (0, "new.jpg"), (3, "side.jpg")):
        assert {f"{people[person]}_R_m000.jpg", copy} in found
    assert len(found) == 4


def test_one_eye_filed_as_both_is_a_wrong_side(work, planted):
    found = of_kind(work, "wrong side")
    assert {f"{planted[1][3]}_R_m000.jpg", "side.jpg"} in found


def test_a_subject_in_two_splits_is_raised(work, planted):
    (found,) = of_kind(work, "two splits")
    assert found == {f"{planted[1][4]}_{eye}_m000.jpg" for eye in "RL"}


def test_each_finding_says_what_it_rests_on(work):
    said = to_dict(work)
    for finding in said["findings"]:
        assert finding["said"].endswith(".")
        assert finding["evidence"]
        assert 0 <= finding["score"] <= 1
        assert len(finding["key"]) == 12
    assert said["open"]["copy"] == 4
    assert sum(said["open"].values()) == len(said["findings"])
    assert json.loads(json.dumps(said)) == said
    text = to_text(work)
    assert "copy: 4" in text
    assert "each is a question to a person" in text


def test_the_page_shows_the_photographs_and_how_to_decide(work):
    page = to_page(work)
    assert page.count('class="panel pair"') == sum(counts(work).values())
    assert "Laid over each other" in page
    assert "--decide" in page


def test_what_was_decided_is_not_raised_again(planted, tmp_path):
    archive = tmp_path / "archive"
    shutil.copytree(planted[0], archive)
    first = json.loads(foveola("audit", archive, "--json", "--no-labels").stdout)
    one = next(f["key"] for f in first["findings"] if f["kind"] == "one eye, two subjects")
    decided = foveola("audit", archive, "--decide", one, "right", "--note", "twins")
    assert decided.returncode == 0, decided.stderr
    html = tmp_path / "audit.html"
    again = foveola("audit", archive, "--json", "--no-labels", "--html", html)
    said = json.loads(again.stdout)
    assert one not in {f["key"] for f in said["findings"]}
    assert [(d["key"], d["verdict"], d["note"]) for d in said["decided"]] == [(one, "right", "twins")]
    assert html.exists()
    refused = foveola("audit", archive, "--decide", "nonsense", "right")
    assert refused.returncode == 1
    assert "is no finding" in refused.stderr
    log = [use["action"] for use in permission.read_log(archive)]
    assert log.count("audit") == 3  # one of them before the archive was copied
    permission.switch_off(archive)
    off = foveola("audit", archive)
    assert off.returncode == 1
    assert "is switched off" in off.stderr


def test_a_finding_keeps_its_key_until_its_records_change():
    cases = [Case(image=str(i), path=f"/{i}", subject=f"s{i}", eye="left") for i in range(3)]
    one = Finding(kind="copy", cases=(0, 1), score=0.5, said="x")
    assert key(one, cases) == key(replace(one, cases=(1, 0), score=0.9), cases)
    assert key(one, cases) != key(replace(one, kind="two splits"), cases)
    relabelled = [replace(cases[0], subject="other"), *cases[1:]]
    assert key(one, relabelled) != key(one, cases)
    label = Finding(kind="label", cases=(0, 1, 2), score=1, said="x", evidence={"value": "grade 2"})
    assert key(label, cases) == key(replace(label, cases=(0, 2, 1)), cases)

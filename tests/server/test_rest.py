"""Reading, matching, cases, jobs and numbers over REST, on an archive that is changed meanwhile."""

import json
import shutil
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from foveola.archive import Archive
from foveola.datasets.manifest import Manifest
from foveola.encoders.reading_model import ReadingModel
from foveola.indexing import add_missing
from foveola.matching import permission
from foveola.reading import read_person
from foveola.retrieval import Retriever
from foveola.server import create_app

COUNT = 8  # photographs in the archive, of the 32 phantoms


@pytest.fixture(scope="module")
def cases(phantoms):
    return list(Manifest.read(phantoms, collection="p").cases())


@pytest.fixture
def folder(cases, tmp_path) -> Path:
    """An archive of the first two people that a test may change."""
    add_missing(tmp_path / "A", cases[:COUNT])
    return tmp_path / "A"


@pytest.fixture(scope="module")
def root(phantoms) -> Path:
    """The folder that may be imported from."""
    return phantoms.parent


@pytest.fixture
def client(folder, root):
    with TestClient(create_app(folder, import_root=root)) as made:
        yield made


@pytest.fixture(scope="module")
def refusing(cases, root, tmp_path_factory):
    """A service like that of `client` for what must change nothing."""
    folder = tmp_path_factory.mktemp("refusing") / "A"
    add_missing(folder, cases[:COUNT])
    with TestClient(create_app(folder, import_root=root)) as made:
        made.folder = folder
        yield made
    assert not list(folder.glob("photographs/*/*"))
    with Archive.open(folder, read_only=True) as archive:
        assert len(archive) == COUNT


@pytest.fixture(scope="module")
def fixed(cases, tmp_path_factory):
    """An archive of all phantoms, served, that no test changes."""
    folder = tmp_path_factory.mktemp("fixed") / "A"
    add_missing(folder, cases)
    with TestClient(create_app(folder)) as made:
        made.folder = folder
        yield made


def upload(path):
    return ("name-of-a-person.jpg", Path(path).read_bytes(), "image/jpeg")


def add(client, path, **fields):
    return client.post("/api/v1/cases", files={"photograph": upload(path)}, data=fields)


def search(client, path, **fields):
    answer = client.post("/api/v1/search", files={"photograph": upload(path)}, data=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ended(client, id_):
    """The job, when it has ended."""
    for _ in range(600):
        job = client.get(f"/api/v1/jobs/{id_}").json()
        if job["state"] not in ("queued", "running"):
            return job
        time.sleep(0.05)
    raise AssertionError(job)


def submit(client, **wanted):
    answer = client.post("/api/v1/jobs", json=wanted)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/api/v1/jobs/{answer.json()['id']}"
    return answer.json()["id"]


def refused(answer, status):
    """That an answer is one sentence with this status."""
    assert answer.status_code == status, answer.text
    sentence = answer.json()["detail"]
    assert isinstance(sentence, str)
    assert "\n" not in sentence
    return sentence


# Reading


def test_a_reading_is_what_python_says(fixed, cases):
    left, right = (next(c for c in cases if c.eye == eye) for eye in ("left", "right"))
    wanted = read_person(ReadingModel.load(), Path(left.path), Path(right.path))
    files = {"left": upload(left.path), "right": upload(right.path)}
    said = fixed.post("/api/v1/read", files=files, data={"k": 3}).json()
    assert list(said["probabilities"]) == list("NDGCAHMO")
    assert list(said["probabilities"].values()) == pytest.approx(wanted.probabilities, abs=1e-6)
    assert list(said["thresholds"].values()) == pytest.approx(wanted.thresholds, abs=1e-6)
    assert said["found"] == list(wanted.found)
    assert said["eyes"]["left"]["gradability"] == pytest.approx(wanted.eyes["left"].gradability, abs=1e-4)
    with Retriever.open(fixed.folder) as retriever:
        people = retriever.search_person(Path(left.path), Path(right.path), 3)
    assert [hit["subject"] for hit in said["similar"]] == [hit.subject for hit in people.hits]
    assert [hit["left"]["id"] for hit in said["similar"]] == [h.ids["left"] for h in people.hits]
    assert said["similar_missing"] is None


def test_one_eye_is_read_alone_and_said_to_be(fixed, cases):
    said = fixed.post("/api/v1/read", files={"left": upload(cases[1].path)}, data={"k": 0}).json()
    assert list(said["eyes"]) == ["left"]
    assert "only the left eye" in said["warnings"][0]
    assert said["similar"] == []


def test_what_cannot_be_read_is_said(fixed, cases):
    same = {"left": upload(cases[0].path), "right": upload(cases[0].path)}
    assert "same photograph" in refused(fixed.post("/api/v1/read", files=same), 422)
    assert "send left" in refused(fixed.post("/api/v1/read"), 422)
    text = {"left": ("x.jpg", b"no photograph", "image/jpeg")}
    assert refused(fixed.post("/api/v1/read", files=text), 422).startswith("the left photograph: ")


# Matching


def test_matching_is_refused_until_it_is_allowed_and_each_use_is_logged(fixed, cases):
    files = {"photograph": upload(cases[0].path)}
    assert "switched off" in refused(fixed.post("/api/v1/match", files=files), 403)
    permission.switch_on(fixed.folder, "a test")
    from foveola.matching import gallery

    gallery.update(fixed.folder, permission.permission(fixed.folder))
    said = fixed.post("/api/v1/match", files=files, data={"visit": "12"}).json()
    assert said["in_archive"] is True
    assert said["purpose"] == "a test"
    chances = [each["probability"] for each in said["candidates"]]
    assert chances == sorted(chances, reverse=True)
    best = said["candidates"][0]["case"]
    assert (best["subject"], best["eye"]) == (cases[0].subject, cases[0].eye)
    assert fixed.get(f"/api/v1/cases/{best['id']}").json() == best
    uses = permission.read_log(fixed.folder)
    assert [use["action"] for use in uses] == ["switched on", "match"]
    assert uses[-1]["by"] == "rest"
    permission.switch_off(fixed.folder)
    gallery.discard(fixed.folder)
    assert "switched off" in refused(fixed.post("/api/v1/match", files=files), 403)
    assert len(permission.read_log(fixed.folder)) == 3  # the refusals are no uses


# Cases


def test_pages_of_cases_hold_each_once(fixed, cases):
    seen, after = [], 0
    while after is not None:
        page = fixed.get("/api/v1/cases", params={"limit": 7, "after": after}).json()
        assert page["total"] == len(cases)
        seen += [case["id"] for case in page["cases"]]
        after = page["next"]
    assert seen == list(range(1, len(cases) + 1))


def test_a_condition_chooses_cases(fixed, cases):
    wanted = [i for i, case in enumerate(cases, 1) if (case.grade or 0) >= 1 and case.eye == "left"]
    page = fixed.get("/api/v1/cases", params={"where": "grade >= 1 and eye = 'left'"}).json()
    assert [case["id"] for case in page["cases"]] == wanted
    assert (page["total"], page["next"]) == (len(wanted), None)
    refused(fixed.get("/api/v1/cases", params={"where": "grade >"}), 422)


def test_an_added_photograph_is_found_at_once_and_kept_without_its_name(client, folder, cases):
    new = cases[COUNT]
    before = search(client, new.path)
    assert before["in_archive"] is False
    answer = add(
        client,
        new.path,
        subject="s9",
        eye="left",
        visit="2026-03-31",
        grade=2,
        findings="H;D",
        extra='{"age": 61, "camera": "T"}',
        collection="c",
    )
    assert answer.status_code == 201, answer.text
    said = answer.json()
    assert said["new"] is True
    record = said["case"]
    assert (record["subject"], record["eye"], record["visit"]) == ("s9", "left", "2026-03-31")
    assert (record["grade"], record["findings"]) == (2, ["D", "H"])
    assert record["extra"] == {"age": 61, "camera": "T"}
    assert search(client, new.path)["in_archive"] is True
    assert client.get(f"/api/v1/cases/{record['id']}/thumbnail").status_code == 200
    with Archive.open(folder, read_only=True) as archive:
        case = archive.case(record["id"])
        assert len(archive) == COUNT + 1
    kept = Path(case.path)
    assert kept.read_bytes() == Path(new.path).read_bytes()
    assert kept.is_relative_to(folder / "photographs")
    assert "name-of-a-person" not in case.path + case.image


def test_its_descriptor_is_what_indexing_makes(client, folder, cases, tmp_path):
    add(client, cases[COUNT].path, eye=cases[COUNT].eye)
    add_missing(tmp_path / "B", [cases[COUNT]])
    with Archive.open(folder, read_only=True) as one, Archive.open(tmp_path / "B") as other:
        assert np.array_equal(one.vectors()[1][-1], other.vectors()[1][0])


def test_the_same_again_changes_nothing_and_another_record_is_refused(client, cases):
    first = add(client, cases[COUNT].path, grade=1)
    again = add(client, cases[COUNT].path, grade=1)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["new"] is False
    assert again.json()["case"] == first.json()["case"]
    assert "another record" in refused(add(client, cases[COUNT].path, grade=2), 409)
    assert client.get("/api/v1/cases").json()["total"] == COUNT + 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"grade": 7}, "grade"),
        ({"eye": "both"}, "eye"),
        ({"visit": "soon"}, "visit: expected"),
        ({"extra": "[1]"}, "extra: expected"),
        ({"extra": '{"grade": 1}'}, "extra: a column"),
        ({"extra": '{"a": NaN}'}, "extra: expected"),
        ({"extra": '{"a": [1]}'}, "extra: expected"),
        ({"subject": "a\0b"}, "subject"),
        ({"extra": "[" * 5000}, "extra: expected"),
        ({"extra": '{"a": "\\ud800"}'}, "extra: expected"),
    ],
)
def test_a_record_that_no_case_has_is_refused(refusing, cases, fields, words):
    assert refused(add(refusing, cases[COUNT].path, **fields), 422).startswith(words)


def test_of_a_photograph_that_cannot_be_used_nothing_is_kept(refusing, cases, tmp_path):
    short = tmp_path / "short.jpg"
    short.write_bytes(Path(cases[COUNT].path).read_bytes()[:-2000])
    assert refused(add(refusing, short), 422).startswith("the photograph: ")
    black = np.zeros((20, 20, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "small.png"), black)
    assert "at least 64" in refused(add(refusing, tmp_path / "small.png"), 422)
    assert not list(refusing.folder.glob("photographs/*/*"))


def test_a_deleted_case_is_gone_with_its_photograph(client, folder, cases):
    id_ = add(client, cases[COUNT].path).json()["case"]["id"]
    (kept,) = folder.glob("photographs/*/*")
    assert client.delete(f"/api/v1/cases/{id_}").status_code == 204
    assert not kept.exists()
    refused(client.get(f"/api/v1/cases/{id_}"), 404)
    refused(client.delete(f"/api/v1/cases/{id_}"), 404)
    assert search(client, cases[COUNT].path)["in_archive"] is False
    assert client.delete("/api/v1/cases/1").status_code == 204
    assert Path(cases[0].path).exists()  # it lies elsewhere and is not the archive's


@pytest.mark.parametrize("id_", [0, -1, 10**30])
def test_no_number_of_a_case_is_a_fault(fixed, id_):
    for address in (f"/api/v1/cases/{id_}", f"/api/v1/cases/{id_}/picture", f"/cases/{id_}"):
        assert fixed.get(address).status_code in (404, 422)


# Jobs


def test_a_folder_on_the_server_is_imported_with_progress(client, root, cases):
    id_ = submit(client, kind="index", source="manifest.csv", collection="p")
    job = ended(client, id_)
    assert (job["state"], job["done"], job["total"]) == ("done", len(cases), len(cases))
    assert job["result"]["added"] == len(cases) - COUNT
    assert job["result"]["unchanged"] == COUNT
    assert client.get("/api/v1/ready").json()["cases"] == len(cases)  # without a restart
    assert client.get("/api/v1/jobs").json()[0]["id"] == id_
    assert str(root) not in json.dumps(job)


@pytest.mark.parametrize("source", ["../x", "/etc", "images/../../..", "none", "phantom.json"])
def test_nothing_outside_is_imported(refusing, source):
    job = ended(refusing, submit(refusing, kind="index", source=source))
    assert job["state"] == "failed"
    assert "source" in job["sentence"]


def test_neither_a_manifest_nor_a_link_leads_outside(cases, folder, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "labels.csv").write_text(f"image\n{cases[9].path}\n")
    (root / "images").mkdir()
    (root / "images" / "a.jpg").symlink_to(cases[9].path)
    with TestClient(create_app(folder, import_root=root)) as client:
        for source in ("labels.csv", "images", "images/a.jpg"):
            job = ended(client, submit(client, kind="index", source=source))
            assert job["state"] == "failed"
            assert "outside" in job["sentence"]
            assert cases[9].path not in job["sentence"]


def test_an_import_costs_what_is_bad_alone_and_says_what_it_passed_over(cases, folder, tmp_path):
    root = tmp_path / "root"
    (root / "images" / ".hidden").mkdir(parents=True)
    good = [shutil.copy(case.path, root / "images") for case in cases[-2:]]
    (root / "images" / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    (root / "images" / "notes.txt").write_text("x")
    (root / "images" / "a.dcm").write_bytes(bytes(128) + b"DICM")
    rows = [
        f"{path},{subject}"
        for path, subject in zip(good * 2, ("M\u00fcller", "\u00a0Mu\u0308l\u200bler "), strict=False)
    ]
    (root / "labels.csv").write_text("\n".join(["image,subject", *rows, "images/bad.jpg,x"]), encoding="utf-8")
    with TestClient(create_app(folder, import_root=root)) as client:
        job = ended(client, submit(client, kind="index", source="images"))
        assert job["state"] == "done"
        assert (job["result"]["added"], job["result"]["failed"]) == (2, 1)
        assert job["result"]["passed_over"] == {
            "DICOM files, which dicom://FOLDER takes": 1,
            "files that are no photographs": 1,
            "hidden files and folders": 1,
        }
        assert client.get(f"/api/v1/jobs/{job['id']}").json() == job
        again = ended(client, submit(client, kind="index", source="labels.csv", collection="\u2003c "))
        assert (again["result"]["relabelled"], again["result"]["failed"]) == (2, 1)
        assert again["result"]["passed_over"] == {}
        asked = {"where": "subject = 'M\u00fcller' and collection = 'c'"}
        assert client.get("/api/v1/cases", params=asked).json()["total"] == 2


def test_without_an_allowed_folder_nothing_is_imported(fixed):
    wanted = {"kind": "index", "source": "."}
    assert "--import-root" in refused(fixed.post("/api/v1/jobs", json=wanted), 422)


def test_a_subject_and_chosen_cases_are_removed(client, cases):
    job = ended(client, submit(client, kind="remove", subject=cases[0].subject))
    count = sum(case.subject == cases[0].subject for case in cases[:COUNT])
    assert (job["state"], job["result"]) == ("done", {"removed": count})
    left = [case["id"] for case in client.get("/api/v1/cases").json()["cases"]]
    assert len(left) == COUNT - count
    job = ended(client, submit(client, kind="remove", ids=left[:2]))
    assert job["result"] == {"removed": 2}
    job = ended(client, submit(client, kind="remove", ids=[left[2], left[0]]))
    assert job["state"] == "failed"  # all or none
    assert client.get(f"/api/v1/cases/{left[2]}").status_code == 200


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"kind": "delete"},
        {"kind": "remove"},
        {"kind": "remove", "ids": [1], "subject": "x"},
        {"kind": "remove", "ids": []},
        {"kind": "index"},
        {"kind": "settle", "more": 1},
        {"kind": "index", "source": "a\0b"},
    ],
)
def test_a_job_that_is_none_is_refused(refusing, wanted):
    refused(refusing.post("/api/v1/jobs", json=wanted), 422)


def test_no_job_is_told_of_where_there_is_none(refusing):
    for ask in (refusing.get, refusing.delete):
        refused(ask("/api/v1/jobs/0000"), 404)


# Numbers


def test_numbers_count_templates_and_never_addresses(fixed, cases):
    search(fixed, cases[3].path, where="subject = 'Mustermann'")
    fixed.get("/api/v1/cases/31")
    fixed.get("/api/v1/cases/Mustermann")
    fixed.get("/Mustermann")
    fixed.get("/static/style.css")
    text = fixed.get("/api/v1/metrics").text
    assert 'route="/api/v1/cases/{id}"' in text
    assert 'route="none",status="404"' in text
    assert "Mustermann" not in text
    assert "/cases/31" not in text
    numbers = {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if not line.startswith("#")
    }
    assert numbers["foveola_cases"] == len(cases)
    assert numbers["foveola_jobs"] == 0
    assert numbers["foveola_search_seconds_count"] >= 1
    assert numbers["foveola_encode_seconds_sum"] > 0
    asked = 'foveola_requests_total{method="POST",route="/api/v1/search",status="200"}'
    assert numbers[asked] == numbers["foveola_search_seconds_count"]

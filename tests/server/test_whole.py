"""The archive as a whole, and a reader study, as a browser asks for them."""

import csv
import io
import re

import numpy as np
import pytest
from fastapi.testclient import TestClient

from foveola import files
from foveola.archive import Archive
from foveola.errors import StudyError
from foveola.server import create_app
from foveola.server.study import new_study
from server.conftest import MARK, send
from server.test_pages import found


def test_the_overview_says_what_there_is(client, served):
    text = client.get("/overview").text
    with Archive.open(served, read_only=True) as archive:
        info = archive.info()
        ids, _ = archive.vectors()
    for grade, count in info.grades.items():
        if grade.isdecimal():
            assert re.search(rf'<th scope="row">{grade} [^<]+</th><td>{count}</td>', text)
    assert "By camera" in text
    data = client.get("/overview/points").content
    assert np.frombuffer(data, "<u4", len(ids)).tolist() == ids.tolist()
    assert 'href="/match"' not in text  # matching is off
    assert MARK not in text


def test_the_card_is_text(client, served):
    text = client.get("/card").text
    assert "<h1>" in text
    assert "<table>" in text
    card = served / "encoder" / "CARD.md"
    kept = card.read_text(encoding="utf-8")
    try:
        card.write_text(kept + "\n<script>alert(1)</script>\n", encoding="utf-8")
        assert "<script>alert" not in client.get("/card").text
        card.unlink()
        assert client.get("/card").status_code == 404
    finally:
        card.write_text(kept, encoding="utf-8")


def test_marks_move_the_search(client, token):
    plain = found(client.get(f"/queries/{token}").text)
    text = client.get(f"/queries/{token}", params={"more": plain[-2:], "less": plain[0]}).text
    again = found(text)
    assert not {plain[0], *plain[-2:]} & set(again)
    assert len(again) == len(plain)  # others come in their places
    marked = re.findall(r'name="(more|less)" value="(\d+)" checked', text)
    assert marked == [*(("more", str(i)) for i in sorted(plain[-2:])), ("less", str(plain[0]))]
    assert "How far to trust such a hit is not known" in text
    assert client.get(f"/queries/{token}", params={"more": 9999}).status_code == 404


def test_a_case_has_its_course(client):
    text = client.get("/cases/1").text
    assert "Grade by visit" in text
    assert text.count('class="dot') >= 4  # two visits of two eyes
    assert '<tr><th scope="row">first visit</th>' in text


@pytest.fixture(scope="module")
def study(served, tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "S"
    with Archive.open(served, read_only=True) as archive:
        new_study(archive, folder, queries=2, shown=3, controls=0.34, seed=1)
    with TestClient(create_app(served, study=folder), follow_redirects=False) as made:
        yield made


def test_a_study_is_answered_blinded_and_exported(study, served):
    assert study.post("/study", data={"reader": "Dr Muster"}).status_code == 422
    address = study.post("/study", data={"reader": "R1"}).headers["location"]
    pictures = set()
    for number in range(6):
        text = study.get(address).text
        assert f"{number} of 6 answered" in text
        for told in ("/cases/", "NPDR<", "diabetes", "control", "Similarity"):
            assert told not in text.split("<footer>")[0]
        (target,) = re.findall(r'action="([^"]+)"', text)[:1]
        assert "<form" not in text.split("<form", 1)[1].split("</form>")[0]  # none within another
        sides = re.findall(r'<img class="photo" src="([^"]+)"', text)
        pictures.add(tuple(study.get(side).content for side in sides))
        data = {"similar": 1 + number % 5, "useful": 3, "seconds": "2.25"}
        assert study.post(target, data=data).headers["location"] == address
        assert study.post(target, data=data | {"similar": 5}).status_code == 303  # the first counts
    assert len(pictures) == 6
    assert "Thank you" in study.get(address).text
    rows = list(csv.DictReader(io.StringIO(study.get("/study/answers.csv").text)))
    assert [int(r["score"]) for r in sorted(rows, key=lambda r: int(r["order"]))] == [1, 2, 3, 4, 5, 1]
    assert {r["condition"] for r in rows} == {"hit", "control"}
    assert {r["seconds"] for r in rows} == {"2.25"}
    assert all(float(r["server_seconds"]) < 600 for r in rows)


@pytest.mark.parametrize("wrong", [{"similar": 6}, {"similar": 0}, {"similar": ""}])
def test_no_answer_off_the_scale(study, wrong):
    answer = {"similar": 3, "useful": 3} | wrong
    assert study.post("/study/readers/R9/1", data=answer).status_code == 422
    assert study.post("/study/readers/R9/99", data={"similar": 3, "useful": 3}).status_code == 404
    assert study.get("/study/readers/R9/1/third").status_code == 404


def test_where_no_study_is_served_there_is_none(client):
    assert client.get("/study").status_code == 404
    assert client.get("/study/answers.csv").status_code == 404


def test_a_study_of_another_encoder_is_refused(served, tmp_path):
    with Archive.open(served, read_only=True) as archive:
        made = new_study(archive, tmp_path / "S", queries=1, shown=2)
    path = made.folder / "study.json"
    files.write_json(path, files.read_json(path) | {"fingerprint": "0" * 32})
    with pytest.raises(StudyError, match="another encoder"):
        create_app(served, study=made.folder)


def test_the_hits_of_send_are_those_of_people(client, photographs):
    token = send(client, photographs[5])
    files = {"photograph": ("x.png", photographs[5].read_bytes(), "image/png")}
    address = client.post("/people", files=files).headers["location"]
    assert found(client.get(address).text) == found(client.get(f"/queries/{token}").text)

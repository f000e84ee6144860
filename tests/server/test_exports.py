"""What is taken along tells what was found, and not whose it is."""

import csv
import io
import re
from dataclasses import replace

import pytest

from foveola.answers import Share
from foveola.archive import Archive
from foveola.encoders.reading_model import ReadingModel
from foveola.errors import ArchiveError
from foveola.reading import read_person
from foveola.records import Case
from foveola.retrieval import Hit, Retriever
from foveola.server.services.exports import COLUMNS, anonymous, hits_csv
from foveola.server.services.reading import ReadingService
from foveola.trust import HitTrust
from server.conftest import MARK, send


@pytest.fixture(scope="module")
def found(served, photographs):
    with Retriever.open(served) as retriever:
        return retriever.search(photographs[5], 5, where="grade >= 1")


def subjects(served):
    with Archive.open(served, read_only=True) as archive:
        return {case.subject for _, case in archive.cases()}


def table(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_the_table_has_the_hits_of_the_page(client, token, found):
    ticked = {"grade": ["1", "2", "3", "4"], "count": 5}
    page = client.get(f"/queries/{token}", params=ticked).text
    (address,) = re.findall(r'href="(/queries/[^"]+hits\.csv[^"]*)"', page)
    answer = client.get(address.replace("&amp;", "&"))
    assert answer.headers["content-disposition"] == 'attachment; filename="similar-cases.csv"'
    rows = table(answer.text)
    assert [int(row["id"]) for row in rows] == [hit.id for hit in found.hits]
    assert [float(row["similarity"]) for row in rows] == pytest.approx([hit.similarity for hit in found.hits], abs=1e-6)
    assert [int(row["grade"]) for row in rows] == [hit.case.grade for hit in found.hits]


def test_marks_are_taken_along(client, token):
    page = client.get(f"/queries/{token}", params={"more": 3, "less": 9}).text
    ids = re.findall(r'class="shot" href="[^"]+/(\d+)"', page)
    (address,) = re.findall(r'href="(/queries/[^"]+hits\.csv[^"]*)"', page)
    assert [row["id"] for row in table(client.get(address.replace("&amp;", "&")).text)] == ids


def test_the_page_shows_hits_and_tells_nobody(client, served, token, found):
    answer = client.get(f"/queries/{token}/report", params={"where": "grade >= 1", "count": 5})
    assert answer.headers["content-disposition"].startswith("attachment")
    text = answer.text
    for hit in found.hits:
        assert f">Case {hit.id}<" in text
        assert f"{hit.similarity:.3f}" in text
    assert text.count("data:image/jpeg;base64,") == 6
    assert "http" not in text.replace("http-equiv", "")
    plain = re.sub(r'src="data:[^"]*"', "", text)
    assert MARK not in plain
    assert not [s for s in subjects(served) if s and re.search(rf"\b{re.escape(s)}\b", plain)]


def test_both_eyes_have_a_page(client, served, eyes):
    files = [("photograph", (p.name, p.read_bytes(), "image/png")) for p in eyes]
    where = client.post("/people", files=files, data={"eye": "right"}).headers["location"]
    page = client.get(where).text
    (address,) = re.findall(r'href="(/people/[^"]+/report[^"]*)"', page)
    text = client.get(address.replace("&amp;", "&")).text
    plain = re.sub(r'src="data:[^"]*"', "", text)
    assert set(re.findall(r"cases/(\d+)/thumbnail", page)) == set(re.findall(r">Case (\d+)<", plain))
    assert MARK not in plain
    assert not [s for s in subjects(served) if s and re.search(rf"\b{re.escape(s)}\b", plain)]


def test_a_reading_is_taken_along(client, served, eyes):
    files = [("photograph", (p.name, p.read_bytes(), "image/png")) for p in eyes]
    where = client.post("/people", files=files, data={"eye": "right"}).headers["location"]
    page = client.get(where, params={"show": "reading"}).text
    (address,) = re.findall(r'href="(/people/[^"]+/reading/report)"', page)
    answer = client.get(address)
    assert answer.headers["content-disposition"] == 'attachment; filename="reading.html"'
    said = read_person(ReadingModel.load(), left=eyes[1], right=eyes[0])
    plain = re.sub(r'src="data:[^"]*"', "", answer.text)
    shares = [float(value) for value in re.findall(r"<td>(\d+\.\d) %</td>", plain)]
    assert shares == pytest.approx([100 * float(p) for p in said.probabilities], abs=0.06)
    people = client.get(where).text
    found = re.findall(r"cases/(\d+)/thumbnail", people)[:10]  # of 5 people, both eyes
    assert re.findall(r">Case (\d+)<", plain) == found
    assert MARK not in plain
    assert not [s for s in subjects(served) if s and re.search(rf"\b{re.escape(s)}\b", plain)]


def test_a_reading_of_one_eye_is_taken_along(client, eyes):
    token = send(client, eyes[0], eye="right")
    (address,) = re.findall(r'href="(/queries/[^"]+/reading/report)"', client.get(f"/queries/{token}/reading").text)
    plain = re.sub(r'src="data:[^"]*"', "", client.get(address).text)
    assert "only the right eye was given" in plain
    assert "left eye: no photograph" in plain
    unknown = send(client, eyes[0])
    assert client.get(f"/queries/{unknown}/reading/report").status_code == 422


def test_a_reading_is_taken_along_without_people(client, eyes, monkeypatch):
    def none(*_):
        raise ArchiveError("nobody's eyes are known")

    monkeypatch.setattr(ReadingService, "people", none)
    token = send(client, eyes[0], eye="right")
    text = client.get(f"/queries/{token}/reading/report").text
    assert "How probable each finding is" in text
    assert "Similar people" not in text


HIT = Hit(
    rank=1,
    similarity=0.98765432,
    score=0.5,
    id=7,
    case=Case(
        image="Mustermann.jpg",
        path="/Mustermann.jpg",
        subject="0815",
        eye="left",
        visit="1951-03-04",
        grade=2,
        findings=frozenset(),
        extra={"outcome": "=1+1"},
    ),
    trust=HitTrust("grade", 0.5, None, Share(0.25, 0.125, 0.5), True),
)


def test_a_row_by_hand(found):
    result = replace(found, hits=(HIT,), order="both", label="grade")
    (row,) = table(hits_csv(result))
    assert tuple(row) == COLUMNS
    assert row == {
        "rank": "1",
        "id": "7",
        "similarity": "0.987654",
        "score": "0.5",
        "order": "by labels (grade) and looks in equal parts",
        "grade": "2",
        "findings": "none",
        "eye": "left",
        "visit": "",
        "age": "",
        "sex": "",
        "outcome": "'=1+1",
        "sufficient": "1",
        "same": "0.5",
        "other": "",
        "agreement": "0.25",
        "agreement_low": "0.125",
        "agreement_high": "0.5",
    }


def test_a_date_is_left_out_and_months_are_not():
    assert anonymous(HIT.case, "Case 7").visit == "left out"
    kept = anonymous(replace(HIT.case, visit=12.0), "Case 7")
    assert (kept.visit, kept.image, kept.path, kept.subject) == (12.0, "Case 7", "Case 7", "left out")
    assert anonymous(replace(HIT.case, visit=None), "Case 7").visit is None

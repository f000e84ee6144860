"""Both eyes at once: which is which, the people found, the hits of each eye, the reading."""

import html
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from foveola.encoders.reading_model import ReadingModel
from foveola.labels import percent
from foveola.reading import read_person
from foveola.retrieval import Retriever
from told import tell


@pytest.fixture(scope="module")
def pair(client, eyes):
    return sent(client, eyes, eye="right")


def sent(client, paths, **fields):
    """Send photographs as the form does; where it leads."""
    files = [("photograph", ("x.png", Path(path).read_bytes(), "image/png")) for path in paths]
    answer = client.post("/people", files=files, data=fields)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def compared(text):
    return [int(id_) for id_ in re.findall(r'class="shot" href="[^"]+/compare/(\d+)"', text)]


def test_the_people_are_those_of_a_search(client, served, eyes, pair):
    right, left = eyes
    with Retriever.open(served) as retriever:
        wanted = retriever.search_person(left, right, 12, where="grade >= 1")
    text = client.get(pair, params={"grade": ["1", "2", "3", "4"]}).text
    ids = compared(text)
    assert ids == [hit.ids[eye] for hit in wanted.hits for eye in ("right", "left")]
    assert f"Compared with {wanted.considered} people" in text


def test_each_eye_has_its_own_hits(client, served, eyes, pair):
    for eye, path in zip(("right", "left"), eyes, strict=True):
        with Retriever.open(served) as retriever:
            wanted = [hit.id for hit in retriever.search(path, 5).hits]
        text = client.get(pair, params={"show": eye, "count": 5}).text
        assert compared(text) == wanted


def test_the_reading_is_that_of_the_command(client, eyes, pair):
    right, left = eyes
    wanted = read_person(ReadingModel.load(), left, right)
    text = client.get(pair, params={"show": "reading"}).text
    said = re.findall(r"<b>([^<]+ %)</b>", text)
    assert said == [html.escape(percent(p)) for p in wanted.probabilities]
    assert text.count('class="above"') == len(wanted.found)
    assert "This is not a diagnosis" in text


def test_the_map_of_a_finding_differs_by_eye(client, pair):
    maps = []
    for eye in ("left", "right"):
        data = client.get(f"{pair}/evidence/D/{eye}").content
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        assert picture.shape[2] == 4
        maps.append(picture[..., 3].astype(float))
    assert (maps[0] != maps[1]).any()
    assert max(each.max() for each in maps) == pytest.approx(255 * 0.55, abs=2)  # one scale
    assert client.get(f"{pair}/evidence/Z/left").status_code == 404


def test_left_and_right_can_be_exchanged(client, pair):
    def shown(address):
        return re.findall(r'<img class="photo" src="([^"]+)"', client.get(address).text)

    other = client.post(f"{pair}/swap").headers["location"]
    assert shown(other) == shown(pair)[::-1]
    again = client.post(f"{other}/swap").headers["location"]
    assert shown(again) == shown(pair)


def test_which_is_which_is_told_where_nobody_says(client, eyes, monkeypatch):
    # phantoms are not told surely, and are asked about
    tell(monkeypatch, dict(zip(eyes, (("right", 0.98), ("left", 0.98)), strict=True)))
    for files in (eyes, eyes[::-1]):
        address = sent(client, files)
        text = client.get(address).text
        assert re.search(r"right with a probability of 96 %", text)
        store = client.app.state.reading.pairs.get(address.rpartition("/")[2]).tokens
        kept = {eye: client.app.state.service.queries.get(t).query.digest for eye, t in store.items()}
        seen = [kept["right"], kept["left"]]
        if files is eyes:
            first = seen
    assert seen == first  # the order in which they were sent does not matter


def test_the_archive_knows_its_own_eyes(client, photographs, served):
    with Retriever.open(served) as retriever:
        cases = dict(retriever.archive.cases())
    one = next(c for c in cases.values() if c.eye == "left")
    two = next(c for c in cases.values() if c.eye == "right" and (c.subject, c.visit) == (one.subject, one.visit))
    text = client.get(sent(client, [two.path, one.path])).text
    assert "were told from the pictures" not in text
    wrong = sent(client, [two.path, one.path], eye="left")
    text = client.get(wrong).text
    assert 'role="alert"' in text  # and the page is there, with its button to exchange them
    assert "Exchange left and right" in text
    text = client.get(client.post(f"{wrong}/swap").headers["location"]).text
    assert 'role="alert"' not in text


def test_one_eye_is_read_alone_and_that_is_said(client, eyes):
    address = sent(client, eyes[:1], eye="right")
    assert address.startswith("/queries/")
    assert f"{address}/reading" in client.get(address).text
    text = client.get(f"{address}/reading").text
    assert "Only the right eye was given" in text
    assert client.get(f"{address}/reading/evidence/D/right").status_code == 200
    assert client.get(f"{address}/reading/evidence/D/left").status_code == 404
    unknown = sent(client, eyes[:1])
    assert client.get(f"{unknown}/reading").status_code == 422


def test_three_photographs_or_one_twice_are_refused(client, eyes):
    files = [("photograph", ("x.png", eyes[0].read_bytes(), "image/png"))] * 3
    assert client.post("/people", files=files).status_code == 422
    twice = client.post("/people", files=files[:2], data={"eye": "left"})
    assert twice.status_code == 422
    assert "the same photograph, or two of the same eye" in twice.text
    assert client.post("/people", data={"eye": "left"}).status_code == 422


def test_a_pair_that_is_gone_is_said(client):
    assert client.get("/people/nothing").status_code == 410

"""What the service says of pictures without a retina, of one picture twice, and of whose it is."""

import html
import re
from pathlib import Path

import numpy as np
import pytest

import refused
from foveola.retrieval import Retriever
from foveola.trust.familiarity import Familiarity
from foveola.trust.sentences import UNLIKE
from told import tell

WHY = re.compile("does not look like a colour photograph of the retina|shows too little of the")
SHARE = re.compile(r"\d ?%|no diagnosis")


def post(client, paths, **fields):
    files = [("photograph", ("x.png", Path(path).read_bytes(), "image/png")) for path in paths]
    return client.post("/people", files=files, data=fields)


def rest(client, **eyes):
    files = {eye: ("x.png", Path(path).read_bytes(), "image/png") for eye, path in eyes.items()}
    return client.post("/api/v1/read", files=files, data={"k": 3})


@pytest.fixture(scope="module")
def folder(eyes, tmp_path_factory):
    made = tmp_path_factory.mktemp("refused")
    for name, pixels in refused.unreadable(refused.read(eyes[1])).items():
        refused.write(made / f"{name}.png", pixels)
    refused.write(made / "doubtful.png", refused.doubtful(refused.read(eyes[1])))
    return made


@pytest.mark.parametrize("name", ["chest", "cat", "disc", "tiny", "poor"])
def test_one_such_picture_is_refused_by_page_report_and_rest(client, folder, name):
    picture = folder / f"{name}.png"
    address = post(client, [picture], eye="left").headers["location"]
    for path in (f"{address}/reading", f"{address}/reading/report"):
        answer = client.get(path)
        assert answer.status_code == 422
        assert WHY.search(answer.text)
        assert not SHARE.search(refused.words(answer.text))
    assert client.get(f"{address}/reading/evidence/D/left").status_code == 422
    said = rest(client, left=picture)
    assert said.status_code == 422
    assert list(said.json()) == ["detail"]
    assert WHY.search(said.json()["detail"])


def test_of_a_pair_the_one_retina_is_read_and_compared_alone(client, folder, eyes):
    right = eyes[0]
    address = post(client, [folder / "chest.png", right], eye="left").headers["location"]
    alone = rest(client, right=right).json()
    both = rest(client, left=folder / "chest.png", right=right).json()
    assert both["probabilities"] == alone["probabilities"]
    assert list(both["eyes"]) == ["right"]
    assert WHY.search(both["refused"]["left"])
    assert [p["similarity"] for p in both["similar"]] == [p["similarity"] for p in alone["similar"]]
    reading = client.get(address, params={"show": "reading"}).text
    people = client.get(address).text
    reports = [client.get(f"{address}/{of}report").text for of in ("", "reading/")]
    for text in (reading, people, *reports):
        assert "left eye" in text.lower()
        assert WHY.search(html.unescape(text))
    assert "This eye" in reading
    assert reading.count("not read") == 8  # labels
    assert client.get(f"{address}/evidence/D/left").status_code == 404
    assert client.get(f"{address}/evidence/D/right").status_code == 200


def test_both_eyes_in_one_frame_are_refused_at_every_door(client, eyes, tmp_path):
    frame = refused.write(tmp_path / "frame.png", np.concatenate([refused.read(eye) for eye in eyes], axis=1))
    files = {"photograph": ("x.png", frame.read_bytes(), "image/png")}
    for answer in (
        post(client, [frame], eye="left"),
        post(client, [frame, eyes[0]], eye="left"),
        client.post("/queries", files=files),
        rest(client, left=frame),
        rest(client, left=frame, right=eyes[0]),
        client.post("/api/v1/search", files=files),
        client.post("/api/v1/cases", files=files),
    ):
        assert answer.status_code == 422
        assert "two fields of view or more, such as both eyes in one frame" in answer.text


def test_of_two_such_pictures_nobody_is_found(client, folder):
    address = post(client, [folder / "chest.png", folder / "cat.png"], eye="left")
    for show in ("people", "reading"):
        text = client.get(address.headers["location"], params={"show": show}).text
        assert 'role="alert"' in text
        assert WHY.search(text)
        assert 'class="hit panel"' not in text
        assert not re.search(r"\d ?%", refused.words(text))


def test_one_picture_twice_is_refused_when_it_is_sent(client, eyes, tmp_path):
    same = refused.write(tmp_path / "same.png", refused.read(eyes[0]))
    for other in (eyes[0], same):
        for fields in ({}, {"eye": "left"}):
            answer = post(client, [eyes[0], other], **fields)
            assert answer.status_code == 422
            assert "same photograph, or two of the same eye" in html.unescape(answer.text)


@pytest.fixture
def sides(eyes, monkeypatch):
    """Lets a test say what the rule tells of two photographs: eye and probability of each."""
    return lambda *told: tell(monkeypatch, dict(zip(eyes, told, strict=True)))


def test_two_left_eyes_are_no_pair(client, eyes, sides):
    sides(("left", 0.99), ("left", 0.97))
    said = rest(client, left=eyes[0], right=eyes[1])
    assert list(said.json()) == ["detail"]
    for answer in (post(client, eyes), post(client, eyes, eye="left"), said):
        assert answer.status_code == 422  # whoever says which is which
        assert "both photographs seem to show a left eye" in answer.text


def test_two_that_seem_exchanged_are_said_to_be(client, eyes, sides):
    right, left = eyes
    sides(("right", 0.99), ("left", 0.97))
    wrong = post(client, eyes, eye="left").headers["location"]
    texts = [client.get(wrong, params={"show": show}).text for show in ("people", "reading")] + [
        client.get(f"{wrong}/{of}report").text for of in ("", "reading/")
    ]
    for text in texts:
        assert "eft and right seem to be exchanged" in text
    assert rest(client, left=right, right=left).json()["warnings"][0].startswith("left and right")
    mended = client.post(f"{wrong}/swap").headers["location"]
    for show in ("people", "reading"):
        assert "seem to be exchanged" not in client.get(mended, params={"show": show}).text
    assert rest(client, left=left, right=right).json()["warnings"] == []


@pytest.mark.parametrize(
    "told",
    [
        (("left", 0.97), ("right", 0.9)),
        (("left", 0.5), ("right", 0.5)),
        (("left", 0.99), ("left", 0.6)),
        (("right", 0.8), ("left", 0.8)),
    ],
)
def test_a_side_that_is_not_sure_is_asked_for(client, eyes, sides, told):
    sides(*told)
    address = post(client, eyes).headers["location"]
    assert address.startswith("/eyes/")
    text = client.get(address).text
    assert "Which eye does the first photograph show?" in text
    assert "%" not in refused.words(text)
    assert client.post(address).status_code == 422
    assert client.post(address, data={"eye": "both"}).status_code == 422
    shown = client.post(address, data={"eye": "right"}).headers["location"]
    pair = client.app.state.reading.pairs.get(shown.rpartition("/")[2])
    right = client.app.state.service.queries.get(pair.tokens["right"])
    assert right.query.case.eye == "right"
    assert "were told from the pictures" not in client.get(shown).text
    assert client.get("/eyes/nothing").status_code == 410


def test_a_side_that_is_sure_is_told(client, eyes, sides):
    sides(("right", 0.99), ("left", 0.98))
    address = post(client, eyes).headers["location"]
    assert address.startswith("/people/")
    assert "right with a probability of 97 %" in client.get(address).text


def test_people_and_hits_are_warned_of_a_photograph_that_may_not_be_graded(client, folder, eyes):
    address = post(client, [folder / "doubtful.png", eyes[0]], eye="left").headers["location"]
    for text in (
        client.get(address).text,
        client.get(address, params={"show": "left"}).text,
        client.get(address, params={"show": "reading"}).text,
        client.get(f"{address}/report").text,
    ):
        assert "may be too dark, blurred or hazy" in text
    data = {"photograph": ("x.png", (folder / "doubtful.png").read_bytes(), "image/png")}
    said = client.post("/api/v1/search", files=data).json()["sentences"]
    assert any("may be too dark, blurred or hazy" in line for line in said)


def test_every_page_says_of_an_unusual_photograph_what_a_search_says(client, eyes, monkeypatch, tmp_path):
    eyes = [refused.write(tmp_path / f"{eye.stem}.png", refused.read(eye)) for eye in eyes]
    monkeypatch.setattr(Familiarity, "unlike", lambda *_: 0.995)
    words = "is unlike the photographs that the encoder knows"
    one, two = post(client, eyes[:1], eye="right"), post(client, eyes, eye="right")
    one, two = (each.headers["location"] for each in (one, two))
    shown = [
        one,
        f"{one}/report",
        f"{one}/reading",
        f"{one}/reading/report",
        two,
        f"{two}/report",
        f"{two}?show=left",
        f"{two}?show=reading",
        f"{two}/reading/report",
    ]
    for address in shown:
        assert words in client.get(address).text, address
    reading = client.get(f"{two}?show=reading").text
    assert reading.count(f"<b>{words}") == 2  # beside the map of each eye
    said = rest(client, left=eyes[1], right=eyes[0]).json()["warnings"]
    assert [line for line in said if words in line] == [
        f"the photograph of the {eye} eye {UNLIKE}" for eye in ("left", "right")
    ]


def test_whose_photograph_it_is_is_said_and_can_be_given(client, served, photographs, tmp_path):
    with Retriever.open(served) as retriever:
        own = next(case for _, case in retriever.archive.cases() if case.path == str(photographs[0]))
    new = refused.write(tmp_path / "new.png", refused.read(photographs[0]))  # another file
    unknown, given, another = (
        client.get(answer.headers["location"])
        for answer in (
            post(client, [new]),
            post(client, [new], subject=own.subject, collection="p"),
            post(client, [new], subject="somebody else", collection="p"),
        )
    )
    assert "Same person: not known whose photograph this is" in unknown.text
    assert "Same person: 4 left out, with what is so alike that it may be" in given.text
    assert "Same person: none left out" in another.text
    assert all("subject" not in str(each.url) for each in (unknown, given, another))
    start = client.get("/").text
    assert 'name="subject"' in start
    assert 'name="collection" value="p"' in start
    data = {"photograph": ("x.png", new.read_bytes(), "image/png")}
    said = client.post("/api/v1/search", files=data, data={"subject": own.subject, "collection": "p"}).json()
    assert said["excluded_same_subject"] == 4
    for address, words in ((unknown, "not known whose"), (another, "none left out")):
        report = client.get(f"{str(address.url).replace(str(client.base_url), '')}/report").text
        assert words in report
        assert "somebody else" not in report

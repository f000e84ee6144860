"""The page where a place is marked, its hits, and the same for programs; occlusion."""

import html
import shutil

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient

import refused
from foveola.regions import switch_on
from foveola.server import create_app
from server.conftest import MARK, send


@pytest.fixture(scope="module")
def marked(served, tmp_path_factory):
    """The same archive, with its places."""
    folder = tmp_path_factory.mktemp("marked") / "archive"
    shutil.copytree(served, folder)
    switch_on(folder)
    return folder


@pytest.fixture(scope="module")
def programs(marked):
    with TestClient(create_app(marked), follow_redirects=False) as made:
        yield made


@pytest.fixture(scope="module")
def asked(programs, photographs):
    return send(programs, photographs[5])


def post(client, photograph, **fields):
    files = {"photograph": (photograph.name, photograph.read_bytes(), "image/jpeg")}
    return client.post("/api/v1/search/region", files=files, data=fields)


def test_a_program_asks_about_a_place(programs, photographs):
    answer = post(programs, photographs[5], region="0.4,0.4,0.2,0.1", k=4, where="eye = 'left'")
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert [hit["rank"] for hit in said["hits"]] == [1, 2, 3, 4]
    assert {hit["case"]["eye"] for hit in said["hits"]} == {"left"}
    assert said["in_archive"]
    assert MARK not in answer.text
    x, y, width, height = said["region"]
    assert (x, y) == pytest.approx((0.4, 0.4), abs=0.05)
    for hit in said["hits"]:
        x, y, width, height = hit["box"]
        assert min(x, y, width, height) >= 0
        assert max(x + width, y + height) <= 1 + 1e-6


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"region": "5,5,1,1"}, "within the picture"),
        ({"region": "x"}, "not understood"),
        ({"region": "0.0,0.0,0.01,0.01"}, "outside the field"),
        ({"region": "0.5,0.5", "where": "age >"}, "condition"),
        ({"region": "0.5,0.5", "k": "0"}, "k"),
        ({}, "region"),
    ],
)
def test_what_can_not_be_done_is_said(programs, photographs, fields, word):
    answer = post(programs, photographs[5], **fields)
    assert answer.status_code == 422
    assert word in answer.json()["detail"]


def test_an_archive_without_places_says_so(client, token, photographs):
    answer = post(client, photographs[5], region="0.5,0.5")
    assert answer.status_code == 422
    assert "regions on" in answer.json()["detail"]
    assert "/region" not in client.get(f"/queries/{token}").text
    assert client.get(f"/queries/{token}/region").status_code == 422


def test_the_page_and_its_hits(programs, asked):
    assert f"/queries/{asked}/region" in programs.get(f"/queries/{asked}").text
    page = programs.get(f"/queries/{asked}/region")
    assert page.status_code == 200
    hits = f"/queries/{asked}/region/hits?region=0.4,0.4,0.1,0.1"
    part = programs.get(hits, headers={"HX-Request": "true"}).text
    assert "<html" not in part
    assert part.count('<rect class="rim"') == 12
    whole = programs.get(hits).text
    assert "<html" in whole
    assert MARK not in part + whole
    fault = programs.get(f"/queries/{asked}/region/hits?region=9,9")
    assert fault.status_code == 422


def test_occlusion_lies_over_each_of_the_two(programs, asked):
    link = programs.get(f"/queries/{asked}").text.split("/compare/")[1].split('"')[0]
    maps = []
    for side in ("query", "case"):
        answer = programs.get(f"/queries/{asked}/occlusion/{link}/{side}")
        assert answer.headers["content-type"] == "image/png"
        drawn = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)
        assert drawn.shape == (384, 384, 4)
        assert drawn[..., 3].max() > 100
        maps.append(drawn)
    assert (maps[0] != maps[1]).any()
    assert programs.get(f"/queries/{asked}/occlusion/{link}/both").status_code == 404
    assert programs.get(f"/queries/{asked}/occlusion/99999/case").status_code == 404


SAID = {
    "chest": "does not look like a colour photograph of the retina: no place is sufficiently similar",
    "black": "does not look like a colour photograph of the retina: no place is sufficiently similar",
    "poor": "shows too little of the retina: no place is sufficiently similar",
    "doubtful": "may be too dark, blurred or hazy",
}


@pytest.mark.parametrize("name", SAID)
def test_of_what_cannot_be_compared_page_and_programs_say_so(programs, photographs, tmp_path, name):
    photograph = refused.read(photographs[5])
    made = {"doubtful": refused.doubtful, "poor": refused.poor}.get(name, lambda _: getattr(refused, name)())
    picture = refused.write(tmp_path / "query.png", made(photograph))
    answer = post(programs, picture, region="0.4,0.4,0.2,0.1", k=3)
    page = programs.get(f"/queries/{send(programs, picture)}/region/hits?region=0.4,0.4,0.2,0.1")
    assert answer.status_code == page.status_code == 200
    assert SAID[name] in " ".join(answer.json()["sentences"])
    assert SAID[name] in html.unescape(page.text)

"""A search of an archive that learnt from its labels, over REST and on the pages."""

import csv
import io
import re

import pytest
from fastapi.testclient import TestClient

import refused
from foveola.answers import SearchAnswer
from foveola.server import create_app
from server.conftest import send

ORDERS = ("learned", "looks", "both")


@pytest.fixture(scope="module")
def client(learnt):
    with TestClient(create_app(learnt), follow_redirects=False) as opened:
        yield opened


@pytest.fixture(scope="module")
def photograph(new_photographs):
    return new_photographs[0]


@pytest.fixture(scope="module")
def token(client, photograph):
    return send(client, photograph)


def asked(client, path, **form):
    files = {"photograph": (path.name, path.read_bytes(), "image/png")}
    answer = client.post("/api/v1/search", files=files, data=form)
    assert answer.status_code == 200, answer.text
    return answer.json()


def cases_on(page):
    return [int(i) for i in re.findall(r'class="shot" href="[^"]+/(\d+)"', page)]


def links_of(page):
    return [each.replace("&amp;", "&") for each in re.findall(r'href="([^"]+)"', page)]


def rows(client, address):
    return list(csv.DictReader(io.StringIO(client.get(address).text)))


# REST


def test_rest_says_order_score_and_suggestion(client, photograph):
    said = asked(client, photograph, k=6)
    assert (said["order"], said["label"]) == ("learned", "grade")
    assert said["recorded"] == sum(hit["case"]["grade"] is not None for hit in said["hits"])
    shares = [each["share"]["value"] for each in said["trust"]["suggestion"]["shares"]]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1)
    assert said["sentences"][0].startswith("Of 100 photographs like this, ")
    scores = {order: [hit["score"] for hit in asked(client, photograph, by=order)["hits"]] for order in ORDERS}
    looks = asked(client, photograph, by="looks", label="findings")
    assert scores["looks"] == [hit["similarity"] for hit in looks["hits"]]
    assert looks["trust"]["suggestion"]["label"] == "findings"
    assert len({tuple(each) for each in scores.values()}) == 3


def test_the_client_understands_it(client, photograph):
    said = SearchAnswer.from_dict(asked(client, photograph, k=3))
    assert (said.order, said.label) == ("learned", "grade")
    first = said.trust.suggestion.shares[0]
    assert first.share.low <= first.share.value <= first.share.high
    assert said.hits[0].score != said.hits[0].similarity


@pytest.mark.parametrize(
    ("form", "status", "words"),
    [
        ({"label": "camera"}, 409, "has learnt nothing of 'camera' (learnt: grade, findings)"),
        ({"by": "chance"}, 422, "learned"),
    ],
)
def test_rest_refuses_what_was_not_learnt_in_a_sentence(client, photograph, form, status, words):
    files = {"photograph": (photograph.name, photograph.read_bytes(), "image/png")}
    answer = client.post("/api/v1/search", files=files, data=form)
    assert answer.status_code == status
    assert words in answer.json()["detail"]


def test_rest_suggests_the_same_under_a_condition_on_the_label(client, photograph):
    free, fixed = (asked(client, photograph, **form) for form in ({}, {"where": "grade = 4"}))
    assert {hit["case"]["grade"] for hit in fixed["hits"]} == {4}
    assert fixed["trust"]["suggestion"] == free["trust"]["suggestion"] is not None


# Pages


def test_the_page_begins_with_the_suggestion_and_names_the_order(client, token, photograph):
    page = client.get(f"/queries/{token}").text
    words = refused.words(page)
    (sentence, *_) = asked(client, photograph, k=12)["sentences"]
    assert words.index(sentence) < words.index("The nearest case") < words.index("Compare")
    assert "Ordered by the archive&#39;s labels (grade), looks second; grade is recorded for" in page
    assert page.count('<th scope="row">') == page.count('class="range"') > 1
    assert "Grades among" not in page


def test_the_number_beside_a_hit_is_the_cosine_in_every_order(client, token, photograph):
    for order in ORDERS:
        page = client.get(f"/queries/{token}", params={"by": order}).text
        shown = re.findall(r'class="similarity"[^>]*>([-.\d]+)<', page)
        wanted = asked(client, photograph, k=12, by=order)["hits"]
        assert shown == [f"{hit['similarity']:.3f}" for hit in wanted]
        assert cases_on(page) == [hit["case"]["id"] for hit in wanted]


def test_an_order_is_kept_in_every_link_and_file(client, token, photograph):
    page = client.get(f"/queries/{token}", params={"by": "both", "label": "findings"}).text
    report, table = (
        next(link for link in links_of(page) if f"/queries/{token}/{kind}" in link) for kind in ("report", "hits.csv")
    )
    for link in (report, table):
        assert "by=both" in link
        assert "label=findings" in link
    assert '<option value="both" selected>' in page
    assert '<option value="findings" selected>' in page
    wanted = asked(client, photograph, k=12, by="both", label="findings")["hits"]
    found = rows(client, table)
    assert [int(row["id"]) for row in found] == [hit["case"]["id"] for hit in wanted]
    assert [float(row["score"]) for row in found] == [hit["score"] for hit in wanted]
    assert {row["order"] for row in found} == {"by labels (findings) and looks in equal parts"}
    assert "by labels (findings) and looks in equal parts" in client.get(report).text


def test_an_order_is_kept_from_eye_to_eye(client, new_photographs):
    files = [("photograph", (p.name, p.read_bytes(), "image/png")) for p in new_photographs[:2]]
    where = client.post("/people", files=files, data={"eye": "left"}).headers["location"]
    page = client.get(where, params={"show": "left", "by": "looks"}).text
    assert "Ordered by looks; grade is recorded for" in page
    assert f'action="{where}/swap"' in page
    tabs = [link for link in links_of(page) if link.startswith(f"{where}?show=")]
    assert len(tabs) == 4
    assert all("by=looks" in link for link in tabs)
    people = client.get(tabs[0]).text
    assert '<input type="hidden" name="by" value="looks">' in people
    assert "Grades among" not in people
    assert 'class="stack"' not in people


def test_a_hit_without_a_recorded_label_is_marked(client, token):
    params = {"count": 100, "where": "grade is null"}
    page = client.get(f"/queries/{token}", params=params).text
    assert len(cases_on(page)) == page.count('class="unrecorded') == 8
    assert "grade is recorded for 0 of 8 hits" in page
    assert 'class="unrecorded' not in client.get(f"/queries/{token}?where=grade>=0").text


def test_the_page_suggests_the_same_under_a_condition_on_the_label(client, token):
    def headline(**params):
        page = client.get(f"/queries/{token}", params=params).text
        return re.findall(r'class="headline">([^<]+)<', page), page.count('class="range"')

    free = headline()
    assert free[0]
    assert headline(grade=4) == free
    assert headline(where="grade = 99") == free  # though there is no hit at all


def test_what_was_not_learnt_is_said_on_the_page(client, token):
    answer = client.get(f"/queries/{token}", params={"label": "camera"})
    assert answer.status_code == 409
    assert "has learnt nothing of &#39;camera&#39;" in answer.text


def test_an_archive_that_learnt_nothing_offers_no_order(tmp_path, new_photographs):
    from foveola.indexing import add_missing
    from foveola.records import Case

    add_missing(tmp_path / "A", [Case(image=p.name, path=str(p)) for p in new_photographs[:3]])
    with TestClient(create_app(tmp_path / "A"), follow_redirects=False) as opened:
        page = opened.get(f"/queries/{send(opened, new_photographs[5])}").text
    assert 'name="by"' not in page
    assert "Ordered by looks." in page
    assert 'class="unrecorded' not in page


def test_a_doubtful_photograph_is_called_so_on_the_page(client, photograph, tmp_path):
    dark = refused.write(tmp_path / "dark.png", refused.far(refused.read(photograph)))
    page = client.get(f"/queries/{send(client, dark)}").text
    assert re.search(r'role="note">The photograph may be too dark, blurred or hazy', page)
    assert "may be too dark" not in client.get(f"/queries/{send(client, photograph)}").text


@pytest.mark.parametrize("name", ["chest", "cat", "black", "poor", "far"])
def test_of_what_cannot_be_compared_nothing_is_suggested(client, photograph, tmp_path, name):
    pixels = refused.pictures(refused.read(photograph))[name]
    picture = refused.write(tmp_path / f"{name}.png", pixels)
    said = asked(client, picture)
    assert said["trust"]["suggestion"] is None
    refused.silent(" ".join(said["sentences"]), name)
    own = send(client, picture)
    for params in ({}, {"grade": 4}, {"by": "both", "label": "findings"}):
        page, report = (client.get(f"/queries/{own}{of}", params=params).text for of in ("", "/report"))
        assert "No sufficiently similar case" in page
        assert 'class="range"' not in page
        refused.silent(refused.words(page), name)
        refused.silent(refused.words(report), name)
        for row in rows(client, f"/queries/{own}/hits.csv?{'grade=4' if params else ''}"):
            assert not any(row[key] for key in row if key.startswith(("agree", "same", "other")))

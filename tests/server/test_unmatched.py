"""Who may not match people learns neither who somebody is nor whether they are there."""

import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from foveola.archive import Archive
from foveola.server import Settings, create_app
from foveola.server.auth import ROLES, Accounts
from server.people import with_accounts

SUBJECT = "Q7-pseudonym"


@pytest.fixture(scope="module")
def archive(served, tmp_path_factory):
    """The archive, whose first person has a name of their own."""
    from dataclasses import replace

    folder = tmp_path_factory.mktemp("unmatched") / "A"
    shutil.copytree(served, folder)
    with Archive.open(folder) as opened:
        first = opened.case(1)
        own = [case for _, case in opened.cases() if case.subject == first.subject]
        opened.update_records([replace(case, subject=SUBJECT) for case in own])
    with_accounts(folder)
    return folder


@pytest.fixture(scope="module")
def programs(archive):
    app = create_app(archive, settings=Settings(rate=1e6, burst=1e6))
    with Accounts(archive) as accounts:
        secrets = {role: accounts.make_token(role, "", 1) for role in ROLES}
    return {
        role: TestClient(app, headers={"Authorization": f"Bearer {secret}"}, follow_redirects=False)
        for role, secret in secrets.items()
    }


def own(archive):
    with Archive.open(archive, read_only=True) as opened:
        return {"photograph": ("x.png", Path(opened.case(1).path).read_bytes(), "image/png")}


@pytest.mark.parametrize("role", ROLES)
def test_a_pseudonym_is_shown_to_who_may_match(programs, archive, role):
    client, may = programs[role], role in ("matcher", "admin")
    like = client.post("/cases/3/like").headers["location"]
    everywhere = [
        "/cases/1",
        "/api/v1/cases/1",
        "/api/v1/cases",
        like,
        f"{like}/compare/1",
        f"{like}/report",
        f"{like}/hits.csv",
        "/overview",
    ]
    said = {address: SUBJECT in client.get(address, params={"count": 100}).text for address in everywhere}
    searched = client.post("/api/v1/search", files=own(archive), data={"k": 100})
    if may:
        assert said["/cases/1"]
        assert said["/api/v1/cases/1"]
    else:
        assert not any(said.values())
        assert SUBJECT not in searched.text
        assert client.post("/api/v1/cases", files=own(archive)).text.count(SUBJECT) == 0


@pytest.mark.parametrize("role", ROLES)
def test_a_file_is_confirmed_to_who_may_match(programs, archive, role):
    client, may = programs[role], role in ("matcher", "admin")
    said = client.post("/api/v1/search", files=own(archive)).json()
    counts = [said[name] for name in ("in_archive", "excluded_same_subject", "considered")]
    if may:
        assert counts[0] is True
        assert counts[1] > 0
    else:
        assert counts == [None, None, None]
    page = client.get(client.post("/queries", files=own(archive)).headers["location"]).text
    assert ('href="/cases/1"' in page.split("hits")[0]) is may
    assert ("Compared with" in page) is may
    told = "what is of the same person, or so alike that it may be, is left out"
    assert (told in page) is not may


def test_without_accounts_all_is_said(client, photographs):
    files = {"photograph": ("x.png", photographs[5].read_bytes(), "image/png")}
    said = client.post("/api/v1/search", files=files).json()
    assert said["in_archive"] is True
    assert said["considered"] > 0


def of_eyes(archive, left, right):
    with Archive.open(archive, read_only=True) as opened:
        files = {"left": opened.case(left).path, "right": opened.case(right).path}
    return {eye: ("x.png", Path(path).read_bytes(), "image/png") for eye, path in files.items()}


def some_of(archive):
    """Of two people: the ids of the first one's left and right eye, and of the other's left."""
    with Archive.open(archive, read_only=True) as opened:
        of = {}
        for id_, case in opened.cases():
            of.setdefault((case.subject, case.eye), id_)
    first, other = list(dict.fromkeys(subject for subject, _ in of))[:2]
    return of[first, "left"], of[first, "right"], of[other, "left"]


@pytest.mark.parametrize("role", ROLES)
def test_what_the_archive_knows_of_a_pair_is_told_to_who_may_match(programs, archive, role):
    client, may = programs[role], role in ("matcher", "admin")
    left, right, other = some_of(archive)
    for pair, told in [((right, left), "exchange the two"), ((other, right), "two subjects")]:
        answer = client.post("/api/v1/read", files=of_eyes(archive, *pair))
        assert (answer.status_code == 422) is may, answer.text
        assert (told in answer.text) is may


@pytest.mark.parametrize("role", ROLES)
def test_no_name_brings_back_whom_the_archive_leaves_out(programs, archive, role):
    """A photograph of the archive sent under a name that is not its person's."""
    client, may = programs[role], role in ("matcher", "admin")
    with Archive.open(archive, read_only=True) as opened:
        theirs = {id_ for id_, case in opened.cases() if case.subject == SUBJECT} - {1}
    sent = {"k": 100, "subject": "nobody"}
    said = client.post("/api/v1/search", files=own(archive), data=sent).json()
    assert theirs
    assert bool(theirs & {hit["case"]["id"] for hit in said["hits"]}) is may


def noise():
    return cv2.imencode(".png", np.random.default_rng(5).integers(0, 256, (256, 256, 3)))[1]


def told_of(client, way, photograph, name):
    """The ids in the answer to a photograph of somebody so named."""
    file, sent = ("x.png", photograph, "image/png"), {"k": 100, "subject": name, "collection": "p"}
    if way == "page":
        address = client.post("/people", files={"photograph": file}, data=sent).headers["location"]
        return sorted(set(re.findall(r"/cases/(\d+)", client.get(f"{address}?k=100").text)))
    if way == "read":
        found = client.post("/api/v1/read", files={"left": file}, data=sent).json()
        eyes = [hit[eye] for hit in found["similar"] for eye in ("left", "right")]
        return [case["id"] for case in eyes if case is not None]
    found = client.post("/api/v1/search", files={"photograph": file}, data=sent).json()
    return [hit["case"]["id"] for hit in found["hits"]]


@pytest.mark.parametrize("way", ["search", "noise", "read", "page"])
@pytest.mark.parametrize("role", ROLES)
def test_a_name_leaves_nobody_out_for_who_may_not_match(programs, role, way, eyes):
    client, may = programs[role], role in ("matcher", "admin")
    photograph = noise().tobytes() if way == "noise" else eyes[0].read_bytes()
    named, nobody, unnamed = (told_of(client, way, photograph, name) for name in (SUBJECT, "nobody", ""))
    assert named
    assert (named != nobody) is may
    assert (nobody == unnamed) or may


@pytest.mark.parametrize("role", ROLES)
def test_whose_it_is_is_asked_of_who_may_match(programs, role):
    asked = 'name="subject"' in programs[role].get("/").text
    assert asked is (role in ("matcher", "admin"))

"""Every route that shows cases says so in the audit log, whichever way its address is written."""

import json
import re
import shutil

import cv2
import pytest
from fastapi.testclient import TestClient

from foveola.archive import Archive
from foveola.matching import gallery, permission, saved_audit
from foveola.regions import switch_on
from foveola.server import Settings, create_app
from foveola.server.audit import read
from foveola.server.auth.policies import POLICIES
from foveola.server.study import new_study
from server.people import log_in, with_accounts

# By hand, and not from the code: what shows no case of the archive. A route that is not here has to
# write a line each time that it is asked by somebody who record_access nothing before.
NOTHING = {
    "* /static",
    "GET /login",
    "POST /login",
    "POST /logout",
    "GET /",
    "GET /card",
    "GET /overview",
    "GET /match",
    "GET /study",
    "POST /study",
    "GET /api/openapi.json",
    "GET /api/v1/archive",
    "GET /api/v1/metrics",
    "GET /api/v1/health",
    "GET /api/v1/ready",
    "GET /api/v1/jobs",
    "GET /api/v1/jobs/{id}",
    "DELETE /api/v1/jobs/{id}",
    # the photographs that somebody sent, and what a reader says of these
    "POST /queries",
    "POST /people",
    "POST /people/{token}/swap",
    "POST /match",
    "GET /eyes/{token}",
    "POST /eyes/{token}",  # which of the two is which
    "GET /queries/{token}/picture",
    "GET /queries/{token}/thumbnail",
    "GET /queries/{token}/region",
    "GET /queries/{token}/reading",
    "GET /queries/{token}/reading/evidence/{label}/{eye}",
    "GET /people/{token}/evidence/{label}/{eye}",
    "GET /match/{token}/thumbnail",
    "POST /study/readers/{reader}/{place}",  # leads on to the next pair
}
SHOWING = sorted({f"{method} {path}" for method, path in POLICIES} - NOTHING)
LAST = "DELETE /api/v1/cases/{id}"  # as case 5 is gone then
KEY = f"{0:012x}"


@pytest.fixture(scope="module")
def archive(served, tmp_path_factory):
    """The archive with accounts, matching, its places, and a finding of an audit."""
    folder = tmp_path_factory.mktemp("audited") / "A"
    shutil.copytree(served, folder)
    assert gallery.update(folder, permission.switch_on(folder, "tests of a log")) == ()
    switch_on(folder)
    with Archive.open(folder, read_only=True) as opened:
        eyes = {}
        for id_, case in opened.cases():
            eyes.setdefault((case.subject, case.eye), []).append(id_)
        pair = next(ids[:2] for ids in eyes.values() if len(ids) > 1)
        finding = {
            "key": KEY,
            "kind": "two splits",
            "ids": pair,
            "score": 0.9,
            "said": "One.",
            "evidence": {"features that agree": 50},
        }
        values = {"time": "2030-01-01T00:00:00+00:00", "checked": {}, "findings": [finding]}
        new_study(opened, folder.parent / "S", queries=1, shown=2)
    (folder / saved_audit.WORKLIST).write_text(json.dumps(values), encoding="utf-8")
    with_accounts(folder, roles=("admin",))
    return folder


@pytest.fixture(scope="module")
def member(archive):
    app = create_app(archive, study=archive.parent / "S", settings=Settings(rate=1e6, burst=1e6))
    with TestClient(app, follow_redirects=False) as client:
        client.headers["X-CSRF-Token"] = log_in(client, "admin")
        yield client


@pytest.fixture(scope="module")
def places(member, photographs, eyes):
    """Values for addresses, by the address's beginning."""

    def led(address, *paths, **fields):
        files = [("photograph", ("x.png", path.read_bytes(), "image/png")) for path in paths]
        return member.post(address, files=files, data=fields).headers["location"]

    turned = cv2.warpAffine(cv2.imread(str(photographs[4])), cv2.getRotationMatrix2D((128, 128), 5, 1.05), (256, 256))
    with pytest.MonkeyPatch.context() as patch:
        # so that it is asked which eye is which
        patch.setattr("foveola.laterality.SURE", 2)
        unsaid = led("/people", *eyes)
    assert unsaid.startswith("/eyes/")
    png = {"photograph": ("x.png", cv2.imencode(".png", turned)[1].tobytes(), "image/png")}
    return {
        "/queries/": led("/queries", photographs[5], eye="left").rpartition("/")[2],
        "/people/": led("/people", *eyes, eye="right").rpartition("/")[2],
        "/eyes/": unsaid.rpartition("/")[2],
        "/match/": member.post("/match", files=png).headers["location"].rpartition("/")[2],
    }


VALUES = {
    "id_": "5",
    "id": "5",
    "side": "query",
    "label": "D",
    "eye": "left",
    "rank": "1",
    "key": KEY,
    "reader": "R1",
    "place": "1",
}


def request(member, places, photographs, eyes, route):
    """An answer to a question that can be answered."""
    method, path = route.split(" ")
    values = VALUES | {"token": next((t for p, t in places.items() if path.startswith(p)), "")}
    values |= {"side": "first"} if path.startswith("/study") else {}
    address = path
    for name, value in values.items():
        address = address.replace("{" + name + "}", value)
    own = {"photograph": ("x.png", photographs[7].read_bytes(), "image/png")}
    new = {"photograph": ("x.png", eyes[0].read_bytes(), "image/png")}
    params, sent = (
        {},
        {
            "POST /api/v1/search": {"files": own},
            "POST /api/v1/search/region": {"files": own, "data": {"region": "0.5,0.5"}},
            "POST /api/v1/read": {"files": {"left": own["photograph"]}},
            "POST /api/v1/match": {"files": own},
            "POST /api/v1/cases": {"files": new},
            "POST /api/v1/jobs": {"json": {"kind": "settle"}},
            "POST /audit/{key}": {"data": {"verdict": "right"}},
        }.get(route, {}),
    )
    if path.endswith("/region/hits"):
        params = {"region": "0.5,0.5"}
    return member.request(method, address, params=params, **sent)


@pytest.mark.parametrize("route", [*(route for route in SHOWING if route != LAST), LAST])
def test_who_sees_a_case_is_in_the_log(member, archive, places, photographs, eyes, route):
    member.app.state.auth._covered.clear()
    before = len(list(read(archive)))
    answer = request(member, places, photographs, eyes, route)
    assert answer.status_code < 400, answer.text
    lines = list(read(archive))[before:]
    assert lines, "it shows cases and writes no line"
    logged = {id_ for line in lines for id_ in line.cases}
    shown = {int(id_) for id_ in re.findall(r"/cases/(\d+)", answer.text)}
    if answer.headers.get("content-type") == "application/json":
        shown |= {int(id_) for id_ in re.findall(r'"id":(\d+)', answer.text)}
    assert shown <= logged


@pytest.mark.parametrize("route", sorted(NOTHING - {"POST /login", "POST /logout", "* /static"}))
def test_what_is_said_to_show_nothing_links_to_no_case(member, places, photographs, eyes, route):
    if route.startswith("GET"):
        answer = request(member, places, photographs, eyes, route)
        assert not re.search(r'href="/cases/\d', answer.text)
        assert '"subject":' not in answer.text or "openapi" in route


@pytest.mark.parametrize("number", ["+17", "%2B17", "17.0", "%2017", "17%20", "017", "1_7", "１７"])
@pytest.mark.parametrize(
    "address",
    [
        "/cases/{}",
        "/cases/{}/picture",
        "/cases/{}/thumbnail",
        "/api/v1/cases/{}",
        "/api/v1/cases/{}/picture",
        "/api/v1/cases/{}/thumbnail",
    ],
)
def test_a_case_has_one_address(member, address, number):
    assert member.get(address.format(number)).status_code in (404, 422)


def test_a_picture_is_logged_though_its_thumbnail_was_listed(member, archive):
    # a list covers thumbnails only; what is large has a line however it is asked for
    member.app.state.auth._covered.clear()
    member.get("/api/v1/cases", params={"limit": 20})
    before = len(list(read(archive)))
    for address in ("/cases/17/picture", "/api/v1/cases/18/picture", "/cases/19/thumbnail"):
        assert member.get(address).status_code == 200
    assert [line.cases for line in list(read(archive))[before:]] == [(17,), (18,)]


@pytest.mark.parametrize("up", [5.0, 1e6], ids=["since 5 s", "for days"])
def test_the_map_of_all_cases_is_in_the_log_and_covers_no_picture(member, archive, monkeypatch, up):
    """However long the computer has been up, which is where its monotonic clock begins."""
    monkeypatch.setattr(member.app.state.auth, "_clock", lambda: up)
    member.app.state.auth._covered.clear()
    before = len(list(read(archive)))
    assert member.get("/overview/points").status_code == 200
    member.get("/overview/points")
    member.get("/cases/6/thumbnail")
    lines = list(read(archive))[before:]
    with Archive.open(archive, read_only=True) as opened:
        everybody = tuple(opened.vectors()[0].tolist())
    assert [(line.action, line.cases) for line in lines] == [("overview", everybody), ("thumbnail", (6,))]

"""Who may ask for what: every route, every role, and everybody who should not get in."""

import re
import shutil
import time
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from foveola.server import create_app
from foveola.server.auth import ROLES, Accounts, allowed
from foveola.server.auth import policies as doors
from foveola.server.auth.policies import POLICIES, Plan, RoutePolicy, keys
from foveola.server.auth.service import Settings
from server.people import PASSWORD, log_in, with_accounts

# By hand, and not from the code: who is let through. A letter a role: viewer, curator, matcher,
# admin; "-" is everybody, logged in or not.
MAY = {
    "GET /": "vcma",
    "GET /login": "-",
    "POST /login": "-",
    "POST /logout": "vcma",
    "* /static": "-",
    "POST /queries": "vcma",
    "GET /queries/{token}": "vcma",
    "GET /queries/{token}/picture": "vcma",
    "GET /queries/{token}/thumbnail": "vcma",
    "GET /queries/{token}/compare/{id_}": "vcma",
    "GET /queries/{token}/map/{id_}/{side}": "vcma",
    "GET /queries/{token}/occlusion/{id_}/{side}": "vcma",
    "GET /queries/{token}/region": "vcma",
    "GET /queries/{token}/region/hits": "vcma",
    "GET /queries/{token}/report": "vcma",
    "GET /queries/{token}/hits.csv": "vcma",
    "GET /people/{token}/report": "vcma",
    "GET /people/{token}/reading/report": "vcma",
    "GET /queries/{token}/reading/report": "vcma",
    "POST /people": "vcma",
    "GET /eyes/{token}": "vcma",
    "POST /eyes/{token}": "vcma",
    "GET /people/{token}": "vcma",
    "POST /people/{token}/swap": "vcma",
    "GET /people/{token}/evidence/{label}/{eye}": "vcma",
    "GET /queries/{token}/reading": "vcma",
    "GET /queries/{token}/reading/evidence/{label}/{eye}": "vcma",
    "GET /overview": "vcma",
    "GET /overview/points": "vcma",
    "GET /card": "vcma",
    "GET /study": "vcma",
    "POST /study": "vcma",
    "GET /study/readers/{reader}": "vcma",
    "POST /study/readers/{reader}/{place}": "vcma",
    "GET /study/readers/{reader}/{place}/{side}": "vcma",
    "GET /match": "ma",
    "POST /match": "ma",
    "GET /match/{token}": "ma",
    "GET /match/{token}/thumbnail": "ma",
    "GET /match/{token}/board/{rank}": "ma",
    "GET /audit": "ma",
    "POST /audit/run": "ma",
    "POST /audit/{key}": "ma",
    "GET /audit/{key}/board": "ma",
    "GET /study/answers.csv": "ca",
    "GET /cases/{id_}": "vcma",
    "POST /cases/{id_}/like": "vcma",
    "GET /cases/{id_}/picture": "vcma",
    "GET /cases/{id_}/thumbnail": "vcma",
    "GET /api/openapi.json": "vcma",
    "POST /api/v1/search": "vcma",
    "POST /api/v1/search/region": "vcma",
    "GET /api/v1/cases/{id}": "vcma",
    "GET /api/v1/cases/{id}/picture": "vcma",
    "GET /api/v1/cases/{id}/thumbnail": "vcma",
    "GET /api/v1/archive": "vcma",
    "GET /api/v1/cases": "vcma",
    "POST /api/v1/cases": "ca",
    "DELETE /api/v1/cases/{id}": "ca",
    "POST /api/v1/read": "vcma",
    "POST /api/v1/match": "ma",
    "GET /api/v1/jobs": "ca",
    "POST /api/v1/jobs": "ca",
    "GET /api/v1/jobs/{id}": "ca",
    "DELETE /api/v1/jobs/{id}": "ca",
    "GET /api/v1/metrics": "a",
    "GET /api/v1/health": "-",
    "GET /api/v1/ready": "-",
}
VALUES = {
    "token": "no-such-photograph",
    "id_": "1",
    "id": "1",
    "side": "query",
    "label": "D",
    "eye": "left",
    "rank": "1",
    "key": "none",
    "reader": "R1",
    "place": "1",
}
UNSAFE = sorted(route for route in MAY if route.startswith(("POST", "PUT", "PATCH", "DELETE")))
CLOSED = sorted(route for route, who in MAY.items() if who != "-")
FREE = Settings(rate=1e6, burst=1e6)  # a matrix asks faster than a person


@pytest.fixture(scope="module")
def closed(served, tmp_path_factory) -> Path:
    """The archive with an account of every role."""
    archive = tmp_path_factory.mktemp("closed") / "A"
    shutil.copytree(served, archive)
    with_accounts(archive)
    return archive


@pytest.fixture(scope="module")
def app(closed):
    return create_app(closed, settings=FREE)


@pytest.fixture
def visitor(app):
    """A browser without a cookie."""
    return TestClient(app, follow_redirects=False)


@pytest.fixture(scope="module")
def members(app):
    """A logged-in browser and its form token, of every role."""
    made = {}
    for role in ROLES:
        client = TestClient(app, follow_redirects=False)
        made[role] = client, log_in(client, role)
    return made


@pytest.fixture(scope="module")
def tokens(closed):
    """A program's token, of every role."""
    with Accounts(closed) as accounts:
        return {role: accounts.make_token(role, "test", 1) for role in ROLES}


def ask(client, route, **headers):
    """A request that fits a route, with nothing in it."""
    method, path = route.split(" ")
    path = "/static/style.css" if path == "/static" else path
    values = VALUES | {"id": "999999"} if method == "DELETE" else VALUES  # others need case 1
    for name, value in values.items():
        path = path.replace("{" + name + "}", value)
    method = "GET" if method == "*" else method
    return client.request(method, path, headers=headers)


def refused(answer):
    """Whether a request was kept out, whatever it asked for."""
    if answer.status_code == 403 and "matching subjects is switched off" in answer.text:
        return False  # by the archive, and not at the doors
    to_login = answer.status_code == 303 and answer.headers["location"].startswith("/login")
    return answer.status_code in (401, 403) or to_login


def test_the_table_here_names_every_route(app):
    assert {f"{method} {path}" for method, path in keys(app)} == set(MAY)


def test_no_line_is_left_over(app):
    assert set(doors.POLICIES) == set(keys(app))


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("route", [route for route in sorted(MAY) if route != "POST /logout"])
def test_every_role_at_every_route(members, tokens, visitor, route, role):
    fitting = MAY[route] == "-" or role[0] in MAY[route]
    client, token = members[role]
    if route != "POST /login":  # without a name it says 401 to everybody
        assert refused(ask(client, route, **{"X-CSRF-Token": token})) is not fitting
        bearing = ask(visitor, route, Authorization=f"Bearer {tokens[role]}")
        assert refused(bearing) is not fitting
    else:
        assert "not right" in ask(client, route).text


@pytest.mark.parametrize("role", ROLES)
def test_every_role_logs_out(app, role):
    client = TestClient(app, follow_redirects=False)
    token = log_in(client, role)
    kept = dict(client.cookies)
    answer = ask(client, "POST /logout", **{"X-CSRF-Token": token})
    assert answer.status_code == 303
    again = TestClient(app, follow_redirects=False, cookies=kept)  # who kept the cookie
    assert again.get("/").status_code == 401


@pytest.mark.parametrize("route", CLOSED)
def test_nobody_comes_in_unknown(visitor, route):
    program = ask(visitor, route)
    assert program.status_code == 401
    assert "log in" in program.text
    browser = ask(visitor, route, Accept="text/html")
    assert browser.status_code == (303 if route.startswith("GET") else 401)
    for secret in ("", "fvl_wrong", "x" * 10_000):
        assert ask(visitor, route, Authorization=f"Bearer {secret}").status_code == 401
        assert ask(visitor, route, Cookie=f"foveola={secret}").status_code == 401


@pytest.mark.parametrize("route", sorted(set(MAY) - set(CLOSED)))
def test_what_is_open_is_open(visitor, route):
    answer = ask(visitor, route)
    assert answer.status_code == (401 if route == "POST /login" else 200)


@pytest.mark.parametrize("route", sorted(set(UNSAFE) - {"POST /login"}))  # no session yet
@pytest.mark.parametrize("token", ["", "0" * 64, "ü", "of another session"])
def test_nothing_is_changed_without_the_token_of_the_session(members, route, token):
    client, _ = members["admin"]
    if token == "of another session":
        token = members["viewer"][1]
    answer = ask(client, route, **({"X-CSRF-Token": token.encode()} if token else {}))
    assert answer.status_code == 403
    assert "no longer valid" in answer.text


@pytest.mark.parametrize("route", UNSAFE)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://testserver.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_nothing_is_changed_for_the_page_of_another_site(members, client, route, headers):
    known, token = members["admin"]
    for asked in (known, client):  # with accounts, and without
        answer = ask(asked, route, **{"X-CSRF-Token": token}, **headers)
        assert answer.status_code == 403
        assert "another site" in answer.text


@pytest.fixture(scope="module")
def ended(closed):
    """Cookies of sessions: one unused for an hour, one used all the time for twelve."""
    clock = _Clock(time.time() - 12 * 3600 - 5)
    with Accounts(closed, clock) as accounts:
        long = accounts.log_in("admin", PASSWORD).secret
        while clock.now < time.time() - 1800:
            clock.now += 1800
            assert accounts.session(long)
        clock.now = time.time() - 3605
        unused = accounts.log_in("admin", PASSWORD).secret
        assert accounts.session(unused)
    return {"unused": unused, "long": long}


class _Clock:
    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now


@pytest.mark.parametrize("route", CLOSED)
@pytest.mark.parametrize("which", ["unused", "long"])
def test_a_session_that_has_ended_opens_nothing(visitor, ended, route, which):
    assert ask(visitor, route, Cookie=f"foveola={ended[which]}").status_code == 401


def test_a_token_that_has_expired_or_was_revoked_opens_nothing(closed, visitor):
    past = _Clock(time.time() - 86_401)
    with Accounts(closed, past) as accounts:
        expired = accounts.make_token("admin", "old", 1)
    with Accounts(closed) as accounts:
        revoked = accounts.make_token("admin", "new", 1)
        asked = {"Authorization": f"Bearer {revoked}"}
        assert visitor.get("/api/v1/archive", headers=asked).status_code == 200
        accounts.revoke(accounts.tokens()[-1].number)
    for secret in (expired, revoked):
        asked = {"Authorization": f"Bearer {secret}"}
        assert visitor.get("/api/v1/archive", headers=asked).status_code == 401


@pytest.mark.parametrize("end", ["password", "role", "removal"])
def test_a_session_ends_with_what_it_was_opened_by(closed, app, end):
    with Accounts(closed) as accounts:
        accounts.add("leaver", "viewer", PASSWORD)
        client = TestClient(app, follow_redirects=False)
        log_in(client, "leaver")
        assert client.get("/").status_code == 200
        if end == "password":
            accounts.set_password("leaver", "four other plain words")
        elif end == "role":
            accounts.set_role("leaver", "curator")
        if end != "removal":
            assert client.get("/").status_code == 401
        accounts.remove("leaver")
    assert client.get("/").status_code == 401


@pytest.mark.parametrize("end", ["password", "role", "removal"])
def test_a_token_ends_with_what_it_was_made_by(closed, app, end):
    with Accounts(closed) as accounts:
        accounts.add("leaver", "viewer", PASSWORD)
        secret = accounts.make_token("leaver", "", 1)
        other = accounts.make_token("viewer", "", 1)
        client = TestClient(app, headers={"Authorization": f"Bearer {secret}"})
        assert client.get("/api/v1/archive").status_code == 200
        if end == "password":
            accounts.set_password("leaver", "four other plain words")
        elif end == "role":
            accounts.set_role("leaver", "curator")
        else:
            accounts.remove("leaver")
        assert client.get("/api/v1/archive").status_code == 401
        client.headers["Authorization"] = f"Bearer {other}"  # nobody else's
        assert client.get("/api/v1/archive").status_code == 200
        if end != "removal":
            accounts.remove("leaver")


def test_a_route_that_nobody_thought_of_keeps_the_service_from_starting():
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.get("/login")(lambda: None)
    Plan(app)
    app.delete("/cases/{id}")(lambda: None)
    with pytest.raises(ValueError, match=r"no line in POLICIES .* DELETE /cases/\{id\}"):
        Plan(app)


def test_roles_that_differ():
    # worked by hand: what a door needs, and the roles that pass it
    passes = {"viewer": "vcma", "curator": "ca", "matcher": "ma", "admin": "a"}
    for needed, letters in passes.items():
        assert "".join(role[0] for role in ROLES if allowed(role, needed)) == letters


def test_a_door_of_another_role_is_kept_shut(members, tokens, visitor, monkeypatch):
    for needed, letters in {"curator": "ca", "matcher": "ma", "admin": "a"}.items():
        monkeypatch.setitem(POLICIES, ("GET", "/api/v1/archive"), RoutePolicy(needed))
        for role in ROLES:
            client, _ = members[role]
            status = 200 if role[0] in letters else 403
            assert client.get("/api/v1/archive").status_code == status
            bearing = {"Authorization": f"Bearer {tokens[role]}"}
            assert visitor.get("/api/v1/archive", headers=bearing).status_code == status


# Forms, host names, how often


def test_the_token_may_come_in_the_form(members, photographs):
    client, token = members["viewer"]
    file = {"photograph": ("a.png", photographs[0].read_bytes(), "image/png")}
    sent = client.post("/queries", data={"csrf": token, "eye": "left"}, files=file)
    assert sent.status_code == 303
    assert sent.headers["location"].startswith("/queries/")
    assert client.post("/queries", data={"csrf": "0" * 64}, files=file).status_code == 403
    hidden = {"csrf": ("csrf", token.encode()), **file}  # a file is no field
    assert client.post("/queries", files=hidden).status_code == 403
    assert client.post("/cases/1/like", data={"csrf": token}).status_code == 303


def test_every_form_of_every_template_brings_the_token():
    for path in Path(doors.__file__).with_name("templates").glob("*.html"):
        for form in re.findall(r"<form[^>]*>.*?</form>", path.read_text(encoding="utf-8"), re.S):
            if 'method="post"' in form and path.name != "login.html":
                assert "{{ csrf() }}" in form, path.name


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8321", 200),
        ("localhost", 200),
        ("[::1]:8321", 200),
        ("LOCALHOST:1", 200),
        ("archive.clinic.example", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost:80:evil", 421),
        ("", 421),
        ("evil.example:8321", 421),
    ],
)
def test_it_answers_to_its_own_names_only(served, host, status):
    names = ("127.0.0.1", "localhost", "::1", "archive.clinic.example")
    app = create_app(served, settings=Settings(host_names=names))
    answer = TestClient(app).get("/api/v1/health", headers={"Host": host})
    assert answer.status_code == status
    assert "evil" not in answer.text


def test_too_many_requests_are_told_to_wait(closed):
    app = create_app(closed, settings=Settings(rate=0.5, burst=3))
    client = TestClient(app, follow_redirects=False)
    said = [client.get("/login").status_code for _ in range(5)]
    assert said == [200, 200, 200, 429, 429]
    answer = client.get("/login")
    assert 1 <= int(answer.headers["retry-after"]) <= 2


def test_an_account_is_counted_wherever_it_comes_from(closed, tokens):
    app = create_app(closed, settings=Settings(rate=0.001, burst=2, behind_proxy=True))
    client = TestClient(app, client=("127.0.0.1", 5))
    said = [
        client.get(
            "/api/v1/archive", headers={"Authorization": f"Bearer {tokens[role]}", "X-Forwarded-For": address}
        ).status_code
        for role, address in [
            ("viewer", "192.0.2.1"),
            ("viewer", "192.0.2.2"),
            ("viewer", "192.0.2.3"),
            ("curator", "192.0.2.1"),
        ]
    ]
    assert said == [200, 200, 429, 200]

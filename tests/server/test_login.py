"""Logging in and out, and what is done against guessing."""

import shutil

import pytest
from fastapi.testclient import TestClient

from foveola.server import Settings, create_app
from foveola.server.audit import read
from foveola.server.auth import Accounts
from foveola.server.limits import Backoff, Buckets, address_key
from foveola.server.web.login import local
from server.people import PASSWORD, log_in, with_accounts


@pytest.fixture(scope="module")
def archive(served, tmp_path_factory):
    """With two accounts."""
    folder = tmp_path_factory.mktemp("login") / "A"
    shutil.copytree(served, folder)
    with_accounts(folder, roles=("viewer", "curator"))
    return folder


@pytest.fixture
def visitor(archive):
    app = create_app(archive, settings=Settings(behind_proxy=True))
    return TestClient(app, follow_redirects=False, client=("127.0.0.1", 5))


def attempt(client, name="viewer", password="wrong words altogether", **headers):
    return client.post("/login", data={"name": name, "password": password}, headers=headers)


def test_a_browser_is_led_to_the_login_and_on_to_where_it_went(visitor):
    asked = visitor.get("/cases/1?x=a%26b", headers={"Accept": "text/html,*/*"})
    assert (asked.status_code, asked.headers["location"]) == (303, "/login?next=/cases/1%3Fx%3Da%2526b")
    form = visitor.get(asked.headers["location"])
    assert 'action="/login?next=/cases/1%3Fx%3Da%2526b"' in form.text
    answer = visitor.post(asked.headers["location"], data={"name": " VIEWER ", "password": PASSWORD})
    assert answer.headers["location"] == "/cases/1?x=a%26b"
    assert visitor.get(answer.headers["location"]).status_code == 200
    assert visitor.get("/login").status_code == 303


@pytest.mark.parametrize(
    "address",
    [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "evil",
        "",
        "/\t/evil.example",
        "/ok\r\nSet-Cookie: a=b",
        "/a\\b",
    ],
)
def test_nobody_is_led_elsewhere(address):
    assert local(address) == "/"


def test_the_cookie_is_no_business_of_scripts_or_other_sites(visitor):
    plain = attempt(visitor, password=PASSWORD).headers["set-cookie"]
    assert plain.startswith("foveola=")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(plain.split("; "))
    assert "Secure" not in plain
    forwarded = attempt(visitor, password=PASSWORD, **{"X-Forwarded-Proto": "https"})
    cookie = forwarded.headers["set-cookie"]
    assert cookie.startswith("__Host-foveola=")
    assert {"HttpOnly", "SameSite=strict", "Path=/", "Secure"} <= set(cookie.split("; "))


def test_only_a_proxy_on_this_computer_is_believed(archive):
    for settings, client in [(Settings(behind_proxy=True), ("192.0.2.7", 5)), (Settings(), ("127.0.0.1", 5))]:
        visitor = TestClient(create_app(archive, settings=settings), client=client, follow_redirects=False)
        answer = attempt(visitor, password=PASSWORD, **{"X-Forwarded-Proto": "https"})
        assert answer.headers["set-cookie"].startswith("foveola=")


def test_a_wrong_name_and_a_wrong_password_are_told_alike(visitor):
    one, other = attempt(visitor), attempt(visitor, name="nobody")
    assert one.status_code == other.status_code == 401
    assert one.text == other.text
    assert "not right" in one.text
    assert "set-cookie" not in one.headers


def test_guessing_at_an_account_has_to_wait_wherever_it_comes_from(archive, monkeypatch):
    app = create_app(archive, settings=Settings(behind_proxy=True))
    visitor = TestClient(app, follow_redirects=False, client=("127.0.0.1", 5))
    looked = []
    accounts = app.state.auth.accounts
    monkeypatch.setattr(accounts, "log_in", lambda name, _: looked.append(name))
    said = [attempt(visitor, **{"X-Forwarded-For": f"198.51.100.{n}"}).status_code for n in range(8)]
    assert said == [401] * 5 + [429] * 3
    assert len(looked) == 5
    answer = attempt(visitor, password=PASSWORD)  # not even the right one
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert "Try again in" in answer.text
    assert attempt(visitor, name="curator").status_code == 401  # others are not kept out


def test_guessing_from_one_address_has_to_wait_whatever_the_name(archive, monkeypatch):
    app = create_app(archive, settings=Settings(behind_proxy=True))
    visitor = TestClient(app, follow_redirects=False, client=("127.0.0.1", 5))
    monkeypatch.setattr(app.state.auth.accounts, "log_in", lambda *_: None)
    claimed = {"X-Forwarded-For": "203.0.113.9, 198.51.100.1"}  # the last is what the proxy record_access
    said = [attempt(visitor, name=f"n{n}", **claimed).status_code for n in range(22)]
    assert said == [401] * 20 + [429] * 2
    other = {"X-Forwarded-For": "203.0.113.9, 198.51.100.2"}
    assert attempt(visitor, name="n30", **other).status_code == 401


def test_logging_in_and_out_is_in_the_log_and_what_was_typed_wrongly_is_not(archive, visitor):
    token = log_in(visitor, "curator")
    visitor.post("/logout", data={"csrf": token})
    attempt(visitor, name="curator")
    attempt(visitor, name="my secret password")
    found = [(seen.account, seen.action) for seen in read(archive)]
    assert found[-4:] == [
        ("curator", "log in"),
        ("curator", "log out"),
        ("curator", "log in refused"),
        ("", "log in refused"),
    ]
    assert "secret" not in (archive / "audit-log.jsonl").read_text()


def test_logging_out_clears_what_the_browser_kept(visitor):
    token = log_in(visitor, "viewer")
    answer = visitor.post("/logout", data={"csrf": token})
    assert answer.headers["clear-site-data"] == '"cache"'
    assert "Max-Age=0" in answer.headers["set-cookie"]


def test_the_name_and_a_way_out_are_on_every_page(visitor):
    log_in(visitor, "viewer")
    for address in ("/", "/cases/1", "/cases/9999"):
        text = visitor.get(address).text
        assert "viewer</span>" in text
        assert 'action="/logout"' in text


def test_without_accounts_there_is_no_login_and_no_log(client, served):
    assert client.get("/login").headers["location"] == "/"
    text = client.get("/").text
    assert "/logout" not in text
    assert "csrf" not in text
    assert not (served / "audit-log.jsonl").exists()


def test_the_first_account_shuts_an_open_service(served, tmp_path):
    shutil.copytree(served, tmp_path / "A")
    client = TestClient(create_app(tmp_path / "A"), follow_redirects=False)
    assert client.get("/cases/1").status_code == 200
    with_accounts(tmp_path / "A", roles=("viewer",))
    assert client.get("/cases/1").status_code == 401
    with Accounts(tmp_path / "A") as accounts:
        accounts.remove("viewer")
    assert client.get("/cases/1").status_code == 401  # and no removal opens it again


# What the waiting is made of


class _Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_bucket_by_hand():
    clock = _Clock()
    buckets = Buckets(rate=2, burst=3, clock=clock)
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]  # 1 request at 2 a second
    assert buckets.take("b") == 0
    clock.now = 0.5
    assert buckets.take("a") == 0
    assert buckets.take("a") == 0.5
    clock.now = 100
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]  # no more than the burst


def test_waiting_doubles_by_hand():
    clock = _Clock()
    waits = Backoff(free=2, longest=10, clock=clock)
    said = []
    for _ in range(8):
        while wait := waits.attempt("a"):
            said.append(wait)
            clock.now += wait
    assert said == [1, 2, 4, 8, 10, 10]  # after the 2nd, 3rd ... failure
    clock.now += 41
    assert [waits.attempt("a") for _ in range(3)] == [0, 0, 1]  # forgotten


def test_a_success_takes_back_one_attempt_or_all():
    waits = Backoff(free=2, longest=10, clock=_Clock())
    waits.attempt("a")
    waits.attempt("a")
    waits.forgive("a")
    assert waits.attempt("a") == 0
    assert waits.attempt("a") == 1
    waits.forgive("a", all_=True)
    assert waits.attempt("a") == 0
    waits.forgive("nobody")


def test_memory_is_bounded(monkeypatch):
    from foveola.server import limits

    monkeypatch.setattr(limits, "MOST", 5)
    buckets, waits = Buckets(1, 1), Backoff(1, 1)
    for n in range(20):
        buckets.take(str(n))
        waits.attempt(str(n))
    assert len(buckets._level) == len(waits._failed) == 5


def test_a_household_is_one_address():
    assert address_key("2001:db8::1") == address_key("2001:db8::ffff:1")
    assert address_key("2001:db8::1") != address_key("2001:db8:0:1::1")
    assert address_key("::ffff:192.0.2.1") == "192.0.2.1"
    assert address_key("192.0.2.1") != address_key("192.0.2.2")
    assert address_key("testclient") == "testclient"

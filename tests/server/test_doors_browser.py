"""Logging in, searching and logging out as a person does, in a real browser."""

import http.client
import shutil
import socket
from pathlib import Path

import pytest

from foveola.server import create_app
from foveola.server.audit import read, verify
from foveola.server.timeouts import TimedProtocol
from server.browsing import NEEDED, as_served, dropped, listening, log_in, shoot, until
from server.people import PASSWORD, with_accounts

pytestmark = NEEDED


@pytest.fixture(scope="module")
def archive(served, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("doors") / "A"
    shutil.copytree(served, folder)
    with_accounts(folder, roles=("viewer",))
    return folder


@pytest.fixture(scope="module")
def address(archive):
    """Of the service, listening as `foveola serve` does."""
    with as_served(archive) as found:
        yield found


def test_wrong_then_right_then_a_search_then_out_for_good(tab, address, archive, photographs):
    tab.goto(f"{address}/cases/3")
    assert "/login?next=" in tab.url
    shoot(tab, "login")
    log_in(tab, "viewer", "four wrong words here")
    tab.wait_for_selector(".fault")
    shoot(tab, "wrong")
    log_in(tab, "viewer", PASSWORD)
    tab.wait_for_selector(".visits, .told")
    assert tab.url == f"{address}/cases/3"
    shoot(tab, "case")
    tab.get_by_role("link", name="Foveola").click()
    dropped(tab, photographs[1])
    tab.get_by_role("button", name="Find similar cases").click()
    tab.wait_for_selector(".hit")
    until(lambda: all(i.evaluate("i => i.naturalWidth") for i in tab.query_selector_all(".shot img")[:4]))
    shoot(tab, "hits")
    tab.get_by_role("checkbox", name="2 moderate NPDR").check()  # by htmx
    until(lambda: len(tab.query_selector_all(".hit")) not in (0, 12))
    found = tab.url
    tab.get_by_role("button", name="More like this").first.click()
    tab.wait_for_url(lambda url: url != found)
    tab.wait_for_selector(".hit")
    actions = [seen.action for seen in read(archive, account="viewer")]
    assert actions[:3] == ["log in refused", "log in", "case"]
    assert actions.count("search") == 3
    assert "ask about" in actions

    tab.get_by_role("button", name="Log out").click()
    tab.wait_for_url(f"{address}/login")
    for _ in range(4):
        tab.go_back(wait_until="load")
        assert tab.query_selector(".hit") is None, tab.url
        assert tab.query_selector(".photo") is None, tab.url
        assert "/login" in tab.url
    answer = tab.request.get(found, headers={"Accept": "text/html"}, max_redirects=0)
    assert answer.status == 303
    assert verify(archive).cut == ()


def test_a_part_of_a_page_that_comes_too_late_leads_to_the_login(tab, address, photographs):
    tab.goto(f"{address}/login")
    log_in(tab, "viewer", PASSWORD)
    tab.set_input_files("#photograph", photographs[2])
    tab.get_by_role("button", name="Find similar cases").click()
    tab.wait_for_selector(".hit")
    tab.context.clear_cookies()
    tab.locator("select[name=eye]").select_option("left")
    tab.wait_for_url(f"{address}/login")


def test_an_answer_is_sent_at_once(archive):
    kept = []

    class Watched(TimedProtocol):
        def connection_made(self, transport):
            super().connection_made(transport)
            made = transport.get_extra_info("socket")
            kept.append(made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    with listening(create_app(archive), http=Watched) as address:
        host, _, port = address.removeprefix("http://").partition(":")
        socket.create_connection((host, int(port)), timeout=20).close()
        until(lambda: kept)
    assert all(kept)


def test_a_head_that_does_not_end_is_not_waited_for(address, monkeypatch):
    from foveola.server import timeouts as patience

    host, _, port = address.removeprefix("http://").partition(":")
    lost, give_up = [], patience.TimedProtocol._give_up

    def told(self):
        give_up(self)
        lost.append(self.transport.is_closing())

    monkeypatch.setattr(patience, "SECONDS", 0.3)
    monkeypatch.setattr(patience.TimedProtocol, "_give_up", told)

    def closed(slow, sent):
        slow.sendall(sent)
        data = b""
        while more := slow.recv(65536):
            data += more
        return data

    def connection():
        return socket.create_connection((host, int(port)), timeout=20)

    with connection() as slow:
        assert closed(slow, b"GET / HTTP/1.1\r\nHos") == b""
        assert lost == [True]
    after = http.client.HTTPConnection(host, int(port), timeout=20)
    after.request("GET", "/login")
    answer = after.getresponse()
    assert answer.status == 200
    assert answer.read()
    with after.sock as slow:
        assert closed(slow, b"GET / HTTP/1.1\r\nX: ") == b""
        assert lost == [True, True]  # and not because no connection is kept open for ever
    with connection() as slow:
        data = closed(slow, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 100_000)
        assert b"400" in data.splitlines()[0]

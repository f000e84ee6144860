"""Who record_access which case is in the audit log before they see it."""

import re
import shutil
import threading

import anyio
import httpx
import pytest
from fastapi.testclient import TestClient

from foveola.archive import Archive
from foveola.server import Settings, create_app
from foveola.server.audit import FILE, read, verify
from foveola.server.auth import Accounts
from server.people import log_in, with_accounts

FREE = Settings(rate=1e6, burst=1e6)


@pytest.fixture(scope="module")
def archive(served, tmp_path_factory):
    folder = tmp_path_factory.mktemp("seen") / "A"
    shutil.copytree(served, folder)
    with_accounts(folder, roles=("viewer", "curator"))
    return folder


@pytest.fixture
def app(archive):
    return create_app(archive, settings=FREE)


@pytest.fixture
def viewer(app):
    client = TestClient(app, follow_redirects=False)
    client.headers["X-CSRF-Token"] = log_in(client, "viewer")
    return client


def since(archive, count):
    """The lines after the first `count`."""
    return [(s.account, s.action, s.cases) for s in read(archive)][count:]


def sent(client, photograph):
    files = {"photograph": ("a.png", photograph.read_bytes(), "image/png")}
    return client.post("/queries", files=files).headers["location"]


def test_a_search_names_the_hits_and_its_thumbnails_need_no_line(viewer, archive, photographs):
    address = sent(viewer, photographs[3])
    before = verify(archive).lines
    text = viewer.get(address, params={"where": "age > 20", "count": 5}).text
    ids = tuple(int(i) for i in re.findall(r'class="shot" href="[^"]+/(\d+)"', text))
    assert len(ids) == 5
    assert since(archive, before) == [("viewer", "search", ids)]
    for id_ in ids:
        assert viewer.get(f"/cases/{id_}/thumbnail").status_code == 200
    assert verify(archive).lines == before + 1
    viewer.get(f"/cases/{ids[0]}/picture")  # large is more than was listed
    assert since(archive, before)[1:] == [("viewer", "picture", (ids[0],))]
    assert "age" not in (archive / FILE).read_text()


def test_a_thumbnail_that_no_page_listed_has_a_line(viewer, archive):
    before = verify(archive).lines
    viewer.get("/cases/7/thumbnail")
    viewer.get("/cases/7/thumbnail")
    assert since(archive, before) == [("viewer", "thumbnail", (7,))]


def test_what_one_saw_covers_no_other(app, viewer, archive):
    viewer.get("/cases/7/picture")
    other = TestClient(app)
    log_in(other, "curator")
    before = verify(archive).lines
    other.get("/cases/7/picture")
    assert since(archive, before) == [("curator", "picture", (7,))]


def test_a_line_covers_its_pictures_for_an_hour(app, viewer, archive, monkeypatch):
    viewer.get("/cases/9/picture")
    before, keeper = verify(archive).lines, app.state.auth
    real = keeper._clock
    monkeypatch.setattr(keeper, "_clock", lambda: real() + 3601)
    viewer.get("/cases/9/picture")
    assert since(archive, before) == [("viewer", "picture", (9,))]


def test_a_case_names_all_photographs_of_its_person(viewer, archive):
    with Archive.open(archive, read_only=True) as opened:
        subject = opened.case(1).subject
        own = {id_ for id_, case in opened.cases() if case.subject == subject}
    before = verify(archive).lines
    viewer.get("/cases/1")
    ((_, action, ids),) = since(archive, before)
    assert action == "case"
    assert set(ids) == own
    viewer.get("/cases/1/picture")  # belongs to the page
    other = max(own)
    viewer.get(f"/cases/{other}/thumbnail")  # so does this, and the next does not
    viewer.get(f"/cases/{other}/picture")
    assert since(archive, before)[1:] == [("viewer", "picture", (other,))]


def test_side_by_side_is_one_line_with_its_pictures_and_maps(viewer, archive, photographs):
    address = sent(viewer, photographs[2])
    viewer.get(address)
    before = verify(archive).lines
    text = viewer.get(f"{address}/compare/3").text
    for part in re.findall(r'data-(?:picture|map)="([^"]+)"', text):
        assert viewer.get(part).status_code == 200
    assert since(archive, before) == [("viewer", "compare", (3,))]


def test_programs_are_logged_too(app, archive, photographs):
    with Accounts(archive) as accounts:
        secret = accounts.make_token("viewer", "", 1)
    program = TestClient(app, headers={"Authorization": f"Bearer {secret}"})
    before = verify(archive).lines
    files = {"photograph": ("a.png", photographs[1].read_bytes(), "image/png")}
    hits = program.post("/api/v1/search", files=files, data={"k": 3}).json()["hits"]
    program.get("/api/v1/cases/4")
    ids = tuple(hit["case"]["id"] for hit in hits)
    assert since(archive, before) == [("viewer", "search", ids), ("viewer", "case", (4,))]


def test_what_was_refused_or_is_not_there_was_not_seen(app, viewer, archive):
    before = verify(archive).lines
    assert viewer.get("/cases/9999").status_code == 404
    assert TestClient(app).get("/cases/1").status_code == 401
    assert viewer.get("/").status_code == 200
    assert verify(archive).lines == before


@pytest.mark.parametrize("address", ["/cases/5", "/cases/5/picture", "/api/v1/cases/5"])
def test_what_cannot_be_logged_is_not_shown(viewer, archive, address):
    log, aside = archive / FILE, archive / "aside"
    log.rename(aside)
    log.mkdir()
    try:
        answer = viewer.get(address)
        assert answer.status_code == 503
        assert "nothing is shown without it" in answer.text
        assert "subject" not in answer.text.lower().replace("--subject", "")
        assert viewer.get("/").status_code == 200  # shows no case
    finally:
        log.rmdir()
        aside.rename(log)
    assert viewer.get(address).status_code == 200


def test_the_line_is_there_before_the_first_byte(app, archive, viewer, monkeypatch):
    order = []
    keeper = app.state.auth
    real = keeper.log.append
    monkeypatch.setattr(keeper.log, "append", lambda *a, **k: (real(*a, **k), order.append("logged")))
    cookie = f"foveola={viewer.cookies['foveola']}"
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/cases/6",
        "raw_path": b"/cases/6",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "http_version": "1.1",
        "headers": [(b"host", b"x"), (b"cookie", cookie.encode())],
        "client": ("127.0.0.1", 1),
        "server": ("x", 80),
    }

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        order.append(message["type"])

    anyio.run(app, scope, receive, send)
    assert order[:2] == ["logged", "http.response.start"]


def test_a_photograph_is_shown_to_nobody_but_who_sent_it(app, viewer, photographs):
    address = sent(viewer, photographs[0])
    assert viewer.get(address).status_code == 200
    other = TestClient(app)
    log_in(other, "curator")
    for part in ("", "/picture", "/thumbnail", "/compare/1", "/map/1/query"):
        assert other.get(address + part).status_code == 410


def test_a_few_searches_run_at_a_time_and_the_rest_waits(archive, photographs, monkeypatch):
    app = create_app(archive, settings=Settings(searches=2, rate=1e6, burst=1e6))
    with Accounts(archive) as accounts:
        secret = accounts.make_token("viewer", "", 1)
    running, most, lock = [0], [0], threading.Lock()
    desk, entered = app.state.service, threading.Event()
    real = desk.embed

    def slow(*arguments):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        entered.wait(0.2)
        with lock:
            running[0] -= 1
        return real(*arguments)

    monkeypatch.setattr(desk, "embed", slow)
    data = photographs[0].read_bytes()
    headers = {"Authorization": f"Bearer {secret}"}

    async def ask(client, said):
        answer = await client.post("/api/v1/search", files={"photograph": data}, headers=headers)
        said.append(answer.status_code)

    async def all_at_once():
        said = []
        transport = httpx.ASGITransport(app)
        async with (
            httpx.AsyncClient(transport=transport, base_url="http://x", timeout=60) as client,
            anyio.create_task_group() as group,
        ):
            for _ in range(7):
                group.start_soon(ask, client, said)
        return said

    assert anyio.run(all_at_once) == [200] * 7
    assert most[0] == 2


def test_more_than_can_wait_are_told_to_come_again(archive, photographs, monkeypatch):
    from foveola.server.auth import middleware as gate

    monkeypatch.setattr(gate, "QUEUE", 0)
    client = TestClient(create_app(archive, settings=FREE), follow_redirects=False)
    client.headers["X-CSRF-Token"] = log_in(client, "viewer")
    files = {"photograph": ("a.png", photographs[0].read_bytes(), "image/png")}
    answer = client.post("/queries", files=files)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "2"


def test_a_body_that_does_not_arrive_is_given_up(archive):
    app = create_app(archive, settings=Settings(body_seconds=0.2))
    cookie = {"type": "application/x-www-form-urlencoded"}

    async def slow():
        yield b"name=a"
        await anyio.sleep(5)
        yield b"&password=b"

    async def ask():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            headers = {"Content-Type": cookie["type"], "Content-Length": "17"}
            return await client.post("/login", content=slow(), headers=headers)

    answer = anyio.run(ask)
    assert answer.status_code == 408

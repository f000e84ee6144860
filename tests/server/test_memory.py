"""What nobody can do by sending: fill the memory, hold every connection, keep others waiting."""

import shutil
import socket
import time
from functools import partial

import anyio
import httpx
import pytest

from foveola.server import Settings, create_app
from foveola.server import timeouts as patience
from foveola.server.auth import Accounts
from foveola.server.limits import Shares
from foveola.server.timeouts import TimedProtocol
from server.browsing import listening
from server.people import with_accounts

FREE = {"rate": 1e6, "burst": 1e6}


@pytest.fixture(scope="module")
def archive(served, tmp_path_factory):
    folder = tmp_path_factory.mktemp("memory") / "A"
    shutil.copytree(served, folder)
    with_accounts(folder, roles=("viewer", "curator"))
    return folder


@pytest.fixture(scope="module")
def tokens(archive):
    with Accounts(archive) as accounts:
        return {name: accounts.make_token(name, "", 1) for name in ("viewer", "curator")}


@pytest.fixture(scope="module")
def app(archive):
    settings = Settings(body_bytes=4_000_000, **FREE)
    return create_app(archive, upload_mb=1, settings=settings)


def bearing(token):
    return {"Authorization": f"Bearer {token}"}


def asked(app, *requests):
    """The answers to requests that are sent at the same time, as (status, headers, text)."""

    async def all_of():
        said = [None] * len(requests)
        transport = httpx.ASGITransport(app)
        async with (
            httpx.AsyncClient(transport=transport, base_url="http://x", timeout=60) as client,
            anyio.create_task_group() as group,
        ):

            async def one(place, method, path, further):
                answer = await client.request(method, path, **further)
                said[place] = (answer.status_code, answer.headers, answer.text)

            for place, (method, path, further) in enumerate(requests):
                group.start_soon(one, place, method, path, further)
        return said

    return anyio.run(all_of)


def test_shares_are_taken_and_given_back():
    shares = Shares(10, 6)
    assert shares.take("a", 6)
    assert not shares.take("a", 1)  # has its share
    assert not shares.take("b", 5)  # more than is left
    assert shares.take("b", 4)
    shares.give("a", 2)
    assert shares.take("c", 2)
    shares.give("a", 4)
    shares.give("b", 4)
    shares.give("c", 2)
    assert shares.take("d", 6)
    assert shares._held == {"d": 6}


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=b"])
@pytest.mark.parametrize("length", [8_001, 900_000, 61_000_000, 10**18])
def test_a_log_in_takes_a_few_kilobytes_and_reads_no_more(app, kind, length):
    read = []

    async def body():
        while True:
            read.append(1)
            yield b"x" * 4096

    headers = {"Content-Type": kind, "Content-Length": str(length)}
    ((status, _, _),) = asked(app, ("POST", "/login", {"content": body(), "headers": headers}))
    assert status == 413
    assert len(read) <= 1


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("how", [{"Transfer-Encoding": "chunked"}, {"Content-Length": "5"}])
@pytest.mark.parametrize("address", ["/", "/api/v1/cases/1", "/queries/none/report", "/nowhere"])
def test_what_asks_has_no_body(app, tokens, method, how, address):
    headers = bearing(tokens["curator"]) | how

    async def body():
        yield b"hello"

    ((status, said, _),) = asked(app, (method, address, {"content": body(), "headers": headers}))
    assert status == 400
    assert said["connection"] == "close"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize("address", ["/queries", "/login", "/api/v1/search", "/api/v1/jobs"])
def test_who_does_not_say_how_long_it_is_is_asked_to(app, tokens, method, address):
    async def body():
        yield b"hello"

    request = (method, address, {"content": body(), "headers": bearing(tokens["curator"])})
    ((status, _, text),) = asked(app, request)
    assert status == 411
    assert "Content-Length" in text


def unfinished(token, size, until, address="/api/v1/search"):
    """A request that says it brings more than it does, and waits."""

    async def body():
        yield b"x" * size
        await until.wait()

    headers = bearing(token) | {"Content-Length": str(size + 10), "Content-Type": "multipart/form-data; boundary=b"}
    return "POST", address, {"content": body(), "headers": headers}


@pytest.mark.parametrize("address", ["/api/v1/search", "/queries", "/api/v1/search/region"])
def test_unfinished_requests_share_one_budget_and_others_are_served(app, tokens, photographs, address):
    # 4 MB for all, 2 MB for one: of three with .9 MB each the third is too much
    photograph = {"photograph": photographs[0].read_bytes()}

    async def attack():
        end, said = anyio.Event(), []
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x", timeout=60) as by:

            async def one():
                method, path, further = unfinished(tokens["viewer"], 900_000, end, address)
                said.append(await by.request(method, path, **further))

            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(one)
                with anyio.fail_after(30):
                    while not said:
                        await anyio.sleep(0.01)
                other = await by.post("/api/v1/search", files=photograph, headers=bearing(tokens["curator"]))
                end.set()
            again = await by.post("/api/v1/search", files=photograph, headers=bearing(tokens["viewer"]))
        return said[0], other, again

    refused, other, again = anyio.run(attack)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert other.status_code == 200
    assert again.status_code == 200  # what was held is given back


def test_behind_a_proxy_the_address_it_names_has_so_many_requests(archive):
    app = create_app(archive, settings=Settings(behind_proxy=True, connections=2, **FREE))

    async def attack():
        end = anyio.Event()
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 5))
        async with httpx.AsyncClient(transport=transport, base_url="http://x", timeout=60) as by:

            async def slow():
                yield b"name=a"
                await end.wait()

            async def hold():
                headers = {
                    "X-Forwarded-For": "192.0.2.1",
                    "Content-Length": "99",
                    "Content-Type": "application/x-www-form-urlencoded",  # else nobody reads it
                }
                await by.post("/login", content=slow(), headers=headers)

            async with anyio.create_task_group() as group:
                group.start_soon(hold)
                group.start_soon(hold)
                await anyio.sleep(0.3)
                said = [
                    (await by.get("/login", headers={"X-Forwarded-For": address})).status_code
                    for address in ("192.0.2.1", "192.0.2.2")
                ]
                end.set()
            again = await by.get("/login", headers={"X-Forwarded-For": "192.0.2.1"})
            said.append(again.status_code)
        return said

    assert anyio.run(attack) == [503, 200, 200]


# Connections, as a server holds them


async def quick(scope, _, send):
    """An application that reads nothing."""
    if scope["type"] == "http":
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})


def port_of(address):
    return int(address.rpartition(":")[2])


def connected(port, source="127.0.0.1"):
    made = socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(source, 0))
    made.settimeout(10)
    return made


def answer_of(made):
    made.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    try:
        return made.recv(4096)
    except ConnectionError:
        return b""


@pytest.mark.parametrize(("behind_proxy", "left"), [(False, 3), (True, 20)])
def test_one_address_holds_so_many_connections_and_others_come_in(behind_proxy, left):
    protocol = partial(TimedProtocol, shares=Shares(100, 3), behind_proxy=behind_proxy)
    with listening(quick, http=protocol, lifespan="off") as address:
        port = port_of(address)
        held = [connected(port) for _ in range(20)]
        time.sleep(0.3)
        said = [answer_of(each) for each in held]
        assert sum(b"200 OK" in each for each in said) == left
        assert all(b"503" in each or not each for each in said if b"200 OK" not in each)
        other = connected(port, "127.0.0.2")
        assert b"200 OK" in answer_of(other)
        for each in [*held, other]:
            each.close()
        time.sleep(0.3)
        last = connected(port)  # what is closed counts no more
        assert b"200 OK" in answer_of(last)
        last.close()


@pytest.mark.parametrize(
    "begin",
    [
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n",
    ],
)
def test_what_goes_on_after_its_answer_is_cut_off(monkeypatch, begin):
    monkeypatch.setattr(patience, "SECONDS", 0.3)
    with listening(quick, http=TimedProtocol, lifespan="off") as address:
        made = connected(port_of(address))
        made.sendall(begin)
        end = time.monotonic() + 10
        with pytest.raises(ConnectionError):
            _go_on(made, end)
        made.close()


def _go_on(made, end):
    while time.monotonic() < end:
        made.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")
        time.sleep(0.05)

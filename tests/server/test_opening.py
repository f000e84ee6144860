"""A service while it is being made: what lives, what waits, and what a fault leaves."""

import asyncio
import json
import subprocess
import sys
import threading

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from foveola.errors import ArchiveError
from foveola.server import Settings, create_app
from foveola.server.startup import HEALTH, StartupApp

IMPORTED = """
import json, sys
import foveola.cli.serve, uvicorn, foveola.server.timeouts
slow = {"numpy", "openvino", "fastapi", "starlette", "pydantic"}
print(json.dumps(sorted(slow & set(sys.modules))))
"""


class Served:
    """An application as a server holds it: begun, asked, ended."""

    def __init__(self, app):
        self.app, self.heard, self.said = app, asyncio.Queue(), asyncio.Queue()

    async def __aenter__(self):
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self.heard.put_nowait({"type": "lifespan.startup"})
        self.living = asyncio.create_task(self.app(scope, self.heard.get, self.said.put))
        assert (await self.said.get())["type"] == "lifespan.startup.complete"
        return self

    async def __aexit__(self, *_):
        self.heard.put_nowait({"type": "lifespan.shutdown"})
        assert (await self.said.get())["type"] == "lifespan.shutdown.complete"
        await self.living

    async def get(self, path, host="here"):
        """Status, headers and body."""
        sent = []

        async def send(message):
            sent.append(message)

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", host.encode())],
            "client": ("127.0.0.1", 5),
            "server": ("127.0.0.1", 80),
        }
        await self.app(scope, receive, send)
        body = b"".join(message.get("body", b"") for message in sent)
        return sent[0]["status"], sorted(sent[0]["headers"]), body


def small():
    """An application that is quickly made and says where it is alive."""
    lives = []

    def lifespan(_):
        class Living:
            async def __aenter__(self):
                lives.append("begun")

            async def __aexit__(self, *_):
                lives.append("ended")

        return Living()

    def page(_):
        return PlainTextResponse("page")

    return Starlette(routes=[Route("/page", page)], lifespan=lifespan), lives


def run(test):
    asyncio.run(asyncio.wait_for(test(), 60))


def test_it_lives_at_once_as_it_will_and_all_else_waits(served):
    go, told = threading.Event(), []

    def make():
        go.wait()
        return create_app(served, settings=Settings(host_names=("here",)))

    async def test():
        async with Served(StartupApp(make, told.append, names=("here",))) as service:
            early = await service.get(HEALTH)
            page = asyncio.create_task(service.get("/login"))
            strange = asyncio.create_task(service.get(HEALTH, host="evil.example"))
            done, _ = await asyncio.wait({page, strange}, timeout=0.2)
            assert not done
            assert told == []
            go.set()
            assert (await page)[0] == 303
            assert (await strange)[0] == 421
            assert told == [None]
            assert early == await service.get(HEALTH)
            assert early[0] == 200
            assert json.loads(early[2]) == {"status": "ok"}

    run(test)


def test_what_was_made_lives_as_long_as_it():
    app, lives = small()

    async def test():
        async with Served(StartupApp(lambda: app, lambda _: None)) as service:
            assert (await service.get("/page"))[2] == b"page"
            assert lives == ["begun"]
        assert lives == ["begun", "ended"]

    run(test)


def test_why_it_cannot_be_made_is_told_and_nobody_waits_for_ever():
    go, told = threading.Event(), []
    fault = ArchiveError("it holds no archive.sqlite")

    def make():
        go.wait()
        raise fault

    async def test():
        async with Served(StartupApp(make, told.append)) as service:
            waiting = asyncio.create_task(service.get("/page"))
            await asyncio.sleep(0)
            go.set()
            status, _, body = await waiting
            assert (status, json.loads(body)) == (503, {"detail": "the service can't be started"})
            assert told == [fault]
            assert (await service.get(HEALTH))[0] == 503

    run(test)


def test_what_ends_before_it_was_made_ends_well():
    go, told, (app, lives) = threading.Event(), [], small()

    def make():
        go.wait()
        return app

    async def test():
        async with Served(StartupApp(make, told.append)):
            threading.Timer(0.2, go.set).start()
        assert lives == ["begun", "ended"]
        assert told == []

    run(test)


def test_nothing_slow_is_needed_to_say_that_it_lives():
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_the_package_has_its_names_and_no_others():
    import foveola.server

    assert foveola.server.create_app is create_app
    with pytest.raises(AttributeError, match="no attribute 'creat_app'"):
        _ = foveola.server.creat_app

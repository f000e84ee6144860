"""What every answer carries, and what is refused before anything is read."""

import re
from pathlib import Path

import pytest

from foveola.server import startup as guard
from foveola.server.services.memory import Queries

TEMPLATES = Path(guard.__file__).parent / "web" / "templates"


@pytest.mark.parametrize("address", ["/", "/static/style.css", "/api/v1/health", "/cases/9999", "/api/v1/cases/9999"])
def test_every_answer_is_fenced(client, address):
    headers = client.get(address).headers
    for name, value in guard.HEADERS.items():
        assert headers[name] == value
    assert "'unsafe" not in headers["content-security-policy"]


@pytest.mark.parametrize("address", ["/", "/login", "/static/style.css", "/cases/9999"])
@pytest.mark.parametrize(
    ("scheme", "behind_proxy", "said", "told"),
    [
        ("https", False, None, True),
        ("http", False, None, False),
        ("http", True, "https", True),
        ("http", True, "http", False),
        ("http", False, "https", False),
        ("http", True, None, False),
    ],
)
def test_who_came_by_tls_comes_by_nothing_else(served, address, scheme, behind_proxy, said, told):
    from fastapi.testclient import TestClient

    from foveola.server import Settings, create_app

    app = create_app(served, settings=Settings(behind_proxy=behind_proxy))
    asking = TestClient(app, base_url=f"{scheme}://x", client=("127.0.0.1", 5))
    headers = asking.get(address, headers={"X-Forwarded-Proto": said} if said else {}).headers
    assert ("strict-transport-security" in headers) is told


def test_patients_are_in_no_cache(client, token):
    for address in (f"/queries/{token}", "/cases/1/picture", "/api/v1/cases/1"):
        assert client.get(address).headers["cache-control"] == "no-store"


def test_no_template_needs_what_the_fence_forbids():
    assert len(list(TEMPLATES.glob("*.html"))) > 20
    for path in TEMPLATES.glob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|https?://|<script>", text), path.name


def test_too_much_is_refused_before_it_is_read(served):
    from fastapi.testclient import TestClient

    from foveola.server import create_app

    with TestClient(create_app(served, upload_mb=1)) as small:
        files = {"photograph": ("a.png", b"x" * 1_200_000, "image/png")}
        for address in ("/queries", "/api/v1/search"):
            answer = small.post(address, files=files)
            assert answer.status_code == 413
            assert "larger than 1 MB" in answer.text

        def endless():
            yield b"x" * 100

        assert small.post("/queries", content=endless()).status_code == 411


class _Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_photographs_are_forgotten_after_an_hour_and_when_many_come(client, token):
    import numpy as np

    query = client.app.state.service.queries.get(token).query
    pixels = np.zeros((40, 40, 3), np.uint8)
    clock = _Clock()
    kept = Queries(most=2, seconds=3600, clock=clock)
    first, second = kept.put(query, pixels), kept.put(query, pixels)
    assert first != second
    assert len(first) >= 20
    assert kept.get(first) is not None
    third = kept.put(query, pixels)
    assert kept.get(first) is None
    assert kept.get(third) is not None
    clock.now = 3601
    assert kept.get(third) is None


def test_an_agent_of_telemetry_is_told_nothing(client, monkeypatch):
    trace = pytest.importorskip("opentelemetry.trace", reason="this FastAPI has no telemetry")
    asked = []

    class Agent(trace.TracerProvider):
        def get_tracer(self, *arguments, **named):
            asked.append(arguments)
            return trace.NoOpTracerProvider().get_tracer(*arguments, **named)

    monkeypatch.setattr(trace, "get_tracer_provider", Agent)
    assert client.get("/api/v1/cases/9999").status_code == 404
    assert asked == []

"""What a service loads, and when."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from foveola.errors import ArchiveError, EncoderError
from foveola.retrieval import Retriever
from foveola.server import create_app
from foveola.server.services.search import SearchService

STARTED = """
import json, sys
from pathlib import Path
from foveola.cli.serve import prepare_service, service_is_ready
opened = prepare_service(Path(sys.argv[1]))
from foveola.server import create_app
create_app(Path(sys.argv[1]), retriever=opened).state.service.close()
service_is_ready()
slow = {"pandas", "lark", "scipy", "matplotlib", "openvino.tools.ovc", "torch"}
print(json.dumps(sorted(slow & set(sys.modules))))
"""


def test_it_starts_without_what_is_slow_and_not_needed_yet(served):
    command = [sys.executable, "-c", STARTED, str(served)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_it_is_ready_when_encoder_and_archive_are_loaded(served):
    desk = SearchService(Retriever.open(served))
    try:
        assert desk.ready(60.0)
        assert desk.retriever.archive._cache is not None
    finally:
        desk.close()


def test_it_is_not_ready_before_and_says_so(served, monkeypatch):
    monkeypatch.setattr(SearchService, "ready", lambda *_: False)
    with TestClient(create_app(served)) as client:
        answer = client.get("/api/v1/ready")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert "being loaded" in answer.json()["detail"]


@pytest.mark.parametrize("kind", [EncoderError, ArchiveError])
def test_why_it_will_never_be_is_said(served, monkeypatch, kind):
    def fail(_):
        raise kind("this can't be run")

    monkeypatch.setattr(Retriever, "warm", fail)
    with TestClient(create_app(served)) as client:
        answer = client.get("/api/v1/ready")
    assert (answer.status_code, answer.json()["detail"]) == (503, "this can't be run")


def test_a_query_sent_to_the_page_gives_the_hits_that_a_program_gets(client, photographs):
    """PNG phantoms are decoded once for both, JPEGs of this size twice."""
    desk = client.app.state.service
    for path in photographs[:3]:
        data = Path(path).read_bytes()
        sent = desk.queries.get(desk.receive(data))
        alone = desk.embed(data)
        assert (sent.query.descriptor == alone.descriptor).all()
        assert sent.query.gradability == alone.gradability


def test_text_paths_are_paths(served, photographs):
    app = create_app(str(served), import_root=str(photographs[0].parent))
    with TestClient(app) as client:
        assert client.get("/api/v1/health").status_code == 200

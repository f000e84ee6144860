"""The client against a service that runs as a user starts it, and against one that misbehaves."""

import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from foveola.answers import SearchAnswer
from foveola.client import (
    TOKEN,
    BusyServiceError,
    Client,
    ConflictError,
    ForbiddenError,
    InvalidError,
    JobFailedError,
    NotFoundError,
    UnreachableError,
)
from foveola.datasets.manifest import Manifest
from foveola.errors import FoveolaError, ServiceError
from foveola.indexing import add_missing
from foveola.retrieval import Retriever

COUNT = 12  # photographs in the archive, of the 32 phantoms


@pytest.fixture(scope="module")
def cases(phantoms):
    return list(Manifest.read(phantoms, collection="p").cases())


@pytest.fixture(scope="module")
def folder(cases, tmp_path_factory):
    folder = tmp_path_factory.mktemp("client") / "A"
    add_missing(folder, cases[:COUNT])
    return folder


@pytest.fixture(scope="module")
def address(folder, phantoms):
    """Of `foveola serve` on a free port."""
    command = [sys.executable, "-u", "-m", "foveola", "serve", folder, "--port", "0"]
    command += ["--import-root", phantoms.parent]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        (found,) = re.findall(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        yield found
    finally:
        process.terminate()
        faults = process.communicate(timeout=60)[1]
    assert "Traceback" not in faults


@pytest.fixture(scope="module")
def client(address):
    with Client(address) as made:
        yield made


def test_the_example_of_the_manual_runs(address, cases, tmp_path):
    (tmp_path / "text.jpg").write_text("no photograph")
    program = Path(__file__).parents[1] / "examples" / "ask_a_service.py"
    asked = [
        (address, cases[0].path),
        (address, tmp_path / "text.jpg"),
        ("http://127.0.0.1:9", cases[0].path),
        (address, "x"),
    ]
    said = [
        subprocess.run([sys.executable, program, *map(str, each)], capture_output=True, text=True, check=False)
        for each in asked
    ]
    assert [each.returncode for each in said] == [0, 1, 1, 1]
    assert said[0].stdout.startswith(f"{COUNT} cases\n1. ")
    assert said[1].stderr.startswith("refused: the photograph: ")
    assert said[2].stderr.startswith("not there: nobody answers")
    assert said[3].stderr.startswith("refused: the photograph can't be read: ")


def test_it_is_well_and_ready(client, folder):
    assert client.health() is True
    assert client.ready() == COUNT
    assert client.archive()["cases"] == COUNT


def test_a_search_gives_what_python_gives(client, folder, cases):
    with Retriever.open(folder) as retriever:
        wanted = retriever.search(Path(cases[2].path), 5, where="grade >= 0")
    said = client.search(Path(cases[2].path), 5, where="grade >= 0")
    assert [hit.case.id for hit in said.hits] == [hit.id for hit in wanted.hits]
    assert [hit.case.findings for hit in said.hits] == [hit.case.findings for hit in wanted.hits]
    assert said.trust.looks.foreign is wanted.trust.looks.foreign
    assert said.excluded_same_subject == wanted.excluded_same_subject
    assert client.search(Path(cases[2].path).read_bytes(), 5, where="grade >= 0").hits == said.hits


def test_both_eyes_are_read(client, cases):
    left, right = (Path(next(c.path for c in cases if c.eye == eye)) for eye in ("left", "right"))
    said = client.read(left, right, k=2)
    assert list(said.probabilities) == list("NDGCAHMO")
    assert set(said.eyes) == {"left", "right"}
    assert [person.rank for person in said.similar] == [1, 2]
    assert list(client.read(left=left, k=0).eyes) == ["left"]


def test_a_refusal_is_an_error_of_its_kind_with_the_service_s_sentence(client, cases):
    with pytest.raises(ForbiddenError, match="switched off"):
        client.match(Path(cases[0].path))
    with pytest.raises(NotFoundError, match="no case with the id 999"):
        client.case(999)
    with pytest.raises(InvalidError, match="the photograph: "):
        client.search(b"no photograph")
    with pytest.raises(InvalidError, match="grade"):
        client.search(Path(cases[0].path), where="grade >")
    with pytest.raises(InvalidError, match="can't be read: No such file"):
        client.search(Path("no-such-file.jpg"))
    with pytest.raises(NotFoundError, match="no such job"):
        client.job("0")


def test_cases_are_listed_over_pages(client):
    assert [case.id for case in client.cases(page=5)] == list(range(1, COUNT + 1))
    left = [case.id for case in client.cases("eye = 'left'")]
    assert left == [case.id for case in client.cases() if case.eye == "left"]


def test_a_case_is_added_seen_and_deleted(client, cases):
    new = Path(cases[20].path)
    record = {"subject": "n1", "eye": "left", "visit": 6, "grade": 0, "findings": ()}
    added = client.add(new, **record, extra={"age": 50})
    assert added.new
    assert added.case == client.case(added.case.id)
    assert (added.case.findings, added.case.visit) == (frozenset(), 6)
    assert added.case.extra == {"age": 50}
    assert client.search(new).in_archive
    assert not client.add(new, **record, extra={"age": 50}).new
    with pytest.raises(ConflictError, match="another record"):
        client.add(new, subject="n2")
    assert client.thumbnail(added.case.id).startswith(b"\xff\xd8")
    assert client.picture(added.case.id).startswith(b"\xff\xd8")
    client.delete(added.case.id)
    with pytest.raises(NotFoundError):
        client.delete(added.case.id)
    assert client.ready() == COUNT


def test_a_job_is_waited_for_with_its_progress(client, cases):
    seen = []
    done = client.wait(client.index("manifest.csv", "p"), every=0.05, progress=seen.append)
    assert done.result["added"] == len(cases) - COUNT
    assert seen[-1] == done
    assert [job.done for job in seen] == sorted(job.done for job in seen)
    assert client.ready() == len(cases)
    new = [case.id for case in client.cases()][COUNT:]
    gone = client.wait(client.remove(ids=new), every=0.05)
    assert gone.result == {"removed": len(cases) - COUNT}
    with pytest.raises(JobFailedError, match="no such source"):
        client.wait(client.index("nothing-here"), every=0.05)
    assert client.jobs()[0].state == "failed"
    with pytest.raises(ConflictError, match="has ended"):
        client.cancel(gone.id)


# A service that misbehaves


@pytest.fixture
def odd():
    """A service that answers as it is told to, and remembers what it was asked."""
    asked, answers = [], []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, dict(self.headers)))
            status, headers, body = answers.pop(0)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    server.asked, server.answers = asked, answers
    server.address = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


OK = (200, {}, b"[]")


@pytest.mark.parametrize("status", [429, 503])
def test_it_asks_again_as_late_as_it_is_told(odd, status, monkeypatch):
    pauses = []
    monkeypatch.setattr("foveola.client.time.sleep", pauses.append)
    odd.answers += [(status, {"Retry-After": "7"}, b"{}"), (status, {}, b"{}"), OK]
    with Client(odd.address) as client:
        assert client.jobs() == []
    assert pauses == [7.0, 1.0]
    odd.answers += [(status, {"Retry-After": "1"}, b'{"detail": "too many"}')] * 2
    with Client(odd.address, retries=1) as client, pytest.raises(BusyServiceError, match="too many"):
        client.jobs()


def test_ready_is_not_asked_again(odd):
    odd.answers.append((503, {}, b'{"detail": "no case yet"}'))
    with Client(odd.address) as client, pytest.raises(BusyServiceError, match="no case yet"):
        client.ready()


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b'{"detail": [1]}', b""])
def test_a_refusal_without_a_sentence_names_its_status(odd, body):
    odd.answers.append((502, {}, body))
    with Client(odd.address) as client, pytest.raises(ServiceError, match="status 502"):
        client.jobs()


@pytest.mark.parametrize("body", [b'{"cases": [{}], "next": null}', b'{"cases": [3], "next": 1}'])
def test_what_is_no_foveola_service_is_told(odd, body):
    odd.answers.append((200, {}, body))
    with Client(odd.address) as client, pytest.raises(ServiceError, match="is it a Foveola"):
        list(client.cases())


def test_the_token_comes_from_the_argument_or_the_environment(odd, monkeypatch):
    odd.answers += [OK, OK, OK]
    for token in (None, "given"):
        with Client(odd.address, token=token) as client:
            client.jobs()
    monkeypatch.setenv(TOKEN, "surroundings")
    with Client(odd.address) as client:
        client.jobs()
    said = [headers.get("Authorization") for _, headers in odd.asked]
    assert said == [None, "Bearer given", "Bearer surroundings"]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://127.0.0.1:9", "is the service started"),
        ("clinic", "no address of a service"),
        ("http://clinic:port", "no address of a service"),
    ],
)
def test_nobody_there_is_said_in_one_sentence(address, words):
    with pytest.raises(UnreachableError, match=words) as told, Client(address) as client:
        client.jobs()
    assert isinstance(told.value, FoveolaError)
    assert not Client("http://127.0.0.1:9").health()


def test_an_answer_that_takes_too_long_is_given_up(odd, monkeypatch):
    odd.answers.append((200, {}, b"["))
    with Client(odd.address, timeout=0.3) as client:
        monkeypatch.setattr(odd.RequestHandlerClass, "do_GET", lambda _: threading.Event().wait(1))
        with pytest.raises(UnreachableError, match=r"did not answer within 0\.3 s"):
            client.jobs()


def test_what_a_newer_service_says_more_is_passed_over(client, cases):
    from dataclasses import asdict

    said = client.search(Path(cases[0].path), 2)
    more = json.loads(json.dumps(asdict(said), default=sorted)) | {"new": 1}
    more["hits"][0]["new"] = {}
    assert SearchAnswer.from_dict(more) == said


def test_it_loads_neither_numpy_nor_a_model():
    program = (
        "import sys, foveola.client; from foveola.client import Client; Client('http://x').close();"
        "print(sorted({'numpy', 'openvino', 'cv2', 'fastapi', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr

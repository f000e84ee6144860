"""What other servers than Orthanc may do, with a small one that does it."""

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest

pytest.importorskip("dicomweb_client")

from dicoms import colours, to_bytes, with_pixels
from foveola.errors import ImageError, PacsError
from foveola.server.dicom.node import Peer
from foveola.server.dicom.web import PASSWORD, TOKEN, USER, Credentials, Pacs, Reference

IMAGE = Reference("1.2.1", "1.2.2", "1.2.3")


@pytest.fixture(scope="module")
def server():
    """A web server that answers with what `answer(path, query)` gives: status, type, body."""
    state = SimpleNamespace(answer=None, seen=[], location=None)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            parts = urlsplit(self.path)
            state.seen.append(dict(self.headers))
            status, kind, body = state.answer(parts.path, parse_qs(parts.query))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            if state.location is not None:
                self.send_header("Location", state.location)
            if body[:2] == b"\x1f\x8b":
                self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *_):
            pass

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    state.url = f"http://127.0.0.1:{made.server_port}/dicom-web"
    yield state
    made.shutdown()
    made.server_close()


@pytest.fixture
def pacs(server):
    server.seen.clear()
    service = Pacs(server.url, Credentials())
    yield service
    service.session.close()


def listed(*uids):
    found = [{"0020000D": {"vr": "UI", "Value": [uid]}} for uid in uids]
    return 200, "application/dicom+json", json.dumps(found).encode()


@pytest.mark.parametrize("most", [1, 2, 3, 200])
def test_all_pages_are_read_however_long_the_server_makes_them(pacs, server, most):
    uids = [f"1.{number}" for number in range(5)]

    def answer(path, query):
        start = int(query["offset"][0])
        return listed(*uids[start : start + most])

    server.answer = answer
    assert [uid for uid, _ in pacs.studies({})] == uids


def test_a_server_without_offsets_is_read_once_and_not_forever(pacs, server):
    server.answer = lambda path, query: listed("1.1", "1.2")
    assert list(pacs.studies({})) == [("1.1", None), ("1.2", None)]


def multipart(data):
    body = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n--x--"
    return 200, 'multipart/related; type="application/dicom"; boundary=x', body


def test_an_image_comes_as_it_is_stored(pacs, server):
    data = to_bytes(with_pixels(colours()))
    server.answer = lambda path, query: multipart(data)
    assert pacs.retrieve(IMAGE) == data
    assert "transfer-syntax=*" in server.seen[0]["Accept"]


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_that_is_too_large_is_the_fault_of_one_image(server, packed):
    status, kind, body = multipart(bytes(5_000_000))
    server.answer = lambda path, query: (status, kind, gzip.compress(body) if packed else body)
    pacs = Pacs(server.url, answer_bytes=1_000_000)
    with pytest.raises(ImageError, match="larger than is taken"):
        pacs.retrieve(IMAGE)
    pacs.session.close()


@pytest.mark.parametrize(
    ("status", "kind", "sentence"),
    [
        (404, ImageError, "answered 404 when asked for an image"),
        (401, PacsError, "refuses these credentials"),
        (500, PacsError, "answered 500 when asked for an image"),
    ],
)
def test_a_refusal_is_told_without_address_and_uid(pacs, server, status, kind, sentence):
    server.answer = lambda path, query: (status, "text/plain", b"Doe^Jane")
    with pytest.raises(kind, match=sentence) as caught:
        pacs.retrieve(IMAGE)
    for secret in ("http", "1.2.3", "Jane"):
        assert secret not in str(caught.value)


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b'[{"0020000D": 5}]'])
def test_an_answer_that_is_no_dicom_json_is_told(pacs, server, body):
    server.answer = lambda path, query: (200, "application/dicom+json", body)
    with pytest.raises(PacsError, match="something else when asked for what it holds"):
        list(pacs.studies({}))


def test_an_empty_answer_is_an_empty_list(pacs, server):
    server.answer = lambda path, query: (204, "application/dicom+json", b"")
    assert list(pacs.studies({})) == []


def test_an_image_that_is_no_dicom_is_the_fault_of_one_image(pacs, server):
    server.answer = lambda path, query: multipart(b"rubbish")
    with pytest.raises(ImageError, match="something else when asked for an image"):
        pacs.retrieve(IMAGE)


def said(tag, inside, vr, value):
    """A sequence of one item with one element, as JSON."""
    return {tag: {"vr": "SQ", "Value": [{inside: {"vr": vr, "Value": [value]}}]}}


@pytest.mark.parametrize(
    ("answer", "stored"),
    [
        (said("00081199", "00081155", "UI", "1.2.9"), True),
        (said("00081199", "00081155", "UI", "1.5"), False),
        (said("00081198", "00081197", "US", 272), False),
        ({"00081198": {"vr": "SQ"}} | said("00081199", "00081155", "UI", "1.2.9"), True),
    ],
)
def test_a_report_is_stored_when_the_pacs_says_so(pacs, server, answer, stored):
    server.answer = lambda *_: (200, "application/dicom+json", json.dumps(answer).encode())
    report = with_pixels(colours(), SOPInstanceUID="1.2.9")
    to_bytes(report)  # gives it file meta information
    if stored:
        pacs.store(report)
        return
    with pytest.raises(PacsError, match="did not store the report"):
        pacs.store(report)


def test_a_header_holds_what_a_report_repeats_and_no_more(pacs, server):
    found = {
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]},
        "00081030": {"vr": "LO", "Value": ["both eyes"]},
        "00104000": {"vr": "LT", "Value": ["a long story"]},
        "7FE00010": {"vr": "OW", "BulkDataURI": "http://127.0.0.1/bulk"},
    }
    server.answer = lambda *_: (200, "application/dicom+json", json.dumps([found]).encode())
    header = pacs.header(IMAGE)
    assert header.PatientName == "Doe^Jane"
    assert header.StudyInstanceUID == "1.2.1"
    assert "PatientComments" not in header
    assert "PixelData" not in header


def test_nobody_there_is_told():
    pacs = Pacs("http://127.0.0.1:9/dicom-web")
    with pytest.raises(PacsError, match=r"127\.0\.0\.1:9 can't be reached"):
        list(pacs.studies({}))
    pacs.session.close()


# Who asks


def test_credentials_come_from_a_file_or_the_environment(tmp_path, monkeypatch, server):
    file = tmp_path / "who.toml"
    file.write_text('user = "a"\npassword = "secret"\n')
    file.chmod(0o640)
    with pytest.raises(PacsError, match=r"others can read who\.toml"):
        Credentials.load(file)
    file.chmod(0o600)
    assert Credentials.load(file) == Credentials("a", "secret")
    assert "secret" not in repr(Credentials.load(file))
    for name, value in ((USER, "u"), (PASSWORD, "p"), (TOKEN, "t")):
        monkeypatch.setenv(name, value)
    assert Credentials.load(None) == Credentials("u", "p", "t")
    server.answer = lambda *_: listed()
    server.seen.clear()
    for who in (Credentials("u", "p"), Credentials(token="t"), Credentials()):
        pacs = Pacs(server.url, who)
        list(pacs.studies({}))
        pacs.session.close()
    assert [seen.get("Authorization") for seen in server.seen] == ["Basic dTpw", "Bearer t", None]


@pytest.mark.parametrize("text", ["", "user", 'name = "a"', 'user = "a"\nhost = "b"'])
def test_a_file_that_says_something_else_is_refused(tmp_path, text):
    file = tmp_path / "who.toml"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(PacsError, match=r"who\.toml"):
        Credentials.load(file)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("pacs.example/dicom-web", "expected the URL"),
        ("ftp://pacs.example", "expected the URL"),
        ("http://[", "expected the URL"),
        ("https://pacs.example:99999/", "expected the URL"),
        ("https://ann:secret@pacs.example/dicom-web", "must hold no credentials"),
        ("https://pacs.example/dicom-web?token=secret", "must hold no credentials"),
        ("http://pacs.example/dicom-web", "shows patients' data to the network"),
    ],
)
def test_a_url_that_is_none_or_would_tell_a_secret_is_refused(url, sentence):
    with pytest.raises(PacsError, match=sentence) as caught:
        Pacs(url)
    assert "secret" not in str(caught.value)


def test_http_in_a_protected_network_has_to_be_said():
    Pacs("http://pacs.example/dicom-web", clear=True).session.close()
    Pacs("http://localhost:8042/dicom-web").session.close()


@pytest.mark.parametrize(
    "address", ["dicom://host:104", "dicom://A@host", "dicom://A@host:99999", "dicom://A B@host:1"]
)
def test_an_address_of_a_node_that_is_none_is_refused(address):
    with pytest.raises(PacsError, match="expected a PACS as dicom://"):
        Peer(address)


# pynetdicom leaves its socket open where nobody answers
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_node_that_is_not_there_is_told():
    with pytest.raises(PacsError, match=r"127\.0\.0\.1:9 can't be reached"):
        Peer("dicom://A@127.0.0.1:9").header(IMAGE)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "where",
    [
        "http://127.0.0.2:{port}/stolen",
        "//localhost:{port}/stolen",
        "http://127.0.0.1:1/stolen",
        "https://127.0.0.1:{port}/stolen",
    ],
)
def test_nobody_is_followed_to_another_address(server, status, where):
    port = urlsplit(server.url).port
    server.seen.clear()
    server.answer = lambda path, _: (status, "text/plain", b"")
    server.location = where.format(port=port)
    try:
        pacs = Pacs(server.url, Credentials(user="a", password="b"))
        for ask in (
            lambda: list(pacs.studies({})),
            lambda: pacs.retrieve(IMAGE),
            lambda: pacs.header(IMAGE),
            lambda: pacs.get_json(server.url),
        ):
            with pytest.raises(PacsError, match="another address"):
                ask()
        assert len(server.seen) == 4  # and nothing came anywhere else
        pacs.session.close()
    finally:
        server.location = None


def test_within_the_address_it_is_followed(server):
    server.location = "/dicom-web/elsewhere"
    try:
        server.answer = lambda path, _: (
            (200, "application/json", b"[1]") if path.endswith("elsewhere") else (302, "text/plain", b"")
        )
        pacs = Pacs(server.url, Credentials())
        assert pacs.get_json(f"{server.url}/changes") == [1]
        pacs.session.close()
    finally:
        server.location = None

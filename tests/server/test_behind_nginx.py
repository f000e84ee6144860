"""The service behind a real nginx with the project's own file for it."""

import re
import shutil
import socket
import subprocess
from pathlib import Path

import httpx
import pytest

from foveola.server import Settings, create_app
from foveola.server.timeouts import TimedProtocol
from server.browsing import listening, until
from server.people import PASSWORD, with_accounts
from skips import needs

NAME = "archive.clinic.example"
CONF = Path(__file__).parents[2] / "deploy" / "nginx.conf"
pytestmark = [needs("nginx", "openssl")]


def free():
    """A port that nothing listens on."""
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return tried.getsockname()[1]


def written(folder, behind, plain, secure):
    """The project's file with other ports and a certificate, within a whole configuration."""
    subject = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            *subject,
            "-keyout",
            folder / "key",
            "-out",
            folder / "certificate",
        ],
        check=True,
        capture_output=True,
    )
    text = re.sub(r".*listen \[::\].*\n", "", CONF.read_text())
    for old, new in [
        ("listen 80;", f"listen 127.0.0.1:{plain};"),
        ("listen 443 ", f"listen 127.0.0.1:{secure} "),
        ("127.0.0.1:8321", f"127.0.0.1:{behind}"),
        ("/etc/ssl/certs/archive.pem", str(folder / "certificate")),
        ("/etc/ssl/private/archive.key", str(folder / "key")),
    ]:
        assert old in text
        text = text.replace(old, new)
    (folder / "site.conf").write_text(text)
    (folder / "temporary").mkdir()
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error; user root; events {{}}\n"
        f"http {{ client_body_temp_path {folder}/temporary; include site.conf; }}"
    )


@pytest.fixture(scope="module")
def proxied(served, tmp_path_factory):
    """A client that trusts the proxy's certificate, and the proxy's folder."""
    folder = tmp_path_factory.mktemp("nginx")
    shutil.copytree(served, folder / "A")
    with_accounts(folder / "A", roles=("viewer",))
    plain, secure = free(), free()
    app = create_app(folder / "A", settings=Settings(host_names=(NAME,), behind_proxy=True))
    with listening(app, http=TimedProtocol, proxy_headers=False) as behind:
        written(folder, behind.rpartition(":")[2], plain, secure)
        command = ["nginx", "-p", folder, "-c", folder / "nginx.conf"]
        with subprocess.Popen(list(map(str, command))) as nginx:
            until(lambda: answers(secure))
            origin = f"https://{NAME}:{secure}"
            with httpx.Client(
                base_url=f"https://127.0.0.1:{secure}",
                verify=False,
                timeout=60,
                headers={"Host": f"{NAME}:{secure}", "Origin": origin},
            ) as client:
                yield client, folder
            nginx.terminate()


def answers(port):
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def test_a_browser_logs_in_and_sends_a_photograph(proxied, photographs):
    client, folder = proxied
    page = client.get("/", headers={"Accept": "text/html"})
    assert page.headers["location"] == "/login"
    assert page.headers["strict-transport-security"].startswith("max-age=")
    answer = client.post("/login", data={"name": "viewer", "password": PASSWORD})
    assert answer.status_code == 303, answer.text
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-foveola=")
    assert "Secure" in cookie
    client.headers["Cookie"] = cookie.partition(";")[0]
    (token,) = re.findall(r'name="csrf" content="(\w+)"', client.get("/").text)
    data = photographs[0].read_bytes()
    sent = client.post("/queries", data={"csrf": token}, files={"photograph": data})
    assert sent.status_code == 303
    assert client.get(sent.headers["location"]).status_code == 200
    big = client.post("/queries", data={"csrf": token}, files={"photograph": b"x" * 3_000_000})
    assert big.status_code == 422  # no photograph
    assert "a temporary file" not in (folder / "error").read_text()
    assert not [path for path in (folder / "temporary").rglob("*") if path.is_file()]


def test_a_page_of_another_name_gets_nowhere(proxied):
    client, _ = proxied
    evil = {"Origin": "https://evil.example"}
    assert client.post("/login", data={"name": "viewer"}, headers=evil).status_code == 403

"""foveola serve as a user starts it: a process of its own."""

import json
import re
import signal
import socket
import subprocess
import sys
from urllib.request import urlopen

import pytest

from commands import foveola
from foveola.cli.serve import is_loopback
from foveola.datasets.manifest import Manifest
from foveola.indexing import add_missing
from skips import needs


def test_it_listens_answers_and_stops(phantoms, tmp_path):
    add_missing(tmp_path / "A", list(Manifest.read(phantoms).cases())[:4])
    command = [sys.executable, "-u", "-m", "foveola", "serve", tmp_path / "A", "--port", "0"]
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            said = process.stdout.readline()
            (address,) = re.findall(r"http://127\.0\.0\.1:\d+", said)
            with urlopen(f"{address}/api/v1/ready", timeout=60) as answer:
                assert json.load(answer) == {"status": "ready", "cases": 4}
        finally:
            process.send_signal(signal.SIGINT)
        _, faults = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in faults
    assert "Aborted" not in faults
    assert "ready" not in faults  # no address of a page in what is logged


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "clinic.example", "::"])
def test_other_computers_are_kept_out(host, tmp_path):
    done = foveola("serve", tmp_path, "--host", host, code=1)
    assert "has no accounts; make one with: foveola accounts add" in done.stderr


def test_what_is_this_computer():
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "localhost")))
    assert not any(map(is_loopback, ("10.0.0.1", "localhost.example", "")))


def test_no_archive_is_said_in_one_sentence(tmp_path):
    done = foveola("serve", tmp_path / "none", code=1)
    assert "no such archive" in done.stderr


def test_a_port_that_is_taken_is_told_in_a_sentence(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = foveola("serve", tmp_path, "--port", port, code=1)
    assert f"127.0.0.1:{port} can't be listened on (Address already in use)" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_certificate_that_is_none_is_told_in_a_sentence(tmp_path):
    (tmp_path / "junk").write_text("no certificate")
    done = refused(tmp_path, tmp_path / "junk", tmp_path / "junk")
    assert "(not PEM); expected a certificate and its own key without a password" in done.stderr


@needs("openssl")
def test_the_key_of_another_certificate_and_one_with_a_password_are_refused(tmp_path):
    for name in ("own", "other"):
        openssl(
            tmp_path,
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=x",
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.crt",
        )
    done = refused(tmp_path, tmp_path / "own.crt", tmp_path / "other.key")
    assert "(KEY_VALUES_MISMATCH)" in done.stderr
    locked = ("-aes128", "-passout", "pass:secret")
    openssl(tmp_path, "rsa", "-in", "own.key", *locked, "-out", "locked.key")
    done = refused(tmp_path, tmp_path / "own.crt", tmp_path / "locked.key")
    assert "without a password" in done.stderr


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def refused(archive, certificate, key):
    done = foveola("serve", archive, "--certificate", certificate, "--key", key, code=1)
    assert len(done.stderr.strip().splitlines()) == 1
    return done

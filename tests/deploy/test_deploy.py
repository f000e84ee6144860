"""The files of deploy/ as the programs they are for read them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from commands import foveola
from skips import needs

DEPLOY = Path(__file__).parents[2] / "deploy"


def run(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


@needs("systemd-analyze")
def test_systemd_reads_the_unit(tmp_path):
    text = (DEPLOY / "foveola.service").read_text()
    unit = tmp_path / "foveola.service"
    unit.write_text(text.replace("/opt/foveola/bin/foveola", shutil.which("true")))
    assert run("systemd-analyze", "verify", unit) == (0, "")
    unit.write_text(text.replace("ProtectHome=", "ProtectHomes="))
    assert "ProtectHomes" in run("systemd-analyze", "verify", unit)[1]  # it does look


@needs("nginx", "openssl")
def test_nginx_reads_its_file(tmp_path):
    run(
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=x",
        "-days",
        "2",
        "-keyout",
        tmp_path / "key",
        "-out",
        tmp_path / "certificate",
    )
    text = (DEPLOY / "nginx.conf").read_text()
    text = text.replace("/etc/ssl/certs/archive.pem", str(tmp_path / "certificate"))
    text = text.replace("/etc/ssl/private/archive.key", str(tmp_path / "key"))
    (tmp_path / "site.conf").write_text(text)
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid; error_log stderr; events {{}} http {{ include site.conf; }}"
    )
    code, said = run("nginx", "-t", "-p", tmp_path, "-c", tmp_path / "nginx.conf")
    assert code == 0, said


@needs("caddy")
def test_caddy_reads_its_file():
    code, said = run("caddy", "validate", "--adapter", "caddyfile", "--config", DEPLOY / "Caddyfile")
    assert code == 0, said


@pytest.mark.parametrize("name", ["foveola.service", "Containerfile"])
def test_the_options_are_those_of_the_program(name):
    text = (DEPLOY / name).read_text()
    options = set(re.findall(r"(?:serve|CMD).*", text)[-1].replace('"', " ").replace(",", " ").split())
    options = {word for word in options if word.startswith("--")}
    assert options
    assert options <= set(foveola("serve", "--help").stdout.split())

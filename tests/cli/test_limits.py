"""A full disk, a disc that can't be written and too little memory: one sentence, nothing left."""

import contextlib
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from foveola.archive import Archive
from foveola.cli.commands import LEAST_MEMORY, main

MIB = 1 << 20
COMMANDS = (
    ("info", "A"),
    ("search", "A", "x.png"),
    ("index", "A", "x.csv"),
    ("serve", "A"),
    ("accounts", "list", "A"),
    ("train", "x.toml"),
    ("backup", "A", "B"),
    ("forget", "A", "x"),
)


@pytest.mark.parametrize("kind", ["AS", "DATA"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_too_little_memory_is_a_sentence_for_every_command(tmp_path, monkeypatch, command, kind):
    asked = getattr(resource, f"RLIMIT_{kind}")
    real = resource.getrlimit
    monkeypatch.setattr(resource, "getrlimit", lambda which: (800 * MIB, -1) if which == asked else real(which))
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 1
    assert "only 800 MiB of memory here, and Foveola needs 1,536" in done.output
    assert len(done.output.splitlines()) == 1


@pytest.mark.parametrize("mib", [400, 800])
def test_a_real_limit_ends_in_a_sentence_and_no_signal(tmp_path, mib):
    script = f'ulimit -v {mib * 1024}; exec "$0" -m foveola info "$1"'
    done = subprocess.run(["sh", "-c", script, sys.executable, tmp_path], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: a process may use only {mib} MiB of memory here")
    assert "Traceback" not in done.stderr


def test_enough_memory_is_enough(tmp_path, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (LEAST_MEMORY, -1))
    done = CliRunner().invoke(main, ["info", str(tmp_path)])
    assert "no archive.sqlite" in done.output or "not an archive" in done.output


@contextlib.contextmanager
def full(size):
    """No file may grow beyond a size, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def place(learnt, tmp_path):
    """A copy of the archive that learnt, and a photograph of nobody in it."""
    shutil.copytree(learnt, tmp_path / "A")
    shutil.copy(next(iter((learnt.parent / "new/images").iterdir())), tmp_path / "new.png")
    return tmp_path


WRITING = {
    "index anew": (1000, ("index", "N", "new.png")),
    "index more": (1000, ("index", "A", "new.png")),
    "backup": (100_000, ("backup", "A", "B")),
    "page": (5000, ("search", "A", "new.png", "--html", "page.html")),
    "learn": (1000, ("learn", "A")),
    "study": (100, ("study", "new", "A", "S", "--queries", "3")),
    "matching on": (10, ("matching", "on", "A", "--purpose", "a test")),
    "forget": (10, ("forget", "A", "P00001", "--yes")),
    "remove": (1000, ("remove", "A", "--subject", "P00001")),
    "accounts": (1000, ("accounts", "add", "A", "anna", "--role", "viewer")),
}


LOGS = ("A/audit-log.jsonl", "A/matching-log.jsonl")  # without a line, where there is no room for one


def files(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if not path.name.endswith(("-wal", "-shm", "lock"))
    }


@pytest.mark.parametrize("what", WRITING)
def test_a_full_disk_is_a_sentence_and_leaves_nothing_half_written(place, monkeypatch, what):
    size, command = WRITING[what]
    monkeypatch.chdir(place)
    before = files(place)
    with full(size):
        done = CliRunner().invoke(main, command, input="horse battery staple 1\n" * 2)
    assert done.exit_code == 1, (done.output, done.exception)
    assert done.output.splitlines()[-1].startswith("Error: "), done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert not any((place / name).stat().st_size for name in LOGS if (place / name).exists() and what == "matching on")
    new = {name for name in files(place) - before if name not in LOGS}
    assert new == set(), new
    again = CliRunner().invoke(main, command, input="horse battery staple 1\n" * 2)
    assert again.exit_code == 0, again.output


NAMED = {
    "N": (1000, ("index", "N", "new.png")),
    "page.html": (5000, ("search", "A", "new.png", "--html", "page.html")),
    "read.html": (5000, ("read", "--left", "new.png", "--html", "read.html")),
    "all.html": (5000, ("evaluate", "A", "--bootstrap", "0", "--html", "all.html")),
    "F/precision.png": (5000, ("evaluate", "A", "--bootstrap", "0", "--plots", "F")),
    "S/study.json": (100, ("study", "new", "A", "S", "--queries", "3")),
    "A/regions/basis.npz": (10, ("regions", "on", "A")),
    "A/accounts.sqlite": (1000, ("accounts", "add", "A", "anna", "--role", "viewer")),
    "PP/phantom.json": (10, ("phantom", "PP", "--subjects", "1")),
    "PP/images/P00000_R_m000.jpg": (1000, ("phantom", "PP", "--subjects", "1")),
}


@pytest.mark.parametrize("name", NAMED)
def test_a_full_disk_is_told_with_what_could_not_be_written(place, monkeypatch, name):
    """And the next try, on a disk that is still full, says the same; the one after is well."""
    size, command = NAMED[name]
    monkeypatch.chdir(place)
    said = []
    with Archive.open(place / "A"), full(size):  # so that SQLite needs no room to read it
        for _ in range(2):
            done = CliRunner().invoke(main, command, input="horse battery staple 1\n" * 2)
            said.append(done.output.splitlines()[-1])
    wanted = f"Error: {name} can't be written: " if name == "N" else f"Error: {name}: "
    assert said == [f"{wanted}File too large"] * 2
    again = CliRunner().invoke(main, command, input="horse battery staple 1\n" * 2)
    assert again.exit_code == 0, again.output


@pytest.mark.parametrize("number", [13, 28, 30, 122], ids=["EACCES", "ENOSPC", "EROFS", "EDQUOT"])
def test_a_backup_says_what_is_wrong_with_the_disc(place, monkeypatch, number):
    def refused(*_):
        raise OSError(number, "refused")

    monkeypatch.chdir(place)
    for name in ("copyfile", "copymode"):
        monkeypatch.setattr(f"foveola.server.maintenance.backup.shutil.{name}", refused)
    done = CliRunner().invoke(main, ["backup", "A", "B"])
    assert (
        done.output == "Error: B can't be written: refused; make room, or give another place. Nothing was left there\n"
    )
    assert {path.name for path in place.iterdir()} == {"A", "new.png"}

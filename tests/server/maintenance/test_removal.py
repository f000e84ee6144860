"""A removal is whole, whatever comes in between: a kill, a locked part, a disc, a reader."""

import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient

from foveola.archive import Archive, database
from foveola.archive.removals import are_pending
from foveola.cli.commands import main
from foveola.errors import ArchiveError, NoCaseError
from foveola.retrieval import Retriever
from foveola.server import create_app
from foveola.server.maintenance import finish_removals, remove, remove_cases, settle
from foveola.server.maintenance.remove import forget
from foveola.server.services.changes import Changes
from server.maintenance.toy_archive import GONE, found_of, made_up, make, state

NAME = b"subject-P1"
KILLED = Path(__file__).with_name("killed_removal.py")


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("toy") / "A").parent


@pytest.fixture
def folder(kept, tmp_path):
    """A copy where the one that was made stood: the paths in it hold."""
    shutil.copytree(kept, tmp_path / "aside")
    yield kept / "A"
    shutil.rmtree(kept)
    shutil.copytree(tmp_path / "aside", kept)


def traces_of(folder, what=NAME):
    return [str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and what in p.read_bytes()]


def removed(folder):
    assert remove_cases(folder, subject="subject-P1", learn=True) == 5


def forgotten(folder):
    receipt = forget(folder, "subject-P1")
    assert receipt.cases == GONE
    assert (receipt.matching, receipt.elsewhere["places"]) == (5, 5)
    assert (receipt.photographs, receipt.left, receipt.copies) == (1, 4, 0)
    assert (receipt.decisions, receipt.uses, receipt.elsewhere["marks of training"]) == (5, 5, 10)


WAYS = {"remove": removed, "forget": forgotten}


@pytest.fixture(params=WAYS)
def way(request):
    return WAYS[request.param]


def test_undisturbed_it_takes_all_that_it_should(folder, way):
    before = state(folder)
    way(folder)
    after = state(folder)
    assert found_of(folder) == []
    assert after["A cases"].count("subject-P") == after["matching cases"].count("subject-P") == 4
    assert after["places"] == [3, 5, 7, 9]
    assert after["A removals"] == "[]"
    assert len(before["photographs"]) - len(after["photographs"]) == 1
    assert after["outside"] == before["outside"]
    assert traces_of(folder) == []
    with pytest.raises(NoCaseError if way is removed else ArchiveError, match="no case of this"):
        way(folder)


@pytest.mark.parametrize("way", WAYS)
def test_killed_at_any_step_nothing_is_found_and_a_repeat_ends_the_same(kept, tmp_path, way):
    """Steps are what opens, renames or deletes a file, and every statement of the archive."""
    done = subprocess.run(
        [sys.executable, KILLED, kept, tmp_path, way, "17"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[0]) >= 5


PARTS = [part.__name__ for part in (*remove.ELSEWHERE, *remove.USED)]


@pytest.mark.parametrize("stage", ["counting", "wiping"])
@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_can_not_be_wiped_is_told_and_a_repeat_finishes(folder, monkeypatch, part, stage):
    def refused(*_):
        if stage == "wiping":
            yield {}
        raise OSError(13, "Permission denied", "a name")

    for group in ("USED", "ELSEWHERE"):
        parts = tuple(refused if each.__name__ == part else each for each in getattr(remove, group))
        monkeypatch.setattr(f"foveola.server.maintenance.remove.{group}", parts)
    with pytest.raises(ArchiveError, match=r"traces stay.*Permission denied.*not found any more"):
        forget(folder, "subject-P1")
    assert found_of(folder) == []
    assert are_pending(folder)
    monkeypatch.undo()
    receipt = forget(folder, "subject-P1")
    assert receipt.cases == GONE
    assert traces_of(folder) == []
    assert not are_pending(folder)


def locked_matching(folder):
    db = sqlite3.connect(folder / "matching" / "archive.sqlite", isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    return db.close


def locked_places(folder):
    file = (folder / "regions" / "lock").open("ab")
    fcntl.flock(file, fcntl.LOCK_EX)
    return file.close


def reader(folder):
    db = sqlite3.connect(folder / "archive.sqlite", isolation_level=None)
    db.execute("BEGIN")
    db.execute("SELECT count(*) FROM cases").fetchone()
    return db.close


def in_the_way(folder):
    path = folder / "trust.json"
    path.unlink(missing_ok=True)
    (path / "in the way").mkdir(parents=True)
    return lambda: shutil.rmtree(path)


@pytest.mark.parametrize("disturb", [locked_matching, locked_places, reader, in_the_way])
def test_what_is_disturbed_is_finished_by_a_repeat(folder, way, monkeypatch, disturb):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    release = disturb(folder)
    with pytest.raises(ArchiveError, match="removed, but traces stay for now"):
        way(folder)
    assert found_of(folder) == []
    with pytest.raises(ArchiveError, match="removed, but traces stay for now"):
        way(folder)  # still the same
    release()
    way(folder)
    assert traces_of(folder) == []
    assert state(folder)["A removals"] == "[]"


def test_the_one_who_comes_next_finishes_and_the_receipt_waits(folder, monkeypatch):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    release = locked_matching(folder)
    with pytest.raises(ArchiveError, match="is busy"):
        forget(folder, "subject-P1")
    with pytest.raises(ArchiveError, match="is busy"):
        settle(folder)  # as a service does now and then
    release()
    assert finish_removals(folder) == 5
    assert traces_of(folder) == []
    assert finish_removals(folder) == 0
    forgotten(folder)
    assert state(folder)["A removals"] == "[]"


def test_what_was_added_again_meanwhile_is_kept(folder, monkeypatch):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    entry = made_up(folder, 6)  # a file of the archive's own
    release = locked_matching(folder)
    with pytest.raises(ArchiveError):
        remove_cases(folder, ids=[6])
    with Archive.open(folder) as archive:
        archive.add([made_up(folder, 6)])  # which writes the file anew
    release()
    finish_removals(folder)
    assert Path(entry.case.path).exists()
    assert "search" not in found_of(folder, (6,))  # it has another id now
    assert not are_pending(folder)


def test_two_do_not_finish_at_once(folder, monkeypatch):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    release = locked_matching(folder)
    with pytest.raises(ArchiveError):
        removed(folder)
    release()
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    assert finish_removals(folder, wait=False) == 0
    assert are_pending(folder)
    os.close(handle)
    assert finish_removals(folder, wait=False) == 5


def test_other_requests_are_not_answered_by_what_was_begun(folder, monkeypatch):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    release = locked_matching(folder)
    with pytest.raises(ArchiveError):
        removed(folder)
    with pytest.raises(NoCaseError):
        remove_cases(folder, subject="nobody")
    with pytest.raises(ArchiveError, match="is busy"):
        remove_cases(folder, ids=[2])  # one of them: still on its way
    release()
    assert remove_cases(folder, ids=[2]) == 5


KILL = """
import os, signal, sys
from pathlib import Path
from foveola.server.maintenance import remove
remove.finish_removals = lambda _: os.kill(os.getpid(), signal.SIGKILL)
remove.remove_cases(Path(sys.argv[1]), subject="subject-P1")
"""


@pytest.fixture(scope="module")
def begun(kept, tmp_path_factory):
    """The archive as a removal left it that was killed when the cases were out of it."""
    aside = tmp_path_factory.mktemp("begun")
    shutil.copytree(kept, aside / "whole")
    done = subprocess.run([sys.executable, "-c", KILL, kept / "A"], check=False, capture_output=True)
    assert done.returncode == -9, done.stderr
    shutil.move(kept, aside / "begun")
    shutil.move(aside / "whole", kept)
    return aside / "begun"


@pytest.fixture
def halfway(begun, folder):
    """That, where the archive was made."""
    shutil.rmtree(folder.parent)
    shutil.copytree(begun, folder.parent)
    assert are_pending(folder)
    assert traces_of(folder)
    return folder


def test_a_repeat_may_spell_the_subject_in_another_way(halfway):
    assert remove_cases(halfway, subject="\u00a0subject-\u200bP1 ", collection=" c") == len(GONE)
    assert is_finished(halfway)


def test_what_was_begun_is_finished_though_the_next_finds_nobody(halfway):
    with pytest.raises(NoCaseError):
        remove_cases(halfway, subject="nobody")
    assert is_finished(halfway)


def is_finished(folder):
    return not are_pending(folder) and traces_of(folder) == [] and state(folder)["places"] == [3, 5, 7, 9]


NEXT = {  # what is typed after the name of the archive; most fail on a toy, when it is done
    "info": [],
    "index": ["2.jpg"],
    "search": ["2.jpg"],
    "match": ["2.jpg"],
    "serve": ["--port", "1", "--host", "not.here"],
    "learn": [],
    "risk": ["--bootstrap", "0"],
    "audit": [],
    "backup": ["copy"],
    "evaluate": [],
    "regions update": [],
    "matching update": [],
    "matching log": [],
    "accounts list": [],
    "audit-log show": [],
    "study new": ["study"],
    "pacs answer": ["--case", "1", "--to", "folder"],
}


@pytest.mark.parametrize("name", NEXT)
def test_the_next_command_finishes_what_was_begun_and_says_so(halfway, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    shutil.copy(halfway.with_name("outside") / "2.jpg", "2.jpg")
    done = CliRunner().invoke(main, [*name.split(), str(halfway), *NEXT[name]])
    assert isinstance(done.exception, SystemExit | None), done.exception
    assert "A removal of 5 cases that was interrupted is finished." in done.stderr
    assert is_finished(halfway)


@pytest.mark.parametrize("typed", [["evaluate", "other", "--against"], ["read", "2.jpg", "--archive"]])
def test_it_is_finished_wherever_the_archive_is_named(halfway, tmp_path, monkeypatch, typed):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "2.jpg").touch()
    done = CliRunner().invoke(main, [*typed, str(halfway)])
    assert isinstance(done.exception, SystemExit | None), done.exception
    assert is_finished(halfway)


def test_a_process_of_its_own_finishes_it(halfway):
    command = [sys.executable, "-m", "foveola", "info", str(halfway), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "A removal of 5 cases that was interrupted is finished.\n")
    assert is_finished(halfway)


def opened(folder):
    """The archive for a service: nothing is encoded, so its encoder is none."""
    encoder = SimpleNamespace(
        fingerprint="f00d", name="toy", release=SimpleNamespace(folder=folder / "encoder"), wait=lambda: None
    )
    return Retriever(Archive.open(folder, read_only=True), encoder)


def test_a_service_finishes_it_at_its_start(halfway):
    with TestClient(create_app(halfway, retriever=opened(halfway))):
        assert is_finished(halfway)


def test_a_service_finishes_it_though_its_photographs_can_not_be_looked_for(halfway, monkeypatch):
    def refused(_):
        raise OSError(13, "Permission denied", "a name")

    for name in ("find_again", "sweep"):
        monkeypatch.setattr(f"foveola.server.services.changes.{name}", refused)
    with TestClient(create_app(halfway, retriever=opened(halfway))):
        assert is_finished(halfway)


def test_a_service_that_was_disturbed_at_its_start_finishes_it_later(halfway, monkeypatch):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    release = locked_matching(halfway)
    retriever = opened(halfway)
    changes = Changes(SimpleNamespace(retriever=retriever), after=0.5)
    changes.start()
    assert are_pending(halfway)
    release()
    try:
        for _ in range(200):
            if not are_pending(halfway):
                break
            time.sleep(0.05)
        assert is_finished(halfway)
    finally:
        changes.close()
        retriever.close()

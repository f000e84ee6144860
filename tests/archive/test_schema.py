"""An archive of an older format is read as it is, and brought up to date by whoever writes.

kept/format-1.sqlite.gz was written by the code that made format 1, from six phantoms.
"""

import gzip
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from foveola.archive import Archive, database, schema
from foveola.archive.removals import are_pending
from foveola.errors import ArchiveError

KEPT = Path(__file__).with_name("kept")


@pytest.fixture(params=sorted(KEPT.glob("format-*.sqlite.gz")), ids=lambda path: path.name)
def older(request, tmp_path) -> Path:
    folder = tmp_path / "A"
    folder.mkdir()
    (folder / database.FILE).write_bytes(gzip.decompress(request.param.read_bytes()))
    return folder


def format_of(folder):
    db = sqlite3.connect(folder / database.FILE)
    try:
        return schema.format_of(db)
    finally:
        db.close()


def everything(folder):
    with Archive.open(folder, read_only=True) as archive:
        ids, matrix = archive.vectors()
        return list(archive.cases()), archive.digests(), ids.tolist(), matrix.tobytes()


def tables(folder):
    db = sqlite3.connect(folder / database.FILE)
    try:
        return sorted(db.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
    finally:
        db.close()


def test_every_format_has_a_kept_archive_and_a_step():
    kept = {int(path.name.split("-")[1].split(".")[0]) for path in KEPT.iterdir()}
    assert kept == set(range(1, schema.VERSION))
    assert set(schema.STEPS) == set(range(2, schema.VERSION + 1))
    assert sum(path.stat().st_size for path in KEPT.iterdir()) < 100_000


def test_a_reader_takes_an_older_format_as_it_is(older):
    before = (older / database.FILE).read_bytes()
    with Archive.open(older, read_only=True) as archive:
        ids, matrix = archive.vectors()
        assert archive.search(matrix[2], 3).ids[0] == ids[2]
        assert archive.removals() == []
        assert archive.info().format == 1
        assert {case.collection for _, case in archive.cases()} == {"phantoms"}
        assert len(archive) == 6
    assert not are_pending(older)
    assert (older / database.FILE).read_bytes() == before


def test_a_writer_brings_it_up_to_date_and_keeps_all_of_it(older, tmp_path):
    before = everything(older)
    with Archive.open(older) as archive:
        assert archive.info().format == schema.VERSION
        assert archive.remove(ids=[1]) == 1
    assert everything(older)[0] == before[0][1:]
    made_by = {"encoder": "toy", "fingerprint": "f", "dimension": 512}
    Archive.create(tmp_path / "new", **made_by).close()
    assert tables(older) == tables(tmp_path / "new")


DIE = """
import os, shutil, signal, sys
from pathlib import Path
from foveola.archive import Archive, schema

bring = schema.bring_up_to_date
def watched(db):
    db.set_trace_callback(count)
    bring(db)
    db.set_trace_callback(None)
schema.bring_up_to_date = watched

def count(statement):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)

for statement in range(1, 99):
    left, place = statement, Path(sys.argv[2]) / str(statement)
    shutil.copytree(sys.argv[1], place)
    if (child := os.fork()) == 0:
        Archive.open(place).close()
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
"""


def test_killed_at_any_statement_it_has_one_format_or_the_other(older, tmp_path):
    before = everything(older)
    subprocess.run([sys.executable, "-c", DIE, older, tmp_path / "killed"], check=True)
    places = sorted((tmp_path / "killed").iterdir(), key=lambda path: int(path.name))
    found = [format_of(place) for place in places]
    assert all(everything(place) == before for place in places)
    assert found[:3] == [1, 1, 1]  # killed before the transaction was over
    assert found[-1] == schema.VERSION
    for place in places:
        Archive.open(place).close()
        assert (format_of(place), everything(place)) == (schema.VERSION, before)


def test_a_format_that_is_newer_is_refused_by_a_sentence(older):
    db = sqlite3.connect(older / database.FILE)
    db.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    db.close()
    for read_only in (True, False):
        with pytest.raises(ArchiveError, match="newer Foveola"):
            Archive.open(older, read_only=read_only)
    assert not are_pending(older)


def test_a_step_that_fails_changes_nothing(older, monkeypatch):
    def half(db):
        db.execute("CREATE TABLE half (a)")
        raise RuntimeError("a fault in the step")

    monkeypatch.setitem(schema.STEPS, 2, half)
    with pytest.raises(RuntimeError):
        Archive.open(older)
    assert format_of(older) == 1
    assert "half" not in {name for name, _ in tables(older)}
    monkeypatch.undo()
    Archive.open(older).close()
    assert format_of(older) == schema.VERSION

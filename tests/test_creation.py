"""Several processes at one place: each new archive, copy or file is whole, whoever is first."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from foveola.archive import Archive, database
from foveola.encoders.release import DEFAULT, find
from foveola.errors import ArchiveError
from foveola.indexing import open_archive
from foveola.report.pages import write_page
from foveola.resources import beside
from foveola.server.maintenance.backup import backup

MANY = 6

CREATE = """
import os, sys
from pathlib import Path
from foveola.errors import ArchiveError
from foveola.indexing import open_archive

folder, children = Path(sys.argv[1]), []
for number in range(int(sys.argv[2])):
    if (child := os.fork()) == 0:
        try:
            opened, own = open_archive(folder)
            assert (own / "model.bin").exists() and (own / "encoder.json").exists()
            opened.close()
        except ArchiveError as error:
            print(error, flush=True)
            os._exit(3)
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    children.append(child)
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""


def files(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("before", ["nothing", "an empty folder", "remains of a kill"])
def test_several_processes_make_one_whole_archive(tmp_path, before):
    folder = tmp_path / "A"
    if before != "nothing":
        folder.mkdir()
    if before == "remains of a kill":
        for name in (database.ENCODER, database.ENCODER_PARTIAL):
            (folder / name).mkdir()
            (folder / name / "model.xml").write_text("half of it")
    done = subprocess.run([sys.executable, "-c", CREATE, folder, str(MANY)], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == str([0] * MANY), done.stdout
    shipped = files(find(DEFAULT))
    assert {name: files(folder)[f"encoder/{name}"] for name in shipped} == shipped
    log = {f"{database.FILE}-wal", f"{database.FILE}-shm"}  # stays where two close at once
    assert {path.name for path in folder.iterdir()} - log == {"encoder", database.FILE}
    assert [path.name for path in tmp_path.iterdir()] == ["A"]
    with Archive.open(folder, read_only=True) as archive:
        assert len(archive) == 0


def test_several_commands_index_into_one_new_archive(phantoms, tmp_path):
    photographs = sorted((phantoms.parent / "images").iterdir())[:3]
    command = [sys.executable, "-m", "foveola", "index", tmp_path / "A"]
    running = [
        subprocess.Popen([*command, each], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for each in photographs
    ]
    said = [each.communicate(timeout=300) for each in running]
    assert [each.returncode for each in running] == [0, 0, 0], said
    with Archive.open(tmp_path / "A", read_only=True) as archive:
        assert {case.path for _, case in archive.cases()} == set(map(str, photographs))
    assert [path.name for path in tmp_path.iterdir()] == ["A"]
    assert not list((tmp_path / "A").glob(".*"))


def test_an_archive_that_can_not_be_made_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("foveola.indexing.shutil", _Full)
    with pytest.raises(ArchiveError, match="No space left"):
        open_archive(tmp_path / "A")
    assert list(tmp_path.iterdir()) == []


class _Full:
    """Like shutil on a full disk."""

    rmtree = staticmethod(shutil.rmtree)

    @staticmethod
    def copytree(source, target):
        shutil.copytree(source, target)
        raise OSError(28, "No space left on device")


def test_a_killed_creation_is_cleared_by_the_next(tmp_path):
    folder = tmp_path / "A"
    left = folder / f".{database.NEW}.00ff00ff.{2**22 + 1}"  # no process has this number
    left.mkdir(parents=True)
    (left / "half").write_text("x")
    open_archive(folder)[0].close()
    assert not left.exists()


def test_two_copies_to_one_place_leave_a_whole_one(tmp_path):
    open_archive(tmp_path / "A")[0].close()
    with ThreadPoolExecutor() as pool:
        made = [pool.submit(backup, tmp_path / "A", tmp_path / "copy") for _ in range(3)]
    told = [each.exception() for each in made]
    assert told.count(None) >= 1
    assert all(isinstance(each, ArchiveError) for each in told if each is not None)
    assert {path.name for path in tmp_path.iterdir()} == {"A", "copy"}
    assert files(tmp_path / "copy").keys() >= {f"encoder/{name}" for name in files(find(DEFAULT))}
    with Archive.open(tmp_path / "copy", read_only=True) as archive:
        assert len(archive) == 0


def test_a_page_is_one_of_those_that_were_written(tmp_path):
    pages = [str(number) * 300_000 for number in range(4)]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda page: write_page(tmp_path / "page.html", page), pages * 4))
    assert (tmp_path / "page.html").read_text() in pages
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_half_written_is_removed(tmp_path, kind):
    for pid in (os.getpid(), 2**22 + 1):
        (tmp_path / f".x.00ff00ff.{pid}").write_text("of another")
    with pytest.raises(OSError, match="full"), beside(tmp_path / "x") as partial:  # noqa: PT012
        if kind == "folder":
            partial.mkdir()
            partial = partial / "inside"
        partial.write_text("half")
        raise OSError(28, "full")
    assert [path.name for path in tmp_path.iterdir()] == [f".x.00ff00ff.{os.getpid()}"]

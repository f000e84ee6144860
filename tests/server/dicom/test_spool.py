import errno
import os
import stat
import subprocess
import sys

import pytest

from foveola.errors import PacsError
from foveola.server.dicom.spool import ATTEMPTS, Spool, replace_file


@pytest.fixture
def spool(tmp_path):
    with Spool(tmp_path / "spool") as opened:
        yield opened


def files(spool, folder):
    return sorted(path.name for path in (spool.folder / folder).iterdir())


def test_what_was_put_waits_in_order_of_arrival(spool):
    paths = [spool.put([b"a", memoryview(b"bc")]), spool.put([b"second"]), spool.put([b"third"])]
    assert spool.waiting() == paths
    assert [path.read_bytes() for path in paths] == [b"abc", b"second", b"third"]
    spool.done(paths[0])
    assert spool.waiting() == paths[1:]


def test_only_the_owner_may_look(spool):
    path = spool.put([b"Doe^Jane"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(spool.folder.stat().st_mode) == 0o700


KILLED = """
import os, signal, sys
from pathlib import Path
from foveola.server.dicom.spool import Spool
spool = Spool(Path(sys.argv[1]))
spool.put([b"acknowledged"])
real = os.fsync
def killed(number):
    os.kill(os.getpid(), signal.SIGKILL)
os.fsync = killed
spool.put([b"never acknowledged"])
"""


def test_a_kill_while_writing_leaves_what_was_acknowledged_and_nothing_else(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, tmp_path / "spool"], timeout=60, check=False)
    assert len(list((tmp_path / "spool" / "new").iterdir())) == 2
    with Spool(tmp_path / "spool") as spool:
        (path,) = spool.waiting()
        assert path.read_bytes() == b"acknowledged"
        assert files(spool, "new") == [path.name]


def test_a_full_disk_leaves_nothing_half_written(spool, monkeypatch):
    def full(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        spool.put([b"x" * 100])
    assert files(spool, "new") == []


def test_one_process_owns_a_spool(spool):
    with pytest.raises(PacsError, match="another process takes from the spool"):
        Spool(spool.folder)
    spool.close()
    Spool(spool.folder).close()


def test_what_takes_the_process_down_again_and_again_is_refused(spool):
    spool.put([b"bad"])
    for _ in range(ATTEMPTS):
        (path,) = spool.waiting()  # as after a new start
        assert spool.begin(path) is not None
    (path,) = spool.waiting()
    assert spool.begin(path) is None
    assert spool.waiting() == []
    note, kept = sorted((spool.folder / "refused").iterdir(), key=lambda path: path.suffix)[::-1]
    assert "begun 3 times" in note.read_text()
    assert kept.read_bytes() == b"bad"


def test_an_attempt_that_failed_for_another_reason_does_not_count(spool):
    spool.put([b"good"])
    for _ in range(3 * ATTEMPTS):
        spool.put_back(spool.begin(spool.waiting()[0]))
    assert len(spool.waiting()) == 1


def test_a_file_put_there_by_hand_is_taken_too(spool):
    (spool.folder / "new" / "export.dcm").write_bytes(b"x")
    begun = spool.begin(spool.waiting()[0])
    assert begun.name == "export.1.dcm"


def test_refused_is_kept_with_its_reason(spool):
    path = spool.begin(spool.put([b"object"]))
    spool.refuse(path, "too small")
    stem = path.name.removesuffix(".1.dcm")
    assert files(spool, "refused") == [f"{stem}.dcm", f"{stem}.txt"]
    assert (spool.folder / "refused" / f"{stem}.txt").read_text() == "too small\n"
    assert files(spool, "new") == []


def test_a_spool_that_cannot_be_made_is_told_in_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PacsError, match="can't be written"):
        Spool(tmp_path / "file" / "spool")


def test_a_file_is_replaced_wholly_or_not_at_all(tmp_path, monkeypatch):
    replace_file(tmp_path / "point", b"old")

    def full(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            replace_file(tmp_path / "point", b"new")
    assert (tmp_path / "point").read_bytes() == b"old"
    replace_file(tmp_path / "point", b"new")
    assert (tmp_path / "point").read_bytes() == b"new"

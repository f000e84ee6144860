import errno
import os
import stat
import subprocess
import sys
import threading

import pytest

from foveola.errors import ArchiveError, EncoderError, ImageError, PacsError
from foveola.server.dicom import spool as module
from foveola.server.dicom.spool import ATTEMPTS, GIVEN_UP, IN_A_ROW, Answers, Spool, Worker, replace_file


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


@pytest.fixture
def said():
    return []


def reasons(spool):
    return [path.read_text().strip() for path in sorted(spool.folder.glob("refused/*.txt"))]


def test_objects_are_taken_in_order_and_leave_the_spool(spool, said):
    for data in (b"1", b"2", b"3"):
        spool.put([data])
    taken, told = [], []
    worker = Worker(spool, lambda data: taken.append(data) or len(taken), said.append, told.append)
    assert worker.drain() == 0
    assert (taken, told, said, spool.waiting()) == ([b"1", b"2", b"3"], [1, 2, 3], [], [])


def test_a_bad_object_is_put_aside_and_the_next_ones_go_on(spool, said):
    def take(data):
        if data == b"bad":
            raise ImageError("it is too small")
        if data == b"worse":
            raise KeyError("Doe^Jane")
        taken.append(data)

    taken = []
    for data in (b"bad", b"good", b"worse", b"better"):
        spool.put([data])
    assert Worker(spool, take, said.append).drain() == 0
    assert taken == [b"good", b"better"]
    assert reasons(spool) == ["it is too small", "it could not be read (KeyError)"]
    assert len(said) == 2
    assert "Jane" not in "".join(said)


@pytest.mark.parametrize(
    "error", [ArchiveError("busy"), PacsError("busy"), OSError(28, "busy")], ids=lambda error: type(error).__name__
)
def test_what_is_not_the_objects_fault_is_tried_again_and_told_once(spool, said, error):
    spool.put([b"1"])
    spool.put([b"2"])
    failing, taken = [True], []

    def take(data):
        if failing[0]:
            raise error
        taken.append(data)

    worker = Worker(spool, take, said.append)
    assert [worker.drain() for _ in range(2 * ATTEMPTS)] == [2] * 2 * ATTEMPTS
    assert said == ["objects wait in the spool: busy"]
    failing[0] = False
    assert worker.drain() == 0
    assert taken == [b"1", b"2"]
    assert reasons(spool) == []


def test_an_object_that_takes_all_memory_is_refused_in_the_end(spool, said):
    def take(data):
        raise MemoryError

    spool.put([b"large"])
    worker = Worker(spool, take, said.append)
    assert [worker.drain() for _ in range(ATTEMPTS + 1)] == [1] * ATTEMPTS + [0]
    assert "begun 3 times" in reasons(spool)[0]


def test_it_begins_with_what_was_left_and_wakes_for_what_comes(spool, said, monkeypatch):
    monkeypatch.setattr(module, "PAUSE", 0.01)
    spool.put([b"left"])
    arrived, taken = threading.Semaphore(0), []

    def take(data):
        if data == b"later" and not taken[1:]:
            taken.append(b"failed once")
            raise ArchiveError("busy")
        taken.append(data)
        arrived.release()

    worker = Worker(spool, take, said.append)
    worker.start()
    assert arrived.acquire(timeout=30)
    spool.put([b"later"])
    worker.wake()
    assert arrived.acquire(timeout=30)
    worker.stop()
    assert taken == [b"left", b"failed once", b"later"]
    spool.put([b"after the end"])
    worker.wake()
    assert len(spool.waiting()) == 1


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_every_report_is_sent_once(tmp_path, said, clock):
    sent = []
    answers = Answers(tmp_path / "answers", sent.append, said.append, clock)
    answers.owe((3, 1))
    answers.owe((2,))
    assert answers.pay() == 0
    assert sorted(sent) == [1, 2, 3]
    assert answers.pay() == 0
    assert (len(sent), said) == (3, [])


def test_what_is_owed_outlives_the_process(tmp_path, said, clock):
    Answers(tmp_path, lambda id_: None, said.append, clock).owe((7,))
    sent = []
    Answers(tmp_path, sent.append, said.append, clock).pay()
    assert sent == [7]


@pytest.mark.parametrize("kind", [PacsError, ArchiveError, EncoderError, OSError])
def test_what_fails_for_now_is_told_once_and_given_up_after_a_day(tmp_path, said, clock, kind):
    def reply(id_):
        raise kind("nobody there")

    answers = Answers(tmp_path, reply, said.append, clock)
    answers.owe((5,))
    assert [answers.pay() for _ in range(3)] == [1, 1, 1]
    assert said == ["reports wait: nobody there"]
    clock.now += GIVEN_UP
    assert answers.pay() == 0
    assert said[1:] == ["the report on case 5 is given up: nobody there"]


def test_what_can_never_be_sent_is_dropped(tmp_path, said, clock):
    def reply(id_):
        raise ImageError("the photograph is gone")

    answers = Answers(tmp_path, reply, said.append, clock)
    answers.owe((5,))
    assert answers.pay() == 0
    assert said == ["there is no report on case 5: the photograph is gone"]


def test_some_that_fail_do_not_keep_the_others_from_their_turn(tmp_path, said, clock):
    sent, tried = [], []

    def reply(id_):
        tried.append(id_)
        if id_ <= 2 * IN_A_ROW:
            raise PacsError("it does not know the image")
        sent.append(id_)

    answers = Answers(tmp_path, reply, said.append, clock)
    answers.owe(range(1, 2 * IN_A_ROW + 2))
    assert answers.pay() >= 2 * IN_A_ROW
    assert len(tried) <= IN_A_ROW + 1 + IN_A_ROW
    for _ in range(3):
        answers.pay()
    assert sent == [2 * IN_A_ROW + 1]


def test_nothing_is_owed_where_nobody_wants_it(tmp_path, said, clock):
    answers = Answers(tmp_path / "answers", None, said.append, clock)
    answers.owe((1, 2))
    assert answers.pay() == 0
    assert list(tmp_path.iterdir()) == []

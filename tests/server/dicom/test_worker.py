import threading

import pytest

from foveola.errors import ArchiveError, ImageError, PacsError
from foveola.server.dicom import worker as module
from foveola.server.dicom.spool import ATTEMPTS, Spool
from foveola.server.dicom.worker import Worker


@pytest.fixture
def spool(tmp_path):
    with Spool(tmp_path) as opened:
        yield opened


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

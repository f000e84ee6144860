"""The queue of long work by itself."""

import json
import threading

import pytest

from foveola.errors import ArchiveError
from foveola.server.errors import EndedError, NoJobError, QueueFullError
from foveola.server.services import changes as module
from foveola.server.services.changes import FILE, Jobs


def wait_for(jobs, job):
    """Let everything before and the job itself end."""
    for _ in range(2000):
        if jobs.get(job.id).state not in ("queued", "running"):
            return job
        threading.Event().wait(0.005)
    raise AssertionError(job)


@pytest.fixture
def gate():
    """Work that goes on, one photograph at a time, when it is let."""

    class AuthMiddleware:
        started, go = threading.Event(), threading.Event()

        def work(self, job):
            job.begun(3)
            self.started.set()
            for _ in range(3):
                assert self.go.wait(10)
                job.advance(1)
            return {"added": 3}

    return AuthMiddleware()


def test_jobs_are_done_one_after_another_in_their_order(tmp_path, gate):
    jobs, order = Jobs(tmp_path), []
    first = jobs.submit("index", gate.work)
    second = jobs.submit("remove", lambda _: order.append(first.state) or {"removed": 1})
    assert gate.started.wait(10)
    assert (first.state, first.done, first.total, second.state) == ("running", 0, 3, "queued")
    assert jobs.length() == 2
    assert jobs.waits("remove")
    gate.go.set()
    wait_for(jobs, second)
    assert order == ["done"]
    assert (first.done, first.result, second.result) == (3, {"added": 3}, {"removed": 1})
    assert [job.id for job in jobs.all()] == [second.id, first.id]
    jobs.close()


def test_one_at_work_and_one_that_waits_are_cancelled(tmp_path, gate):
    jobs = Jobs(tmp_path)
    first, second = (jobs.submit("index", gate.work) for _ in range(2))
    assert gate.started.wait(10)
    assert jobs.cancel(second.id).state == "cancelled"
    jobs.cancel(first.id)
    gate.go.set()
    wait_for(jobs, first)
    assert (first.state, first.done) == ("cancelled", 1)
    assert second.done == 0
    with pytest.raises(EndedError, match="has ended"):
        jobs.cancel(first.id)
    jobs.close()


def test_a_fault_is_one_sentence_and_the_next_job_is_done(tmp_path):
    jobs = Jobs(tmp_path)

    def refused(_):
        raise ArchiveError("the disk is full")

    def broken(_):
        raise KeyError("Mustermann")

    one, other = jobs.submit("index", refused), jobs.submit("index", broken)
    last = wait_for(jobs, jobs.submit("settle", lambda _: {}))
    assert (one.state, one.sentence) == ("failed", "the disk is full")
    assert (other.state, last.state) == ("failed", "done")
    assert "Mustermann" not in other.sentence
    jobs.close()


def test_only_so_many_wait(tmp_path, gate):
    jobs = Jobs(tmp_path, waiting=2)
    jobs.submit("index", gate.work)
    jobs.submit("index", gate.work)
    with pytest.raises(QueueFullError, match="2 jobs wait"):
        jobs.submit("index", gate.work)
    gate.go.set()
    jobs.close()


def test_what_a_process_left_undone_is_interrupted_in_the_next(tmp_path, gate):
    jobs = Jobs(tmp_path)
    done = wait_for(jobs, jobs.submit("settle", lambda _: {}))
    at_work, waiting = (jobs.submit("index", gate.work) for _ in range(2))
    assert gate.started.wait(10)
    after_a_kill = Jobs(tmp_path)  # the file is as a kill leaves it
    states = {job.id: job.state for job in after_a_kill.all()}
    assert states == {done.id: "done", at_work.id: "interrupted", waiting.id: "interrupted"}
    gate.go.set()
    jobs.close()
    assert {jobs.get(at_work.id).state, jobs.get(waiting.id).state} == {"interrupted"}


def test_only_the_last_are_kept_and_a_damaged_file_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "KEPT", 4)
    jobs = Jobs(tmp_path)
    made = [jobs.submit("settle", lambda _: {}) for _ in range(7)]
    wait_for(jobs, made[-1])
    wait_for(jobs, jobs.submit("settle", lambda _: {}))
    assert len(json.loads((tmp_path / FILE).read_text())) == 4
    with pytest.raises(NoJobError):
        jobs.get(made[0].id)
    jobs.close()
    for text in ("", "[1]", '[{"id": "x"}]', "{", "null"):
        (tmp_path / FILE).write_text(text)
        assert Jobs(tmp_path).all() == []

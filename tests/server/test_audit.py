"""The audit log: what it shows to have been changed, and what it survives."""

import hashlib
import json
import os
import signal
import subprocess
import sys

import pytest

from commands import foveola
from foveola.errors import AccessError
from foveola.server.audit import FILE, FIRST, Log, head, read, verify


@pytest.fixture
def log(tmp_path):
    """A log of five lines."""
    made = Log(tmp_path)
    for number in range(5):
        made.append("anna" if number % 2 else "bert", "search", [number, 10 + number])
    return made


def lines(log):
    return log.file.read_bytes().splitlines(keepends=True)


def put(log, changed):
    log.file.write_bytes(b"".join(changed))


def test_a_line_holds_the_hash_of_the_one_before(log, tmp_path):
    first, second, *_ = lines(log)
    assert json.loads(first)["previous"] == FIRST
    # sha256sum of the line, as anybody can make it
    assert json.loads(second)["previous"] == hashlib.sha256(first.rstrip(b"\n")).hexdigest()
    assert head(tmp_path) == hashlib.sha256(lines(log)[-1].rstrip(b"\n")).hexdigest()
    assert verify(tmp_path).lines == 5


def test_it_is_its_owners_alone(log):
    assert log.file.stat().st_mode & 0o777 == 0o600


FORGERIES = {
    "edited": (lambda x: [*x[:2], x[2].replace(b"[2,12]", b"[2,13]"), *x[3:]], r"line 4 .* line 3"),
    "spaced": (lambda x: [*x[:2], x[2].replace(b",", b", ", 1), *x[3:]], "line 3 is no entry"),
    "taken out": (lambda x: [*x[:2], *x[3:]], r"line 3 .* line 2"),
    "the first taken out": (lambda x: x[1:], r"line 1 "),
    "exchanged": (lambda x: [x[0], x[2], x[1], *x[3:]], r"line 2 .* line 1"),
    "put in twice": (lambda x: [*x[:3], x[2], *x[3:]], r"line 4 .* line 3"),
    "made empty": (lambda x: [*x[:2], b"\n", *x[3:]], "line 3 is no entry"),
    "garbled": (lambda x: [*x[:2], b"{\n", *x[3:]], "line 3 is no entry"),
    "not text": (lambda x: [*x[:2], b"\xff\x00\n", *x[3:]], "line 3 is no entry"),
}


@pytest.mark.parametrize(("forge", "said"), FORGERIES.values(), ids=FORGERIES)
def test_what_was_changed_is_found_with_its_line(log, tmp_path, forge, said):
    put(log, forge(lines(log)))
    with pytest.raises(AccessError, match=said):
        verify(tmp_path)


def test_every_flip_of_the_last_line_is_told(log, tmp_path):
    whole = log.file.read_bytes()
    for place in range(whole.rindex(b"\n", 0, -1) + 1, len(whole)):
        log.file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(AccessError):
            verify(tmp_path)
    log.file.write_bytes(whole)
    assert verify(tmp_path).lines == 5


@pytest.mark.parametrize("kept", range(5))
def test_what_was_cut_off_the_end_shows_against_a_head(log, tmp_path, kept):
    anchor = head(tmp_path)
    put(log, lines(log)[:kept])
    with pytest.raises(AccessError, match="cut off its end"):
        verify(tmp_path)
    (tmp_path / f".{FILE}.end").unlink()  # by whoever knows of it
    assert verify(tmp_path).lines == kept  # a shorter log is a log
    with pytest.raises(AccessError, match="does not hold the head"):
        verify(tmp_path, anchor)


def test_a_log_made_anew_shows_against_a_head(log, tmp_path):
    anchor = head(tmp_path)
    log.file.unlink()
    Log(tmp_path).append("anna", "search", [1])
    with pytest.raises(AccessError, match="made anew"):
        verify(tmp_path, anchor)


def test_a_head_from_before_is_found_in_a_longer_log(log, tmp_path):
    anchor = head(tmp_path)
    log.append("anna", "case", [1])
    log.append("anna", "case", [2])
    assert verify(tmp_path, f" {anchor.upper()}\n").since == 2


@pytest.mark.parametrize("left", [b"{", b'{"time":"2026-', b"\xff", b'{"time":"a\n{"b', b"x\n"])
def test_what_a_crash_left_of_a_line_is_said_and_the_chain_goes_on(log, tmp_path, left):
    anchor = head(tmp_path)
    with log.file.open("ab") as file:
        file.write(left)
    torn = tuple(range(6, 6 + len(left.splitlines())))
    assert verify(tmp_path).cut == torn
    for writer in (log, Log(tmp_path)):  # this process, and another
        writer.append("anna", "case", [7])
    found = verify(tmp_path, anchor)
    assert found.cut == torn
    assert [seen.action for seen in read(tmp_path)][-3:] == ["line cut short", "case", "case"]


def test_lines_before_a_torn_one_cannot_be_taken_out(log, tmp_path):
    with log.file.open("ab") as file:
        file.write(b'{"ti')
    log.append("anna", "case", [7])
    put(log, [*lines(log)[:3], *lines(log)[5:]])  # the torn line now follows line 3
    with pytest.raises(AccessError):
        verify(tmp_path)


def test_a_line_that_lacks_its_line_feed_only_counts(log, tmp_path):
    log.file.write_bytes(log.file.read_bytes()[:-1])
    assert verify(tmp_path).lines == 5
    Log(tmp_path).append("anna", "case", [7])
    found = verify(tmp_path)
    assert (found.lines, found.cut) == (6, ())


def test_a_forged_torn_line_is_not_believed(log, tmp_path):
    data = lines(log)
    put(log, [*data[:4], b'{"ti\n', data[4]])
    with pytest.raises(AccessError, match="line 5 is no entry"):
        verify(tmp_path)


APPENDS = """
import sys
from pathlib import Path
from foveola.server.audit import Log
log = Log(Path(sys.argv[1]))
for number in range(int(sys.argv[2])):
    log.append(sys.argv[3], "search", [number])
    print(number, flush=True)
"""


def appending(folder, count, name):
    command = [sys.executable, "-c", APPENDS, str(folder), str(count), name]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_processes_append_to_one_chain(tmp_path):
    running = [appending(tmp_path, 100, name) for name in ("one", "two")]
    for process in running:
        process.communicate(timeout=60)
    assert verify(tmp_path).lines == 200
    for name in ("one", "two"):
        assert [s.cases for s in read(tmp_path, account=name)] == [(n,) for n in range(100)]


def test_what_was_acknowledged_survives_a_kill(tmp_path):
    with appending(tmp_path, 10_000, "killed") as process:
        said = [process.stdout.readline() for _ in range(30)]
        os.kill(process.pid, signal.SIGKILL)
        said += process.stdout.readlines()
    Log(tmp_path).append("after", "search")
    found = [seen.cases[0] for seen in read(tmp_path, account="killed")]
    assert verify(tmp_path).lines > 30
    assert found[: len(said)] == [int(number) for number in said]


def test_a_full_disk_leaves_no_half_line_and_shows_nothing(log, tmp_path, monkeypatch):
    before, real = log.file.read_bytes(), os.write

    def full(handle, data):
        if len(data) > 20:
            return real(handle, data[:20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(AccessError, match="No space left"):
        log.append("anna", "search", [1])
    monkeypatch.undo()
    assert log.file.read_bytes() == before
    log.append("anna", "search", [1])
    assert verify(tmp_path).lines == 6


def test_a_log_that_cannot_be_opened_is_told(tmp_path):
    (tmp_path / FILE).mkdir()
    with pytest.raises(AccessError, match="nothing is shown without it"):
        Log(tmp_path).append("anna", "search")
    with pytest.raises(AccessError, match="no audit log yet"):
        verify(tmp_path / "elsewhere")


def test_reading_by_case_account_and_time(log, tmp_path):
    assert [s.cases for s in read(tmp_path, case=12)] == [(2, 12)]
    assert [s.cases[0] for s in read(tmp_path, account="anna")] == [1, 3]
    day = next(read(tmp_path)).time[:10]
    assert len(list(read(tmp_path, since=day, until=day))) == 5
    assert not list(read(tmp_path, since="9999"))
    assert not list(read(tmp_path, until="2000"))


NO_TIMES = [
    "",
    "nonsense",
    "yesterday",
    "31.11.2026",
    "2026-13",
    "2026-02-30",
    "2026-3",
    "26",
    "2026-03-",
    "2026-03-01T",
    "2026-03-01T25",
    "2026-03-01 09:00",
    "2026-03-01T09:61",
    "20260301",
    "2026-W10",
    "2026-03-01T09:30+01:00",
    "٢٠٢٦",
    "~",
]


@pytest.mark.parametrize("text", NO_TIMES)
def test_what_is_no_time_is_refused_and_not_taken_for_none(log, tmp_path, text):
    for name in ("since", "until"):
        with pytest.raises(ValueError, match="is no time; expected one in UTC as 2026-03-01T09:30"):
            list(read(tmp_path, **{name: text}))
    if text:
        done = foveola("audit-log", "show", tmp_path, "--since", text, code=2)
        assert "is no time; expected one in UTC" in done.stderr


def test_a_time_may_be_begun_and_may_end_in_z(log, tmp_path):
    last = list(read(tmp_path))[-1].time
    for end in (4, 7, 10, 13, 16, 19, 21, 23, None):
        assert list(read(tmp_path, since=last[:end]))[-1].time == last
        assert len(list(read(tmp_path, until=last[:end]))) == 5


def test_long_lines_are_found_from_the_end(tmp_path):
    Log(tmp_path).append("anna", "search", range(40_000))  # more than is read at once
    Log(tmp_path).append("anna", "search", [1])
    assert verify(tmp_path).lines == 2


def test_lines_do_not_go_back_in_time_and_a_clock_set_back_is_told(tmp_path, monkeypatch):
    from foveola.server import audit as chain

    times = iter(
        [
            "2026-03-01T09:00:00.500Z",
            "2026-03-01T09:00:00.400Z",  # two processes
            "2026-02-01T00:00:00.000Z",
            "2026-03-01T09:00:01.000Z",
        ]
    )
    monkeypatch.setattr(chain, "now", lambda: next(times))
    for about in ("", "", "who", ""):
        Log(tmp_path).append("anna", "search", [1], about)  # each time read anew from the file
    said = [(seen.time[11:], seen.about) for seen in read(tmp_path)]
    assert said == [
        ("09:00:00.500Z", ""),
        ("09:00:00.500Z", ""),
        ("09:00:00.500Z", "who by a clock that was set back 2026-02-01T00:00:00.000Z"),
        ("09:00:01.000Z", ""),
    ]
    assert verify(tmp_path).lines == 4


def test_the_same_in_one_process_and_after_a_torn_line(tmp_path, monkeypatch):
    from foveola.server import audit as chain

    times = iter(["2026-03-01T09:00:00.500Z", "2026-03-01T08:00:00.000Z", "2026-03-01T07:00:00.000Z"])
    monkeypatch.setattr(chain, "now", lambda: next(times))
    log = Log(tmp_path)
    log.append("anna", "search", [1])
    log.append("anna", "search", [2])
    with log.file.open("ab") as file:
        file.write(b'{"time":"2026')
    log.append("anna", "search", [3])
    said = [seen.time for seen in read(tmp_path)]
    assert said == sorted(said)
    assert verify(tmp_path).cut == (3,)

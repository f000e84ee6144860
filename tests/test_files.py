"""Files are written whole, and what was changed in them is told."""

import gc
import io
import json
import os
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from foveola import files
from foveola.files import DamagedError

KINDS = {
    "array": (lambda p: files.save_array(p, np.arange(9.0)), lambda p: {"": files.load_array(p).tolist()}),
    "arrays": (
        lambda p: files.save_arrays(p, {"a": np.arange(9), "b": np.ones((2, 2))}),
        lambda p: {key: value.tolist() for key, value in files.load_arrays(p).items()},
    ),
    "JSON": (lambda p: files.write_json(p, {"a": [1, 2.5, None], "é": "ü"}), files.read_json),
    "indented": (lambda p: files.write_json(p, {"a": {"b": (1, 2)}}, indent=2), files.read_json),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_flip_and_cut_is_an_error_or_changes_nothing(tmp_path, kind):
    path = tmp_path / "file"
    write, read = KINDS[kind]
    write(path)
    whole, told = path.read_bytes(), read(path)
    flips = [whole[:i] + bytes([whole[i] ^ 1 << bit]) + whole[i + 1 :] for i in range(len(whole)) for bit in (0, 5)]
    for spoilt in [*flips, *(whole[:end] for end in range(len(whole)))]:
        path.write_bytes(spoilt)
        try:
            found = read(path)
        except ValueError:
            continue
        assert {key: found[key] for key in told} == told


@pytest.mark.parametrize("kind", ["array", "arrays", "JSON"])
def test_what_an_older_foveola_wrote_is_read(tmp_path, kind):
    path = tmp_path / "file.npy"
    if kind == "JSON":
        path.write_text(json.dumps({"a": 1}))
        assert files.read_json(path) == {"a": 1}
    elif kind == "array":
        np.save(path, np.arange(3))
        assert files.load_array(path).tolist() == [0, 1, 2]
    else:
        with path.open("wb") as file:
            np.savez(file, a=np.arange(3))
        assert files.load_arrays(path)["a"].tolist() == [0, 1, 2]


@pytest.fixture
def yielding():
    """Other threads go on wherever garbage is collected, which is often."""
    before, seconds = gc.get_threshold(), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    gc.callbacks.append(_yield)
    gc.set_threshold(20)
    yield
    sys.setswitchinterval(seconds)
    gc.set_threshold(*before)
    gc.callbacks.remove(_yield)


def _yield(*_):
    time.sleep(0)


@pytest.mark.usefixtures("yielding")
def test_threads_may_read_arrays_at_once():
    buffer = io.BytesIO()
    np.savez(buffer, **{str(i): np.arange(i) for i in range(40)})
    with ThreadPoolExecutor(8) as pool:
        made = pool.map(lambda _: files.unpack_arrays(buffer.getvalue(), "x"), range(200))
        assert all(each["39"].tolist() == list(range(39)) for each in made)


def test_numpy_reads_what_has_a_checksum(tmp_path):
    files.save_array(tmp_path / "a.npy", np.arange(5))
    files.save_arrays(tmp_path / "a.npz", {"x": np.arange(5)})
    assert np.load(tmp_path / "a.npy").tolist() == list(range(5))
    with np.load(tmp_path / "a.npz") as kept:
        assert kept["x"].tolist() == list(range(5))


def test_toml_is_checked_also_where_its_end_was_cut_off(tmp_path):
    path = tmp_path / "a.toml"
    files.write_toml(path, 'a = "x"\nb = "y"\n')
    files.check_toml(path)
    whole = path.read_bytes()
    for end in range(whole.index(b"\n"), len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(DamagedError):
            files.check_toml(path)


def test_a_line_begins_anew_behind_one_that_was_cut_short(tmp_path):
    path = tmp_path / "log"
    files.append_line(path, {"n": 1})
    with path.open("ab") as file:
        file.write(b'{"n": 2, "che')
    files.append_line(path, {"n": 3})
    kept = files.read_lines(path)
    assert [values for _, values in kept.values] == [{"n": 1}, {"n": 3}]
    assert (kept.damaged, kept.cut, kept.sound) == ((2,), False, False)


def test_lines_of_an_older_foveola_are_read_and_later_ones_need_a_checksum(tmp_path):
    path = tmp_path / "log"
    path.write_text('{"n": 1}\n')
    assert files.read_lines(path).sound
    files.append_line(path, {"n": 2})
    assert files.read_lines(path).sound
    with path.open("ab") as file:
        file.write(b'{"n": 3}\n')
    assert files.read_lines(path).damaged == (3,)


@pytest.mark.parametrize("first", range(3))
def test_a_line_that_lost_its_checksum_is_damaged_also_where_it_is_the_first(tmp_path, first):
    path = tmp_path / "log"
    for n in range(3):
        files.append_line(path, {"n": n})
    lines = path.read_bytes().splitlines(keepends=True)
    lines[first] = lines[first].replace(b"checksum", b"checksun")
    path.write_bytes(b"".join(lines))
    assert files.read_lines(path).damaged == (first + 1,)


def test_lines_that_were_rewritten_are_sound(tmp_path):
    path = tmp_path / "log"
    for n in range(3):
        files.append_line(path, {"n": n})
    files.rewrite_lines(path, lambda lines: lines[1:])
    kept = files.read_lines(path)
    assert kept.sound
    assert [values["n"] for _, values in kept.values] == [1, 2]


APPEND = """
import sys
from pathlib import Path
from foveola import files
for n in range(40):
    files.append_line(Path(sys.argv[1]), {"by": sys.argv[2], "n": n})
"""


def test_lines_of_several_processes_are_all_kept_beside_one_who_rewrites(tmp_path):
    path = tmp_path / "log"
    path.touch()
    writers = [subprocess.Popen([sys.executable, "-c", APPEND, path, str(i)]) for i in range(3)]
    while any(writer.poll() is None for writer in writers):
        files.rewrite_lines(path, lambda lines: lines[::-1])
    kept = files.read_lines(path)
    assert len({(v["by"], v["n"]) for _, v in kept.values}) == 120
    assert kept.sound


def test_what_a_killed_process_left_goes_and_that_of_a_living_one_stays(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = [tmp_path / f".a.{token}.{pid}" for token, pid in (("x", gone.pid), ("y", os.getpid()))]
    for path in left:
        path.write_text("of a person")
    files.write_whole(tmp_path / "a", b"1")
    assert sorted(tmp_path.iterdir()) == sorted([left[1], tmp_path / "a"])


def test_a_file_that_can_not_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    files.write_whole(tmp_path / "a", b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write_whole(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("room", [0, 10, 60])
def test_a_line_that_has_no_room_leaves_none_of_it(tmp_path, room):
    path = tmp_path / "log.jsonl"
    files.append_line(path, {"a": 1})
    before, limit = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + room, limit[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            files.append_line(path, {"a": "x" * 100})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert path.read_bytes() == before
    files.append_line(path, {"a": 2})
    assert [values["a"] for _, values in files.read_lines(path).values] == [1, 2]


@pytest.mark.parametrize("seconds", [-(2**40), -(2**33), -1, 0, 2**33, 2**34, 2**40])
def test_a_time_that_64_bits_can_not_hold_is_the_nearest_that_they_can(tmp_path, monkeypatch, seconds):
    path = tmp_path / "a"
    path.touch()
    real = os.stat_result((0o100644, 0, 0, 1, 0, 0, 5, 0, seconds, 0), {"st_mtime_ns": seconds * 10**9})
    monkeypatch.setattr(type(path), "stat", lambda _: real)
    size, mtime_ns = files.stamp_of(path)
    assert size == 5
    assert mtime_ns == min(max(seconds * 10**9, -(2**63)), 2**63 - 1)


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_a_name_that_no_file_can_have_is_a_missing_file(tmp_path, name):
    with pytest.raises(OSError, match="no file can have this name"):
        files.stamp_of(tmp_path / name)

"""The side file is whole after a kill, wipes what it forgets and refuses what is not its own."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from foveola.errors import RegionError
from foveola.regions import store
from foveola.regions.box import Field
from foveola.regions.store import FREE, Basis, D, Described, Store, packed

N = 4
FIELD = Field(0.1, 0.2, 0.5, 0.75, True)


def basis():
    return Basis(np.zeros(D, np.float32), np.eye(D, dtype=np.float32), N)


def one(id_, size=7):
    """Bytes that tell the id and the size."""
    places = np.random.default_rng([id_, size]).integers(-127, 127, (N, N, D), dtype=np.int8)
    return Described(id_, (size, 11), FIELD, places)


@pytest.fixture
def made(tmp_path):
    return Store.create(tmp_path, "print", basis())


def add(held, *ids, size=7):
    with held.writing() as writer:
        writer.add([one(id_, size) for id_ in ids])


def content(held):
    return {int(s["id"]): held.places[i].tolist() for i, s in enumerate(held.slots) if s["id"] != FREE}


def test_what_is_added_is_read_by_another(made, tmp_path):
    reader = Store(tmp_path, "print")
    add(made, 3, 5)
    assert reader.refresh()
    assert not reader.refresh()
    assert content(reader) == {3: one(3).places.tolist(), 5: one(5).places.tolist()}
    assert reader.fields()(1) == pytest.approx(FIELD)
    assert reader.slots[0].item()[:3] == (3, 7, 11)


def test_a_case_that_changed_takes_its_own_slot(made):
    add(made, 3, 5)
    add(made, 3, size=8)
    assert made.slots["id"].tolist() == [3, 5]
    assert content(made)[3] == one(3, 8).places.tolist()


def test_what_is_forgotten_is_wiped_and_its_slot_used_again(made):
    add(made, 3, 5, 9)
    with made.writing() as writer:
        assert writer.forget(np.array([5, 77])) == 1
    assert made.slots["id"].tolist() == [3, FREE, 9]
    data = np.fromfile(made.folder / "places.i8", np.int8).reshape(3, -1)
    assert not data[1].any()
    assert data[0].any()
    add(made, 20, 21)
    assert made.slots["id"].tolist() == [3, 20, 9, 21]


def test_a_full_disk_leaves_the_last_state(made, tmp_path, monkeypatch):
    add(made, 3)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.files, "write_whole", full)
    with pytest.raises(OSError, match="No space"):
        add(made, 5)
    monkeypatch.undo()
    assert content(Store(tmp_path, "print")) == {3: one(3).places.tolist()}
    assert (made.folder / "places.i8").stat().st_size == 2 * N * N * D
    with made.writing():
        pass  # the tail, of a case that may be removed by now, is cut off
    assert (made.folder / "places.i8").stat().st_size == N * N * D


KILLED = """
import itertools, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_store import Store, basis, one
held = Store.create(Path(sys.argv[1]), "print", basis())
with held.writing() as writer:
    for first in itertools.count(0, 3):
        writer.add([one(first + i) for i in range(3)])
        print(first, flush=True)
"""


def test_what_was_said_to_be_stored_survives_a_kill(tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path), os.path.dirname(__file__)]  # noqa: PTH120
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for _ in range(5):
            last = process.stdout.readline()
        time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        last = int([last, *process.stdout.read().split()][-1])
    found = content(Store(tmp_path, "print"))
    assert set(found) >= set(range(last + 3))
    assert len(found) % 3 == 0
    assert all(places == one(id_).places.tolist() for id_, places in found.items())


def test_one_process_writes(made, tmp_path):
    other = Store(tmp_path, "print")
    with made.writing(), pytest.raises(RegionError, match="another process is writing"), other.writing():
        pass


def test_another_encoder_is_refused(made, tmp_path):
    with pytest.raises(RegionError, match=r"another encoder \(print\).*foveola regions off"):
        Store(tmp_path, "other")


def test_none_is_refused(tmp_path):
    with pytest.raises(RegionError, match="foveola regions on"):
        Store(tmp_path, "print")


@pytest.mark.parametrize("name", ["basis.npz", "slots.npy", "places.i8", "regions.json"])
@pytest.mark.parametrize("how", ["cut", "gone", "noise"])
def test_a_damaged_one_is_refused(made, tmp_path, name, how):
    add(made, 3, 5)
    path = made.folder / name
    if how == "gone":
        path.unlink()
    else:
        data = path.read_bytes()[: path.stat().st_size // 2]
        path.write_bytes(b"\x93NUMPY\xff" if how == "noise" else data)
    with pytest.raises(RegionError, match=r"regions (off|on)"):
        Store(tmp_path, "print")


def test_off_takes_all_of_it(made, tmp_path):
    store.discard(tmp_path)
    store.discard(tmp_path)
    assert not store.is_on(tmp_path)
    assert not list(tmp_path.iterdir())


def test_axes_are_those_along_which_places_differ():
    # places vary by 5 in channel 40, by 2 in 7, by little elsewhere: these two come first
    rng = np.random.default_rng(0)
    spread = np.full(48, 0.1)
    spread[[40, 7]] = 5, 2
    places = (rng.normal(size=(4000, 48)) * spread + 3).astype(np.float32)
    learnt = Basis.learn(places, 2)
    assert learnt.mean == pytest.approx(np.full(48, 3), abs=0.3)
    assert np.abs(learnt.axes[[40, 7], [0, 1]]).min() > 0.99
    assert learnt.axes.T @ learnt.axes == pytest.approx(np.eye(D), abs=1e-5)


def test_places_outside_the_field_are_nothing_and_the_rest_of_unit_length():
    maps = np.random.default_rng(1).normal(size=(N, N, D)).astype(np.float32)
    inside = np.arange(16).reshape(4, 4) % 3 > 0
    small = basis().reduced(maps, inside)
    assert np.linalg.norm(small, axis=-1) == pytest.approx(inside.astype(float), abs=1e-6)
    assert packed(small) / 127 == pytest.approx(small, abs=0.004)


def test_too_few_places_are_refused():
    with pytest.raises(ValueError, match="more than 32 places"):
        Basis.learn(np.zeros((32, 64), np.float32), 2)

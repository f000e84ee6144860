"""One bad entry costs one entry: the rest of a batch is stored, and a repeat has the same end."""

import os
import socket

import cv2
import numpy as np
import pytest

from foveola.archive import Archive
from foveola.datasets.manifest import read_sources
from foveola.encoders.encoder import FunctionEncoder
from foveola.images.fundus import Contract
from foveola.indexing import add_missing, index_cases
from foveola.records import Case

SIZE = 64
GOOD = 3


def looks(pixels):
    return pixels.reshape(1, 8, 8, 8, 8, 3).mean(axis=(2, 4)).reshape(1, -1) + 1


ENCODER = {"name": "toy", "version": "1", "dimension": 192, "contract": Contract(size=SIZE)}


def disc(path, seed=0):
    rng = np.random.default_rng(seed)
    image = np.zeros((160, 160, 3), np.uint8)
    cv2.circle(image, (80, 80), 70, (40, 90, 200), -1)
    image[image > 0] += rng.integers(0, 30, (image > 0).sum()).astype(np.uint8)
    os.fspath(path)
    _, data = cv2.imencode(".jpg", image)
    with open(path, "wb") as file:  # noqa: PTH123 - names of bytes, too
        file.write(data.tobytes())


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "photographs"
    made.mkdir()
    for i in range(GOOD):
        disc(made / f"good{i}.jpg", i)
    return made


def not_utf8(folder):
    disc(os.path.join(os.fsencode(folder), b"caf\xe9.jpg"))  # noqa: PTH118


def unix_socket(folder):
    here = os.getcwd()  # noqa: PTH109
    os.chdir(folder)  # a path of a socket may be short only
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("socket.jpg")
    finally:
        os.chdir(here)


# what is in the folder, and whether it can be used all the same
IN_FOLDER = {
    "name that is not UTF-8": (not_utf8, False),
    "newline and escape": (lambda f: disc(f / "a\n\x1b[31mb.jpg"), True),
    "long name": (lambda f: disc(f / f"{'a' * 251}.jpg"), True),
    "time before 1970": (lambda f: (disc(f / "old.jpg"), os.utime(f / "old.jpg", ns=(-(10**18), -(10**18)))), True),
    "pipe": (lambda f: os.mkfifo(f / "pipe.jpg"), False),
    "socket": (unix_socket, False),
    "loop": (lambda f: (f / "loop.jpg").symlink_to("loop.jpg"), False),
    "link to nothing": (lambda f: (f / "gone.jpg").symlink_to("nothing"), False),
    "device": (lambda f: (f / "null.jpg").symlink_to("/dev/zero"), False),
    "link to a folder": (lambda f: (f / "here.jpg").symlink_to("."), None),
    "folder with a suffix": (lambda f: (f / "folder.jpg").mkdir(), None),
    "empty file": (lambda f: (f / "empty.jpg").touch(), False),
    "text": (lambda f: (f / "text.jpg").write_text("no photograph"), False),
}


@pytest.mark.parametrize("kind", IN_FOLDER)
def test_of_a_folder_all_others_are_stored(folder, tmp_path, kind):
    make, usable = IN_FOLDER[kind]
    make(folder)
    encoder = FunctionEncoder(looks, **ENCODER)
    for repeat in (False, True):
        done = add_missing(tmp_path / "A", read_sources([folder]), encoder)
        good = GOOD + (usable is True)
        assert (done.added, done.unchanged) == ((0, good) if repeat else (good, 0))
        assert len(done.failed) == (usable is False)
        assert all(len(failed.reason.splitlines()) == 1 for failed in done.failed)


RECORDS = {
    "integer beyond 64 bits": {"extra": {"number": 2**70}},
    "visit beyond 64 bits": {"visit": 2**70},
    "lone surrogate": {"extra": {"camera": "Top\udce9con"}},
    "lone surrogate in a name": {"extra": {"cam\ud800era": "x"}},
    "surrogate in findings": {"findings": frozenset({"\udcff"})},
    "NUL": {"subject": "a\0b"},
    "no number": {"extra": {"age": float("nan")}},
    "list": {"extra": {"ages": [1, 2]}},
    "grade": {"grade": 7},
    "eye": {"eye": "middle"},
    "path with NUL": {"path": "/data/a\0b.jpg"},
    "path of no encoding": {"path": "/data/\ud800.jpg"},
    "missing": {"path": "/nowhere/a.jpg"},
    "name of 5,000 letters": {"path": f"/{'a' * 5000}.jpg"},
}


@pytest.mark.parametrize("kind", RECORDS)
def test_of_records_all_others_are_stored(folder, tmp_path, kind):
    cases = read_sources([folder])
    disc(tmp_path / "other.jpg", 9)
    record = {"image": "other.jpg", "path": str(tmp_path / "other.jpg")} | RECORDS[kind]
    encoder = FunctionEncoder(looks, **ENCODER)
    for repeat in (False, True):
        done = add_missing(tmp_path / "A", [cases[0], Case(**record), *cases[1:]], encoder)
        assert (done.added, done.unchanged) == ((0, GOOD) if repeat else (GOOD, 0))
        (failed,) = done.failed
        assert len(failed.reason.splitlines()) == 1


def test_a_record_that_became_bad_leaves_the_others_relabelled(folder, tmp_path):
    from dataclasses import replace

    encoder, cases = FunctionEncoder(looks, **ENCODER), read_sources([folder])
    add_missing(tmp_path / "A", cases, encoder)
    changed = [replace(cases[0], grade=2), replace(cases[1], subject="a\0b"), cases[2]]
    done = add_missing(tmp_path / "A", changed, encoder)
    assert (done.relabelled, done.unchanged, len(done.failed)) == (1, 2, 1)


@pytest.mark.parametrize("error", [MemoryError("Unable to allocate 6 TiB"), cv2.error("memory")])
def test_a_picture_that_asks_for_too_much_memory_is_one_entry(folder, tmp_path, error):
    class Greedy(FunctionEncoder):
        def encode_photograph(self, image, eye=None):
            raise error

        def embed_with_quality(self, image, eye=None):
            if image.shape[0] == 70:
                raise error
            return super().embed_with_quality(image, eye)

    cv2.imwrite(str(folder / "greedy.png"), np.full((70, 160, 3), 99, np.uint8))
    done = add_missing(tmp_path / "A", read_sources([folder]), Greedy(looks, **ENCODER))
    assert done.added == GOOD
    assert [f.reason for f in done.failed] == ["takes more memory than there is; export it smaller"]


def test_a_file_that_goes_while_it_is_indexed_is_one_entry(folder, tmp_path):
    cases = read_sources([folder])
    (folder / "good1.jpg").unlink()
    done = add_missing(tmp_path / "A", cases, FunctionEncoder(looks, **ENCODER))
    assert (done.added, len(done.failed)) == (2, 1)


@pytest.mark.parametrize("seconds", [2**33, 2**34, 2**40, -(2**34), -(2**40)])
def test_a_time_beyond_64_bits_is_kept_and_known_again(folder, tmp_path, seconds):
    path = folder / "good1.jpg"
    try:
        os.utime(path, (seconds, seconds))
    except (OSError, OverflowError):
        pytest.skip("this file system holds no such time")
    encoder = FunctionEncoder(looks, **ENCODER)
    assert add_missing(tmp_path / "A", read_sources([folder]), encoder).added == GOOD
    assert add_missing(tmp_path / "A", read_sources([folder]), encoder).unchanged == GOOD
    with Archive.open(tmp_path / "A") as archive:
        assert len(archive) == GOOD


STEERING = ["a\nb", "\x1b[2Ja", "a\x00b", "a\x7fb", "a\x9bb", "a\tb", "a\rb"]
NAMES = {
    "subject": lambda text: {"subject": text},
    "collection": lambda text: {"collection": text},
    "finding": lambda text: {"findings": frozenset({"D", text})},
    "column": lambda text: {"extra": {text: 1}},
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", STEERING)
def test_a_name_that_would_steer_a_terminal_costs_its_entry(folder, tmp_path, text, name):
    cases = [
        Case(image=path.name, path=str(path), **(NAMES[name](text) if i == 1 else {}))
        for i, path in enumerate(sorted(folder.iterdir()))
    ]
    with Archive.create(tmp_path / "A", encoder="toy", fingerprint=toy().fingerprint, dimension=192) as archive:
        done = index_cases(archive, toy(), cases, weigh=False)
        assert (done.added, len(done.failed)) == (2, 1)
        assert "can't be kept: " in done.failed[0].reason
        assert done.failed[0].reason.isprintable()
        with pytest.raises(ValueError, match=r"control character|without NUL"):
            archive.update_records([cases[1]])


def toy():
    return FunctionEncoder(looks, **ENCODER)

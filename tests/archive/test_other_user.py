"""Reading an archive whose files another user keeps, beside that user's writing."""

import ctypes
import os
import subprocess
import sys

import pytest

from foveola.archive import Archive

DAC_OVERRIDE, DAC_READ_SEARCH, DROP = 1, 2, 24  # linux/capability.h, linux/prctl.h

READER = """
import sys
from foveola.archive import Archive
with Archive.open(sys.argv[1], read_only=True) as archive:
    for _ in sys.stdin:
        ids, _ = archive.vectors()
        print(len(archive), len(ids), len(list(archive.cases())), flush=True)
"""


def without_rights():
    """Before exec: root, too, may then write only what its mode lets it."""
    for capability in (DAC_OVERRIDE, DAC_READ_SEARCH) if os.geteuid() == 0 else ():
        ctypes.CDLL(None).prctl(DROP, capability, 0, 0, 0)


@pytest.fixture
def locked_folder(clinic, folder):
    """Closed, and not writable for a process `without_rights`."""
    clinic.close()
    for path in (folder / "archive.sqlite", folder):
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield folder
    folder.chmod(0o755)


def reading(folder):
    return subprocess.Popen(
        [sys.executable, "-c", READER, str(folder)],
        text=True,
        preexec_fn=without_rights,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def asked(reader):
    reader.stdin.write("now\n")
    reader.stdin.flush()
    return reader.stdout.readline().split()


def test_it_is_read_and_follows_what_is_written(locked_folder):
    reader = reading(locked_folder)
    assert asked(reader) == ["6"] * 3, reader.stderr.read()
    locked_folder.chmod(0o755)  # whose it is may write
    (locked_folder / "archive.sqlite").chmod(0o644)
    with Archive.open(locked_folder) as archive:
        archive.remove(image="b1.jpg")
        assert asked(reader) == ["5"] * 3
        archive.remove(image="a1.jpg")
        assert asked(reader) == ["4"] * 3
    assert asked(reader) == ["4"] * 3
    with Archive.open(locked_folder) as archive:
        archive.remove(image="a2.jpg")
    assert asked(reader) == ["3"] * 3
    reader.communicate()


def test_it_is_read_where_an_empty_log_was_left(locked_folder):
    locked_folder.chmod(0o755)
    for end in ("-wal", "-shm"):
        (locked_folder / f"archive.sqlite{end}").touch(0o400 if os.geteuid() else 0o000)
    locked_folder.chmod(0o555)
    reader = reading(locked_folder)
    assert asked(reader) == ["6"] * 3, reader.stderr.read()
    reader.communicate()


@pytest.mark.parametrize("options", ["", "read_only=True"])
def test_what_can_not_be_done_is_told_by_its_name(locked_folder, options):
    script = (
        "import sys; from foveola.archive import Archive\n"
        f"with Archive.open(sys.argv[1], {options}) as archive: archive.remove(image='b1.jpg')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(locked_folder)],
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=without_rights,
    )
    last = done.stderr.splitlines()[-1]
    assert "opened for reading only" in last or "can't be written" in last

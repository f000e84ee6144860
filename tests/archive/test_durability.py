"""What an archive promises when processes are killed, work at once, or the disk ends."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from foveola.archive import Archive, database
from foveola.errors import ArchiveError

INDEXER = Path(__file__).with_name("toy_indexer.py")


def start(folder, count, batch):
    command = [sys.executable, str(INDEXER), str(folder), str(count), str(batch)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish(process):
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out


def query():
    v = np.zeros(64, np.float32)
    v[0] = 1
    return v


def test_killed_again_and_again_it_ends_with_exactly_the_same_archive(tmp_path, dump):
    finish(start(tmp_path / "whole", 300, 5))
    rng = random.Random(1)
    stored = []
    for _ in range(6):
        process = start(tmp_path / "killed", 300, 5)
        process.stdout.readline()
        for _ in range(rng.randrange(12)):  # so many batches are acknowledged, the next is not
            process.stdout.readline()
        time.sleep(rng.random() * 0.004)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if (tmp_path / "killed" / "archive.sqlite").exists():
            with Archive.open(tmp_path / "killed", read_only=True) as archive:
                assert len(archive) % 5 == 0  # whole batches
                assert len(archive) >= (stored[-1] if stored else 0)
                stored.append(len(archive))
    finish(start(tmp_path / "killed", 300, 5))
    assert dump(tmp_path / "killed") == dump(tmp_path / "whole")
    assert len(set(stored)) > 2, "the kills came too early or too late to show anything"
    assert stored[-1] < 300


def test_every_acknowledged_batch_survives_a_kill(tmp_path):
    process = start(tmp_path / "A", 400, 4)
    lines = [process.stdout.readline() for _ in range(20)]
    process.send_signal(signal.SIGKILL)
    lines += process.communicate()[0].splitlines()
    acknowledged = [int(line) for line in lines if line.strip().isdigit()]
    with Archive.open(tmp_path / "A") as archive:
        assert len(archive) >= acknowledged[-1] + 4
        assert len(archive) < 400


def test_killed_while_creating_it_can_be_created_again(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from foveola.archive import Archive\n"
        "real = getattr(os, sys.argv[2])\n"
        "def die(*args): os.kill(os.getpid(), signal.SIGKILL)\n"
        "setattr(os, sys.argv[2], die)\n"
        "Archive.create(Path(sys.argv[1]), encoder='e', fingerprint='f', dimension=3)\n"
    )
    for moment in ("fsync", "link", "fdopen"):
        folder = tmp_path / moment
        done = subprocess.run([sys.executable, "-c", code, str(folder), moment], check=False)
        assert done.returncode == -signal.SIGKILL
        assert folder.is_dir()
        with pytest.raises(ArchiveError, match="is not an archive"):
            Archive.open(folder)
        Archive.create(folder, encoder="e", fingerprint="f", dimension=3).close()
        assert [p.name for p in folder.iterdir()] == ["archive.sqlite"]


def test_readers_see_whole_batches_while_another_process_writes(tmp_path):
    process = start(tmp_path / "A", 600, 10)
    while not (tmp_path / "A" / "archive.sqlite").exists():
        assert process.poll() is None
        time.sleep(0.001)
    seen = []
    with Archive.open(tmp_path / "A", read_only=True) as reader:
        while process.poll() is None:
            found = reader.search(query(), 5, where="grade >= 0")
            assert found.considered % 10 == 0
            assert len(found.cases) == min(5, found.considered)
            seen.append(found.considered)
        finish(process)
        assert reader.search(query(), 5).considered == 600
    assert seen == sorted(seen)
    assert len(set(seen)) > 3, "the writer was not at work while we read"


def test_a_batch_half_written_is_not_seen(clinic, folder, vectors, entry):
    with Archive.open(folder, read_only=True) as reader, clinic._writing() as db:
        db.execute("DELETE FROM cases WHERE id < 4")
        assert len(reader) == 6
        assert reader.search(vectors(1)[0], 9).considered == 6
    assert len(clinic) == 3


def test_a_second_writer_is_told_and_loses_nothing(clinic, folder, vectors, entry, monkeypatch):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    first = sqlite3.connect(folder / "archive.sqlite", isolation_level=None)
    first.execute("BEGIN IMMEDIATE")
    with Archive.open(folder) as second:
        with pytest.raises(ArchiveError, match="another process is writing"):
            second.add([entry("x", vectors(1)[0])])
        assert len(second) == 6  # it may read
        first.execute("COMMIT")
        assert second.add([entry("x", vectors(1)[0])]) == 1
    first.close()


def test_a_writer_waits_for_another_to_finish_its_batch(clinic, folder, vectors, entry):
    first = sqlite3.connect(folder / "archive.sqlite", isolation_level=None, check_same_thread=False)
    first.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.3, lambda: first.execute("COMMIT"))
    timer.start()
    assert clinic.add([entry("x", vectors(1)[0])]) == 1
    timer.join()
    first.close()


def test_threads_take_turns(clinic, vectors, entry):
    v = vectors(80, seed=2)
    faults = []

    def work(part):
        try:
            for i in range(part, 80, 4):
                clinic.add([entry(f"t{i}", v[i])])
                assert clinic.search(v[i], 1).cases[0].image == f"t{i}"
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert len(clinic) == 86


def test_a_full_disk_loses_the_batch_and_nothing_before_it(clinic, folder, vectors, entry, dump):
    pages = clinic._db.execute("PRAGMA page_count").fetchone()[0]
    clinic._db.execute(f"PRAGMA max_page_count = {pages + 2}")
    v = vectors(8000, seed=1)
    stored = 0
    message = r"disk of .* is full; the last change was not stored"
    with pytest.raises(ArchiveError, match=message):  # noqa: PT012 - it is full at some batch
        for stored in range(0, 8000, 100):
            before = dump(folder)
            clinic.add([entry(f"e{i}", v[i]) for i in range(stored, stored + 100)])
    assert dump(folder) == before
    assert len(clinic) == 6 + stored
    clinic._db.execute("PRAGMA max_page_count = 1000000")
    clinic.add([entry(f"e{i}", v[i]) for i in range(stored, stored + 100)])
    assert len(clinic) == 106 + stored


def test_a_removal_that_can_not_rewrite_the_file_says_so(clinic, folder, monkeypatch):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    reader = sqlite3.connect(folder / "archive.sqlite", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM cases").fetchone()
    with (
        Archive.open(folder) as archive,
        pytest.raises(ArchiveError, match=r"removed, but traces stay.*another process reads"),
    ):
        archive.remove(image="b1.jpg")
    reader.close()
    assert len(clinic) == 5
    clinic.compact()
    assert (folder / "archive.sqlite-wal").stat().st_size == 0


def in_own_mounts(script, *args):
    """Run a shell script as root in a mount namespace of its own; skip where that can't be."""
    unshare = shutil.which("unshare")
    if unshare is None or os.geteuid() != 0:
        pytest.skip("mounting needs root and unshare")
    if subprocess.run([unshare, "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    command = [unshare, "-m", "sh", "-ec", script, "sh", sys.executable, *map(str, args)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


READ = (
    "import sys; from pathlib import Path; from foveola.archive import Archive\n"
    "from foveola.errors import ArchiveError\n"
    "try:\n"
    "    with Archive.open(Path(sys.argv[1]), read_only=True) as a:\n"
    "        print(len(a), len(a.vectors()[0]))\n"
    "except ArchiveError as error: print(error)\n"
)


def test_an_archive_on_a_read_only_disc_can_be_read(clinic, folder):
    clinic.close()
    script = 'mount --bind "$2" "$2"; mount -o remount,ro,bind "$2"; "$1" -c "$3" "$2"'
    done = in_own_mounts(script, folder, READ)
    assert done.stdout.strip() == "6 6", done.stderr


def test_a_read_only_disc_with_an_unfinished_log_is_not_read_wrongly(clinic, folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)  # while it is open: the log is not applied yet
    (copy / "archive.sqlite-shm").unlink()
    assert (copy / "archive.sqlite-wal").stat().st_size > 0
    script = 'mount --bind "$2" "$2"; mount -o remount,ro,bind "$2"; "$1" -c "$3" "$2"'
    done = in_own_mounts(script, copy, READ)
    assert done.stdout.strip() == "6 6" or "not closed properly" in done.stdout, done.stderr


def test_a_file_system_that_is_really_full_loses_nothing(tmp_path):
    script = (
        'mount -t tmpfs -o size=1500k tmpfs "$2"; "$1" "$3" "$2/A" 20000 50 >"$4/out" 2>"$4/err"'
        ' || true; "$1" -c "$5" "$2/A"'
    )
    (tmp_path / "disk").mkdir()
    done = in_own_mounts(script, tmp_path / "disk", INDEXER, tmp_path, READ)
    assert "is full" in (tmp_path / "err").read_text()
    acknowledged = int((tmp_path / "out").read_text().split()[-1]) + 50
    assert done.stdout.split() == [str(acknowledged)] * 2, done.stdout + done.stderr

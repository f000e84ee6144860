"""Adding to an archive and taking away, also when a kill or a full disk comes in between."""

import os
import shutil
import subprocess
import sys
import time
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest

from foveola.archive import Archive
from foveola.datasets.manifest import Manifest
from foveola.encoders.encoder import Encoder
from foveola.errors import ArchiveError, ImageError, KnownCaseError, NoCaseError
from foveola.indexing import add_missing, open_archive
from foveola.records import Case
from foveola.server.maintenance import add_photograph, find_again, is_settled, remove_cases, settle, sweep
from foveola.server.maintenance.add import keep, owns

RECORD = Case(image="", path="", subject="s1", eye="left", grade=1, collection="c")


@pytest.fixture(scope="module")
def files(phantoms):
    return [Path(case.path) for case in Manifest.read(phantoms).cases()]


@pytest.fixture(scope="module")
def encoder():
    return Encoder.load()


@pytest.fixture
def folder(tmp_path) -> Path:
    open_archive(tmp_path / "A")[0].close()
    return tmp_path / "A"


def kept(folder):
    return sorted(path for path in (folder / "photographs").rglob("*") if path.is_file())


def count(folder):
    with Archive.open(folder, read_only=True) as archive:
        return len(archive)


def test_a_photograph_is_kept_under_the_hash_of_its_bytes(folder, files, encoder):
    data = files[0].read_bytes()
    added = add_photograph(folder, encoder, data, RECORD)
    (path,) = kept(folder)
    assert path.name == blake2b(data, digest_size=16).hexdigest() + ".jpeg"
    assert path.parent.name == path.name[:2]
    assert path.read_bytes() == data
    assert (added.new, added.case.path, added.case.subject) == (True, str(path), "s1")
    again = add_photograph(folder, encoder, data, RECORD)
    assert (again.new, again.id, again.case) == (False, added.id, added.case)
    with pytest.raises(KnownCaseError, match=f"as case {added.id}"):
        add_photograph(folder, encoder, data, Case(image="", path="", subject="s2"))


def test_a_file_that_was_indexed_elsewhere_is_known_again(folder, files, encoder):
    case = Case(image="a.jpg", path=str(files[0]), subject="s1")
    add_missing(folder, [case])
    added = add_photograph(folder, encoder, files[0].read_bytes(), Case(image="", path="", subject="s1"))
    assert (added.new, added.case) == (False, case)
    assert kept(folder) == []


def test_what_is_no_photograph_leaves_nothing(folder, files, encoder):
    data = files[0].read_bytes()
    for wrong in (b"", b"text", data[: len(data) // 2]):
        with pytest.raises(ImageError, match=r"^the photograph: "):
            add_photograph(folder, encoder, wrong, RECORD)
    assert kept(folder) == []
    assert count(folder) == 0


def test_a_record_that_cannot_be_stored_leaves_nothing(folder, files, encoder):
    for wrong in ({"subject": "a\0"}, {"grade": 9}, {"visit": float("nan")}):
        with pytest.raises(ValueError, match=r"NUL|grade|finite"):
            add_photograph(folder, encoder, files[0].read_bytes(), Case(image="", path="", **wrong))
    assert kept(folder) == []


def test_a_folder_that_cannot_be_written_is_told(folder, files, encoder):
    (folder / "photographs").write_text("in the way")
    with pytest.raises(ArchiveError, match="can't be kept"):
        add_photograph(folder, encoder, files[0].read_bytes(), RECORD)
    assert count(folder) == 0


def test_a_kill_before_the_case_is_stored_leaves_what_the_sweep_takes(folder, files):
    data = files[0].read_bytes()
    digest = blake2b(data, digest_size=16).digest()
    program = (
        "import os, sys; from pathlib import Path;"
        "from foveola.server.maintenance.add import keep;"
        "keep(Path(sys.argv[1]), Path(sys.argv[2]).read_bytes(), bytes.fromhex(sys.argv[3]));"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, folder, files[0], digest.hex()], check=False)
    (path,) = kept(folder)
    assert sweep(folder) == 0  # its case may be on the way
    assert kept(folder) == [path]
    os.utime(path, (time.time() - 7200,) * 2)
    assert sweep(folder) == 1
    assert kept(folder) == []


def test_the_sweep_spares_what_belongs_to_a_case(folder, files, encoder):
    add_photograph(folder, encoder, files[0].read_bytes(), RECORD)
    for path in kept(folder):
        os.utime(path, (time.time() - 7200,) * 2)
    assert sweep(folder) == 0
    assert len(kept(folder)) == 1


def test_a_subject_goes_with_its_photographs_and_nobody_else_s(folder, files, encoder):
    for i, file in enumerate(files[:4]):
        record = Case(image="", path="", subject=f"s{i // 2}")
        add_photograph(folder, encoder, file.read_bytes(), record)
    add_missing(folder, [Case(image="x", path=str(files[5]), subject="s0")])
    assert remove_cases(folder, subject="s0") == 3
    assert len(kept(folder)) == 2
    assert files[5].exists()  # it lies elsewhere
    with Archive.open(folder, read_only=True) as archive:
        assert {case.path for _, case in archive.cases()} == set(map(str, kept(folder)))
    with pytest.raises(NoCaseError):
        remove_cases(folder, subject="s0")


def test_all_of_several_cases_go_or_none(folder, files):
    add_missing(folder, [Case(image=f.name, path=str(f)) for f in files[:4]])
    with pytest.raises(NoCaseError, match="99"):
        remove_cases(folder, ids=[1, 99])
    assert count(folder) == 4
    assert remove_cases(folder, ids=[3, 1, 3]) == 2
    with Archive.open(folder, read_only=True) as archive:
        assert [id_ for id_, _ in archive.cases()] == [2, 4]


def test_only_what_lies_among_the_photographs_is_the_archive_s(folder):
    assert owns(folder, folder / "photographs" / "ab" / "x.jpeg")
    for path in (
        folder / "photographs",
        folder / "archive.sqlite",
        folder / "photographs" / ".." / "archive.sqlite",
        "/x/photographs/y",
    ):
        assert not owns(folder, path)


def test_a_photograph_s_name_is_not_taken_from_anywhere(folder, files):
    data = files[0].read_bytes()
    path = keep(folder, data, bytes(16))
    assert path.relative_to(folder.absolute()).as_posix() == f"photographs/00/{'0' * 32}.jpeg"


def test_photographs_are_found_again_when_the_archive_was_moved(folder, files, encoder, tmp_path):
    ids = [add_photograph(folder, encoder, f.read_bytes(), RECORD).id for f in files[:2]]
    add_missing(folder, [Case(image="x", path=str(files[5]))])
    assert find_again(folder) == 0
    moved = folder.rename(tmp_path / "B")
    assert find_again(moved) == 2
    with Archive.open(moved, read_only=True) as archive:
        assert {archive.case(id_).path for id_ in ids} == set(map(str, kept(moved)))
        assert archive.find(path=str(files[5])) is not None
        assert len(archive) == 3
    assert find_again(moved) == 0
    assert sweep(moved, older=-1) == 0


def test_a_copy_beside_the_original_leaves_paths_as_they_are(folder, files, encoder, tmp_path):
    add_photograph(folder, encoder, files[0].read_bytes(), RECORD)
    shutil.copytree(folder, tmp_path / "B")
    assert find_again(tmp_path / "B") == 0  # the photograph is where its case says
    assert sweep(tmp_path / "B", older=-1) == 0  # but the copy's own is not thrown away
    shutil.rmtree(folder)
    assert find_again(tmp_path / "B") == 1


def test_an_archive_is_settled_when_its_worth_was_learnt_from_all_of_it(folder):
    def fill(start, stop):
        rng = np.random.default_rng(start)
        from foveola.archive import Entry

        entries = []
        for i in range(start, stop):
            v = rng.normal(size=archive.dimension)
            case = Case(image=f"{i}", path=f"/{i}", subject=f"{i}", grade=i % 2)
            vector = (v / np.linalg.norm(v)).astype(np.float32)
            entries.append(Entry(case=case, descriptor=vector, digest=bytes(16), size=1, mtime_ns=1))
        archive.add(entries)

    with Archive.open(folder) as archive:
        fill(0, 30)
        assert is_settled(archive)  # nothing was ever learnt, and nothing is out of date
        settle(folder)
        assert is_settled(archive)
        fill(30, 31)
        assert not is_settled(archive)
        settle(folder)
        assert is_settled(archive)

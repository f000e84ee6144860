"""A row that is not what was written is told, whichever it is."""

import hashlib
import sqlite3

import numpy as np
import pytest

from foveola.archive import Archive, Entry
from foveola.errors import ArchiveError
from foveola.records import Case

D = 8
MADE_BY = {"encoder": "toy", "fingerprint": "f00d", "dimension": D}


def toy_vectors(count, seed=0):
    v = np.random.default_rng(seed).normal(size=(count, D))
    return (v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float32)


def toy_entry(name, vector, **record):
    case = Case(image=name, path=f"/data/{name}", **record)
    digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
    return Entry(case=case, descriptor=vector, digest=digest, size=len(name), mtime_ns=7)


@pytest.fixture
def folder(tmp_path):
    with Archive.create(tmp_path / "A", **MADE_BY) as archive:
        archive.add(
            [
                toy_entry(
                    f"{i}.jpg",
                    vector,
                    subject=f"s{i // 2}",
                    grade=i % 5,
                    visit=float(i),
                    findings=frozenset("DG"[: i % 3]),
                    extra={"age": i},
                )
                for i, vector in enumerate(toy_vectors(12))
            ]
        )
    return tmp_path / "A"


def behind_its_back(folder, statement):
    db = sqlite3.connect(folder / "archive.sqlite")
    with db:
        db.execute(statement)
    db.close()


ASKED = {
    "search": lambda a: a.search(toy_vectors(1)[0], 3),
    "cases": lambda a: list(a.cases()),
    "info": lambda a: a.info(),
    "page": lambda a: a.page(),
    "known": lambda a: a.known(),
    "digests": lambda a: a.digests(),
    "case": lambda a: a.case(2),
    "find": lambda a: a.find(path="/data/1.jpg"),
}
OF_ONE = ("case", "find")  # which look at no other case
CHANGED = {
    "grade": "UPDATE cases SET grade = 4 WHERE id = 2",
    "subject": "UPDATE cases SET subject = 's9' WHERE id = 2",
    "eye": "UPDATE cases SET eye = 'left' WHERE id = 2",
    "visit": "UPDATE cases SET visit = 3 WHERE id = 2",
    "text of a number": "UPDATE cases SET visit = '1.0' WHERE id = 2",
    "extra": "UPDATE cases SET extra = '{\"age\": 2}' WHERE id = 2",
    "looked": "UPDATE cases SET looked = 0 WHERE id = 2",
    "digest": "UPDATE cases SET digest = zeroblob(16) WHERE id = 2",
    "stamp": "UPDATE cases SET mtime_ns = 8 WHERE id = 2",
    "finding": "UPDATE case_findings SET finding = 'E' WHERE case_id = 2",
    "finding lost": "DELETE FROM case_findings WHERE case_id = 2",
    "finding come": "INSERT INTO case_findings VALUES (2, 'X')",
    "encoder": "UPDATE meta SET value = 'tox' WHERE key = 'encoder'",
    "column": "UPDATE columns SET kind = 'text'",
    "checksum": "UPDATE checks SET record = record + 1 WHERE case_id = 2",
    "checksum lost": "DELETE FROM checks WHERE case_id = 2",
}


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("changed", CHANGED)
def test_a_changed_record_is_told(folder, changed, asked):
    behind_its_back(folder, CHANGED[changed])
    with Archive.open(folder, read_only=True) as archive, pytest.raises(ArchiveError, match="is damaged"):
        ASKED[asked](archive)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM cases WHERE id = 2",
        "UPDATE cases SET id = 99 WHERE id = 2",
        "INSERT INTO cases SELECT 99, 'x', image, subject, eye, visit, grade, collection, looked,"
        " extra, digest, size, mtime_ns FROM cases WHERE id = 2",
    ],
)
def test_a_row_too_few_or_too_many_is_told(folder, statement):
    behind_its_back(folder, statement)
    for name, ask in ASKED.items():
        if name not in OF_ONE:
            with Archive.open(folder) as archive, pytest.raises(ArchiveError, match="is damaged"):
                ask(archive)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE descriptors SET vector = zeroblob(32) WHERE case_id = 2",
        "DELETE FROM descriptors WHERE case_id = 2",
        "UPDATE checks SET vector = NULL WHERE case_id = 2",
    ],
)
def test_a_changed_descriptor_is_told(folder, statement):
    behind_its_back(folder, statement)
    with Archive.open(folder) as archive, pytest.raises(ArchiveError, match="is damaged"):
        archive.vectors()


def test_an_index_that_was_changed_is_told(folder):
    with Archive.open(folder, read_only=True) as archive:
        digest = archive.digests()[3]
    path = folder / "archive.sqlite"
    whole = path.read_bytes()
    places = [i for i in range(len(whole)) if whole.startswith(digest, i)]
    assert len(places) == 2  # the table and the index
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with Archive.open(folder) as archive, pytest.raises(ArchiveError, match="is damaged"):
            archive.search(toy_vectors(1)[0], 3)


WRITTEN = {
    "added": lambda a: a.add([toy_entry("new.jpg", toy_vectors(1, seed=3)[0])]),
    "replaced": lambda a: a.add([toy_entry("3.jpg", toy_vectors(1, seed=3)[0], grade=1)]),
    "relabelled": lambda a: a.update_records([Case(image="3.jpg", path="/data/3.jpg", grade=0)]),
    "moved": lambda a: a.move({"/data/3.jpg": "/data/moved.jpg"}),
    "removed": lambda a: a.remove(subject="s1"),
    "compacted": lambda a: a.compact(),
}


@pytest.mark.parametrize("written", WRITTEN)
def test_what_is_written_is_sound_and_what_was_damaged_stays_told(folder, written):
    with Archive.open(folder) as archive:
        WRITTEN[written](archive)
    with Archive.open(folder, read_only=True) as archive:
        for ask in ASKED.values():
            ask(archive)
    behind_its_back(folder, "UPDATE cases SET grade = 3 WHERE id = 12")
    with Archive.open(folder) as archive:
        archive.add([toy_entry("later.jpg", toy_vectors(1, seed=4)[0])])
    with Archive.open(folder) as archive, pytest.raises(ArchiveError, match="is damaged"):
        archive.vectors()


def test_an_older_archive_is_read_as_it_is_and_checked_from_the_next_change_on(folder):
    behind_its_back(folder, "DROP TABLE checks")
    with Archive.open(folder, read_only=True) as archive:
        assert not archive.is_checked
        before = list(archive.cases())
        for ask in ASKED.values():
            ask(archive)
    with Archive.open(folder) as archive:
        archive.update_records([])
        assert archive.is_checked
        assert list(archive.cases()) == before
    behind_its_back(folder, CHANGED["grade"])
    with Archive.open(folder) as archive, pytest.raises(ArchiveError, match="is damaged"):
        archive.vectors()


def test_the_checksums_of_two_archives_of_the_same_files_are_the_same(folder, tmp_path):
    with Archive.open(folder, read_only=True) as archive:
        vectors, cases = archive.vectors()[1], [case for _, case in archive.cases()]
    with Archive.create(tmp_path / "B", **MADE_BY) as other:
        for case, vector in zip(cases, np.array(vectors), strict=True):
            record = {key: getattr(case, key) for key in ("subject", "grade", "visit", "findings", "extra")}
            other.add([toy_entry(case.image, vector, **record)])
    rows = [
        sqlite3.connect(path / "archive.sqlite").execute("SELECT * FROM checks").fetchall()
        for path in (folder, tmp_path / "B")
    ]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 13

"""Small archives and what goes into them."""

import hashlib
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from foveola.archive import Archive, Entry
from foveola.records import Case

D = 8
MADE_BY = {"encoder": "toy", "fingerprint": "f00d", "dimension": D}


def toy_vectors(count, dimension=D, seed=0):
    v = np.random.default_rng(seed).normal(size=(count, dimension))
    return (v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float32)


def toy_entry(name, vector, **record):
    record = {"image": name, "path": f"/data/{name}"} | record
    digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
    return Entry(case=Case(**record), descriptor=vector, digest=digest, size=len(name), mtime_ns=7)


def dump_tables(folder):
    """Every row of every table, so that two archives can be compared."""
    db = sqlite3.connect(folder / "archive.sqlite")
    tables = [r[0] for r in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    rows = {t: sorted(db.execute(f"SELECT * FROM {t}"), key=repr) for t in tables}
    db.close()
    return rows


@pytest.fixture
def vectors():
    return toy_vectors


@pytest.fixture
def entry():
    return toy_entry


@pytest.fixture
def dump():
    return dump_tables


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "A"


@pytest.fixture
def empty(folder):
    """An archive without cases."""
    with Archive.create(folder, **MADE_BY) as archive:
        yield archive


@pytest.fixture
def clinic(empty):
    """Six photographs of three known people and an unknown one."""
    v = toy_vectors(6)
    empty.add(
        [
            toy_entry("a1.jpg", v[0], subject="a", eye="left", grade=0, findings=frozenset()),
            toy_entry("a2.jpg", v[1], subject="a", eye="right", grade=3, findings=frozenset("DG")),
            toy_entry("b1.jpg", v[2], subject="b", eye="left", grade=2, visit=6.0),
            toy_entry("c1.jpg", v[3], subject="a", collection="other", extra={"age": 61}),
            toy_entry("d1.jpg", v[4], extra={"age": 40, "camera model": "Topcon NW8"}),
            toy_entry("d2.jpg", v[5], visit="2021-03-04", extra={"camera model": "Kowa"}),
        ]
    )
    return empty


@pytest.fixture
def made_by():
    return dict(MADE_BY)

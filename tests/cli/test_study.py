"""foveola study as a user runs it."""

import csv

import numpy as np
import pytest

from commands import foveola, is_private
from foveola.archive import Archive, Entry
from foveola.records import Case
from foveola.server.study import Answer, Answers


@pytest.fixture
def archive(tmp_path):
    rng = np.random.default_rng(1)
    folder = tmp_path / "A"
    with Archive.create(folder, encoder="e", fingerprint="f", dimension=4) as made:
        rows = rng.normal(size=(12, 4)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        made.add(
            [
                Entry(
                    case=Case(image=f"{i}", path=f"/{i}", subject=f"S{i}", grade=i % 3),
                    digest=bytes(16),
                    size=1,
                    mtime_ns=1,
                    descriptor=row,
                )
                for i, row in enumerate(rows)
            ]
        )
    return folder


def test_new_and_export(archive, tmp_path):
    study = tmp_path / "S"
    done = foveola("study", "new", archive, study, "--queries", 3, "--shown", 4, "--controls", 0.5)
    assert "12 pairs, 6 of them controls" in done.stdout
    Answers(study).add(Answer(reader="R1", item=2, order=1, similar=5, useful=4, seconds=3.0, server_seconds=3.1))
    out = tmp_path / "answers.csv"
    foveola("study", "export", study, "--out", out)
    with out.open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["reader"], row["item"], row["score"], row["useful"]) == ("R1", "2", "5", "4")
    assert is_private(study / "study.json", out)
    again = foveola("study", "new", archive, study, code=1)
    assert "holds a study already" in again.stderr

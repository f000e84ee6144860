"""How far descriptors tell who someone is, and the commands that measure it."""

import json
import subprocess
import sys

import numpy as np
import pytest

from foveola.archive import Archive, Entry
from foveola.errors import ArchiveError
from foveola.matching.risk import risk
from foveola.records import Case
from foveola.trust import ALIKE


def foveola(*arguments):
    return subprocess.run([sys.executable, "-m", "foveola", *map(str, arguments)], capture_output=True, text=True)


def archive_of(folder, rows, people, visits=None):
    rows = np.asarray(rows, np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    with Archive.create(folder, encoder="e", fingerprint="f" * 32, dimension=rows.shape[1]) as made:
        made.add(
            [
                Entry(
                    case=Case(
                        image=f"{i}.jpg",
                        path=f"/{i}.jpg",
                        subject=subject,
                        eye=eye,
                        visit=None if visits is None else visits[i],
                    ),
                    descriptor=row,
                    digest=bytes([i // 256, i % 256] * 8),
                    size=1,
                    mtime_ns=1,
                )
                for i, (row, (subject, eye)) in enumerate(zip(rows, people, strict=True))
            ]
        )
    return folder


@pytest.fixture
def telling(tmp_path):
    """Two photographs of each eye of 20 people, alike by person and all but equal by eye."""
    rng = np.random.default_rng(0)
    rows, people = [], []
    for n in range(20):
        person = rng.normal(size=24)
        for eye in ("left", "right"):
            own = person + 0.5 * rng.normal(size=24)
            for _ in range(2):
                rows.append(own + 0.05 * rng.normal(size=24))
                people.append((f"s{n}", eye))
    return archive_of(tmp_path / "a", rows, people, visits=[0.0, 12.0] * 40)


def test_descriptors_that_tell_the_eye_are_a_risk(telling):
    found = risk(telling, bootstrap=50)
    assert found.found["eye"].found.metrics["rank-1"].value.micro == 1
    assert found.found["subject"].found.verification.auc.value > 0.95
    assert found.chance["eye"] == pytest.approx(1 / 79)
    assert found.chance["subject"] == pytest.approx(3 / 79)
    text = found.to_text()
    assert "80 photographs" in text
    assert "s1" not in text.replace("identities", "")


def test_descriptors_that_tell_nothing_are_at_chance(tmp_path):
    rng = np.random.default_rng(1)
    people = [(f"s{n // 2}", "left") for n in range(200)]
    found = risk(archive_of(tmp_path / "a", rng.normal(size=(200, 8)), people), bootstrap=0)
    assert found.found["eye"].found.verification.auc.value == pytest.approx(0.5, abs=0.06)
    assert found.found["eye"].found.metrics["rank-1"].value.micro < 0.05


def test_where_nobody_comes_twice_it_says_so(tmp_path):
    people = [(f"s{n}", "left") for n in range(5)]
    found = risk(archive_of(tmp_path / "a", np.eye(5), people), bootstrap=0)
    assert found.found == {"eye": None, "subject": None}
    assert "No eye was photographed twice" in found.to_text()
    assert json.loads(json.dumps(found.to_dict()))["by"]["eye"] is None


def test_an_empty_archive_is_an_error(tmp_path):
    with (
        Archive.create(tmp_path / "a", encoder="e", fingerprint="f" * 32, dimension=3),
        pytest.raises(ArchiveError, match="is empty"),
    ):
        risk(tmp_path / "a")


def left_by_hand(folder, alike):
    """Share of the photographs whose nearest case below a cosine is of the same eye."""
    with Archive.open(folder, read_only=True) as archive:
        rows = archive.vectors()[1].tolist()
        eyes = [(case.subject, case.eye) for _, case in archive.cases()]
    found = 0
    for i, row in enumerate(rows):
        cosines = [sum(a * b for a, b in zip(row, other, strict=True)) for other in rows]
        best = max((c, -j) for j, c in enumerate(cosines) if j != i and c < alike)
        found += eyes[-best[1]] == eyes[i]
    return found / len(rows)


def test_the_commands_print_tables_and_json(telling):
    printed = foveola("risk", telling, "--bootstrap", 20)
    assert printed.returncode == 0, printed.stderr
    assert "eye" in printed.stdout
    assert f"A search leaves out what is alike from {ALIKE:.4f} on" in printed.stdout
    said = json.loads(foveola("risk", telling, "--bootstrap", 0, "--json").stdout)
    assert said["left_out_from_cosine"] == ALIKE
    assert said["rank_1_eye_in_search"] == left_by_hand(telling, ALIKE)
    assert f"of the same eye for {said['rank_1_eye_in_search']:.3f}" in printed.stdout
    found = json.loads(foveola("identify", telling, "--json", "--bootstrap", 20).stdout)
    assert found["queries"] == 40
    assert found["metrics"]["rank-1"]["by_time"] == {"1 y": 1.0}
    text = foveola("identify", telling, "--identity", "subject", "--gallery", "others", "--bootstrap", 0).stdout
    assert "each against all others" in text
    wrong = foveola("identify", telling, "--edge", 30, "--edge", 7)
    assert wrong.returncode == 2
    assert "expected rising times" in wrong.stderr
    unknown = foveola("identify", telling, "--time", "admission")
    assert unknown.returncode == 0  # repeats without a time still ask

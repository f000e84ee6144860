"""`foveola learn`, and what `foveola index` and `foveola remove` learn by themselves."""

import json
from dataclasses import replace

import numpy as np
import pytest

from commands import foveola
from foveola.archive import Archive, Entry
from foveola.learned import RELEVANCE, load_learned
from foveola.records import Case
from foveola.trust import TRUST

D = 16


def entries(people, seed=0, grades=3):
    rng = np.random.default_rng(seed)
    means = rng.normal(0, 1, (grades, D))
    for i in range(people):
        for eye in ("left", "right"):
            vector = means[i % grades] + rng.normal(0, 1, D)
            yield Entry(
                case=Case(
                    image=f"{i}{eye}.jpg",
                    path=f"/nowhere/{i}{eye}.jpg",
                    subject=f"p{i}",
                    eye=eye,
                    grade=i % grades,
                    extra={"dme": i % 2, "name": f"n{i}{eye}"},
                ),
                descriptor=(vector / np.linalg.norm(vector)).astype(np.float32),
                digest=bytes([i]) * 15 + eye[:1].encode(),
                size=1,
                mtime_ns=1,
            )


@pytest.fixture
def archive(tmp_path):
    folder = tmp_path / "archive"
    with Archive.create(folder, encoder="e", fingerprint="f", dimension=D) as made:
        made.add(list(entries(60)))
    return folder


def test_learn_says_what_it_learnt_and_from_how_many(archive):
    done = foveola("learn", archive, "--label", "dme")
    assert "learnt 3 values of grade from 120 cases" in done.stderr
    assert "learnt 2 values of dme from 120 cases" in done.stderr
    values = json.loads(foveola("learn", archive, "--json").stdout)
    assert values["labels"]["grade"] == {
        "values": ["0", "1", "2"],
        "too_few": [],
        "cases": 120,
        "people": 60,
        "new_to_the_encoder": True,
    }
    assert list(values["labels"]) == ["grade", "dme"]  # a column once learnt is learnt again


def test_a_column_that_is_not_there_is_refused_and_nothing_is_written(archive):
    done = foveola("learn", archive, "--label", "nope", code=1)
    assert "has no column 'nope'; expected one of grade, findings, dme, name" in done.stderr
    assert not (archive / RELEVANCE).exists()


def test_a_column_of_names_is_no_label(archive):
    done = foveola("learn", archive, "--label", "name", code=1)
    assert "column 'name' has 120 different values; expected at most 50" in done.stderr
    assert not (archive / RELEVANCE).exists()


def test_too_few_labels_are_told_and_the_exit_code_says_so(tmp_path):
    folder = tmp_path / "small"
    with Archive.create(folder, encoder="e", fingerprint="f", dimension=D) as made:
        made.add(list(entries(5)))
    done = foveola("learn", folder, code=1)
    assert "not learnt, so ranked by looks: grade: 10 cases have one, and 0 of its 3" in done.stderr


def test_what_was_learnt_forgets_a_removed_person_to_the_last_bit(archive, tmp_path):
    foveola("learn", archive)
    foveola("remove", archive, "--subject", "p7")
    never = tmp_path / "never"
    with Archive.create(never, encoder="e", fingerprint="f", dimension=D) as made:
        made.add([entry for entry in entries(60) if entry.case.subject != "p7"])
    foveola("learn", never)
    with Archive.open(archive) as one, Archive.open(never) as other:
        a, b = load_learned(one), load_learned(other)
    assert a.fitted_on == b.fitted_on
    of, same = a.labels["grade"], b.labels["grade"]
    for one, other in zip((of.linear, *of.apart), (same.linear, *same.apart), strict=True):
        np.testing.assert_array_equal(one.weights, other.weights)
        np.testing.assert_array_equal(one.bias, other.bias)
    assert of.calibrated.curve == same.calibrated.curve
    assert b"p7" not in (archive / RELEVANCE).read_bytes()


def test_the_grade_comes_first_where_nearly_as_many_cases_have_one(tmp_path):
    for graded, first in ((115, "grade"), (90, "findings")):
        folder = tmp_path / first
        with Archive.create(folder, encoder="e", fingerprint="f", dimension=D) as made:
            made.add(
                [
                    replace(
                        e,
                        case=replace(
                            e.case,
                            findings=frozenset("AB"[: 1 + i % 4 // 2]),
                            grade=e.case.grade if i < graded else None,
                        ),
                    )
                    for i, e in enumerate(entries(60))
                ]
            )
        values = json.loads(foveola("learn", folder, "--json").stdout)
        assert next(iter(values["labels"])) == first


def test_values_of_too_few_people_are_named(tmp_path):
    folder = tmp_path / "rare"
    with Archive.create(folder, encoder="e", fingerprint="f", dimension=D) as made:
        made.add([replace(e, case=replace(e.case, grade=4)) if i < 2 else e for i, e in enumerate(entries(30))])
    assert "learnt 3 values of grade from 58 cases; too few people have 4" in foveola("learn", folder).stderr
    with Archive.open(folder) as opened:
        assert load_learned(opened).labels["grade"].unlearnt == ("4",)


def test_a_damaged_file_is_told_with_what_to_do(archive):
    foveola("learn", archive)
    kept = (archive / RELEVANCE).read_bytes()
    (archive / RELEVANCE).write_bytes(kept[:-9])
    said = foveola("info", archive).stderr
    assert "can't be read; run 'foveola learn' with it once" in said
    foveola("learn", archive)
    assert (archive / RELEVANCE).read_bytes() == kept
    (archive / RELEVANCE).unlink()
    lost = "is not there yet, or was lost; run 'foveola learn' with it once"
    assert lost in foveola("info", archive).stderr
    foveola("learn", archive)
    assert not foveola("info", archive).stderr
    (archive / TRUST).unlink()
    assert f"What similarities are worth in this archive {lost}" in foveola("info", archive).stderr

"""Splits by subject, held against what they promise for any table."""

from collections import Counter, defaultdict

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveola.datasets.manifest import Manifest
from foveola.datasets.splits import folds_by_subject, split_by_subject

PARTS = {"train": 0.7, "val": 0.1, "test": 0.2}


def table(rows) -> pd.DataFrame:
    """(subject, grade) rows as a manifest's table."""
    frame = pd.DataFrame(rows, columns=["subject", "grade"])
    frame["grade"] = frame["grade"].astype("Int64")
    frame["image"] = [f"{i}.jpg" for i in range(len(frame))]
    return frame


def by_stratum(frame, splits) -> dict[object, Counter]:
    """Slow and obvious: how many subjects of each worst grade are in each split."""
    worst, where = {}, {}
    for subject, grade, split in zip(frame["subject"], frame["grade"], splits, strict=True):
        known = None if pd.isna(grade) else int(grade)
        before = worst.get(subject)
        worst[subject] = known if before is None else max(before, -1 if known is None else known)
        where[subject] = split
    counts = defaultdict(Counter)
    for subject, grade in worst.items():
        counts[grade][where[subject]] += 1
    return counts


tables = st.lists(st.tuples(st.integers(0, 60).map(str), st.none() | st.integers(0, 4)), min_size=1, max_size=150).map(
    table
)
shares = st.lists(st.integers(1, 10), min_size=1, max_size=5).map(
    lambda parts: {f"part{i}": part / sum(parts) for i, part in enumerate(parts)}
)


@given(tables, shares, st.integers(0, 5))
def test_a_subject_is_never_in_two_splits(frame, fractions, seed):
    splits = split_by_subject(frame, fractions, seed=seed)
    assert set(splits) <= set(fractions)
    assert all(len(set(group)) == 1 for _, group in splits.groupby(frame["subject"]))


@given(tables, shares)
def test_every_stratum_is_within_one_subject_of_its_share(frame, fractions):
    for counts in by_stratum(frame, split_by_subject(frame, fractions)).values():
        for name, share in fractions.items():
            assert abs(counts[name] - share * counts.total()) <= 1 + 1e-6


@given(tables, shares)
def test_the_whole_is_within_two_subjects_of_its_share(frame, fractions):
    total = sum(by_stratum(frame, split_by_subject(frame, fractions)).values(), Counter())
    for name, share in fractions.items():
        assert abs(total[name] - share * total.total()) <= 2


@given(tables, st.randoms(use_true_random=False))
def test_the_order_of_rows_and_the_index_play_no_part(frame, random):
    order = list(range(len(frame)))
    random.shuffle(order)
    shuffled = split_by_subject(frame.iloc[order], PARTS)
    assert shuffled.sort_index().tolist() == split_by_subject(frame, PARTS).tolist()


@given(tables, st.integers(2, 6))
def test_folds_are_equal_and_keep_subjects_whole(frame, k):
    folds = folds_by_subject(frame, k)
    assert all(len(set(group)) == 1 for _, group in folds.groupby(frame["subject"]))
    for counts in by_stratum(frame, folds).values():
        sizes = [counts[i] for i in range(k)]
        assert max(sizes) - min(sizes) <= 1


def test_many_strata_of_one_subject_do_not_all_feed_one_split():
    # ten subjects, each with a set of findings of its own: 7, 1 and 2 of them
    frame = pd.DataFrame({"image": [f"{i}" for i in range(10)], "findings": list("ABCDEFGHIJ")})
    counts = Counter(split_by_subject(frame, PARTS, stratify="findings"))
    assert counts == {"train": 7, "val": 1, "test": 2}


def test_shares_by_hand():
    # 10 healthy and 20 severe subjects: 7 1 2 and 14 2 4, whatever the seed
    frame = table([(f"h{i}", 0) for i in range(10)] + [(f"s{i}", 4) for i in range(20)])
    for seed in range(3):
        counts = by_stratum(frame, split_by_subject(frame, PARTS, seed=seed))
        assert counts[0] == {"train": 7, "val": 1, "test": 2}
        assert counts[4] == {"train": 14, "val": 2, "test": 4}


def test_the_stratum_is_the_worst_grade_of_the_subject():
    # 20 subjects with one healthy and one proliferative eye count as 4, not as 0
    frame = table([(str(i // 2), 4 * (i % 2)) for i in range(40)] + [(f"h{i}", 0) for i in range(9)])
    splits = split_by_subject(frame, {"a": 0.5, "b": 0.5})
    assert by_stratum(frame, splits)[4] == {"a": 10, "b": 10}


def test_a_seed_gives_one_split_and_another_seed_another():
    frame = table([(str(i), i % 5) for i in range(100)])
    first = split_by_subject(frame, PARTS, seed=1)
    assert first.equals(split_by_subject(frame, PARTS, seed=1))
    assert not first.equals(split_by_subject(frame, PARTS, seed=2))


def test_the_split_is_the_same_on_every_machine():
    # as first run (v: val, e: test, r: train); Python's own hash changes from run to run
    splits = split_by_subject(table([(str(i), 0) for i in range(10)]), PARTS)
    letters = {"train": "r", "val": "v", "test": "e"}
    assert "".join(letters[name] for name in splits) == "errrrervrr"


def test_unknown_subjects_are_spread_and_a_group_holds_them_together(tmp_path):
    frame = pd.DataFrame({"image": [f"{i}.jpg" for i in range(30)], "subject": ""})
    alone = Manifest.from_frame(frame, tmp_path, check_files=False)
    assert Counter(split_by_subject(alone, PARTS)) == {"train": 21, "val": 3, "test": 6}
    grouped = frame.assign(group=[str(i // 3) for i in range(30)])
    manifest = Manifest.from_frame(grouped, tmp_path, check_files=False)
    splits = split_by_subject(manifest, PARTS)
    assert all(len(set(splits[i : i + 3])) == 1 for i in range(0, 30, 3))
    assert Counter(splits) == {"train": 21, "val": 3, "test": 6}


def test_a_known_subject_overrules_its_group():
    frame = table([("one", 0)] * 20).assign(group=[str(i) for i in range(20)])
    assert len(set(split_by_subject(frame, PARTS))) == 1


def test_the_name_of_a_subject_is_not_that_of_a_group():
    frame = pd.DataFrame({"image": ["a", "b"], "subject": ["1", None], "group": [None, "1"], "grade": [0, 0]})
    assert len(set(split_by_subject(frame, {"a": 0.5, "b": 0.5}))) == 2


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ({}, "above 0"),
        ({"a": 1.2, "b": -0.2}, "above 0"),
        ({"a": 0.5, "b": 0.4}, "sum 1, got 0.9"),
        ({"a": float("nan")}, "above 0"),
    ],
)
def test_fractions_that_make_no_whole(fractions, message):
    with pytest.raises(ValueError, match=message):
        split_by_subject(table([("a", 0)]), fractions)


def test_one_fold_is_none():
    with pytest.raises(ValueError, match="k is 2 or more, got 1"):
        folds_by_subject(table([("a", 0)]), 1)


def test_the_shared_photographs_split_as_asked(shared_data):
    manifest = Manifest.read(shared_data / "odir" / "labels.csv")
    splits = split_by_subject(manifest, PARTS)
    marked = manifest.table.assign(split=splits)
    again = Manifest.from_frame(marked, manifest.root)  # refuses a subject in two splits
    for grade in range(5):
        share = (splits[again.table["grade"] == grade] == "test").mean()
        assert share == pytest.approx(0.2, abs=0.06)

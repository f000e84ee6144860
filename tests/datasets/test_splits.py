"""Splits by subject, held against what they promise for any table."""

from collections import Counter, defaultdict

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveola.datasets.manifest import Manifest
from foveola.datasets.splits import GALLERY, PARTS, QUERIES, SplitFiles, folds_by_subject, split_by_subject
from foveola.errors import ManifestError
from foveola.metrics.chance import expected_average_precision_author, expected_hit_ratio
from foveola.records import Case

SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}


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
    shuffled = split_by_subject(frame.iloc[order], SHARES)
    assert shuffled.sort_index().tolist() == split_by_subject(frame, SHARES).tolist()


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
    counts = Counter(split_by_subject(frame, SHARES, stratify="findings"))
    assert counts == {"train": 7, "val": 1, "test": 2}


def test_shares_by_hand():
    # 10 healthy and 20 severe subjects: 7 1 2 and 14 2 4, whatever the seed
    frame = table([(f"h{i}", 0) for i in range(10)] + [(f"s{i}", 4) for i in range(20)])
    for seed in range(3):
        counts = by_stratum(frame, split_by_subject(frame, SHARES, seed=seed))
        assert counts[0] == {"train": 7, "val": 1, "test": 2}
        assert counts[4] == {"train": 14, "val": 2, "test": 4}


def test_the_stratum_is_the_worst_grade_of_the_subject():
    # 20 subjects with one healthy and one proliferative eye count as 4, not as 0
    frame = table([(str(i // 2), 4 * (i % 2)) for i in range(40)] + [(f"h{i}", 0) for i in range(9)])
    splits = split_by_subject(frame, {"a": 0.5, "b": 0.5})
    assert by_stratum(frame, splits)[4] == {"a": 10, "b": 10}


def test_a_seed_gives_one_split_and_another_seed_another():
    frame = table([(str(i), i % 5) for i in range(100)])
    first = split_by_subject(frame, SHARES, seed=1)
    assert first.equals(split_by_subject(frame, SHARES, seed=1))
    assert not first.equals(split_by_subject(frame, SHARES, seed=2))


def test_the_split_is_the_same_on_every_machine():
    # as first run (v: val, e: test, r: train); Python's own hash changes from run to run
    splits = split_by_subject(table([(str(i), 0) for i in range(10)]), SHARES)
    letters = {"train": "r", "val": "v", "test": "e"}
    assert "".join(letters[name] for name in splits) == "errrrervrr"


def test_unknown_subjects_are_spread_and_a_group_holds_them_together(tmp_path):
    frame = pd.DataFrame({"image": [f"{i}.jpg" for i in range(30)], "subject": ""})
    alone = Manifest.from_frame(frame, tmp_path, check_files=False)
    assert Counter(split_by_subject(alone, SHARES)) == {"train": 21, "val": 3, "test": 6}
    grouped = frame.assign(group=[str(i // 3) for i in range(30)])
    manifest = Manifest.from_frame(grouped, tmp_path, check_files=False)
    splits = split_by_subject(manifest, SHARES)
    assert all(len(set(splits[i : i + 3])) == 1 for i in range(0, 30, 3))
    assert Counter(splits) == {"train": 21, "val": 3, "test": 6}


def test_a_known_subject_overrules_its_group():
    frame = table([("one", 0)] * 20).assign(group=[str(i) for i in range(20)])
    assert len(set(split_by_subject(frame, SHARES))) == 1


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
    splits = split_by_subject(manifest, SHARES)
    marked = manifest.table.assign(split=splits)
    again = Manifest.from_frame(marked, manifest.root)  # refuses a subject in two splits
    for grade in range(5):
        share = (splits[again.table["grade"] == grade] == "test").mean()
        assert share == pytest.approx(0.2, abs=0.06)


# --- split files ---


def line(image, grade, separator=" "):
    return separator.join([image, *(str(int(grade == g)) for g in range(5))])


@pytest.fixture
def folder(tmp_path):
    """Five people: 1 and 2 have their eyes on both sides, 3 to 5 on one."""
    (tmp_path / "train.txt").write_text(
        "\ufeff" + "\n".join([line("1_left", 0), line("2_left.jpeg", 2, ","), line("3_left", 0, "\t")])
    )
    (tmp_path / "val.txt").write_text(f"3_right, 1.0, 0.0,0.0 ,0,0\n\n{line('4_left', 4)}\n")
    (tmp_path / "test.txt").write_text(
        "\r\n".join(line(i, g) for i, g in [("1_right", 1), ("2_right", 2), ("5_left", 3)])
    )
    return tmp_path


def cases(names, **known):
    return [Case(image=f"images/{name}.jpeg", path=f"/x/{name}.jpeg", **known) for name in names]


NAMES = ["5_left", "1_left", "1_right", "2_left", "2_right", "3_left", "3_right", "4_left", "9_left"]


def test_files_are_read_with_commas_spaces_tabs_and_endings(folder):
    read = SplitFiles.read(folder)
    assert [(e.part, e.image, e.grade, e.row) for e in read.entries] == [
        ("train", "1_left", 0, 1),
        ("train", "2_left", 2, 2),
        ("train", "3_left", 0, 3),
        ("val", "3_right", 0, 1),
        ("val", "4_left", 4, 3),
        ("test", "1_right", 1, 1),
        ("test", "2_right", 2, 2),
        ("test", "5_left", 3, 3),
    ]
    assert read.counts(GALLERY) == [3, 0, 1, 0, 1]
    assert read.counts(QUERIES) == [0, 1, 1, 1, 0]
    assert read.on_both_sides() == 2  # of 1 and of 2, not of 5


def test_cases_are_found_by_name_in_the_order_of_the_files(folder):
    found = SplitFiles.read(folder).find(cases(NAMES))
    assert {part: [i for i, _ in found[part]] for part in PARTS} == {
        "train": [1, 3, 5],
        "val": [6, 7],
        "test": [2, 4, 0],
    }
    _, case = found["test"][0]
    assert (case.grade, case.subject, case.eye) == (1, "1", "right")
    told = SplitFiles.read(folder).find(cases(NAMES, subject="x", eye="left"))["test"][0][1]
    assert (told.subject, told.eye) == ("x", "left")  # what the archive knows stays
    told = SplitFiles.read(folder).find(cases(NAMES, eye="left"))["test"][0][1]
    assert (told.subject, told.eye) == ("1", "left")


def many(tmp_path, subjects=400, seed=1):
    """Both eyes of many people, dealt image by image as the published split was."""
    generator = np.random.default_rng(seed)
    lines = {part: [] for part in PARTS}
    for subject in range(subjects):
        grade = generator.choice(5, p=[0.7, 0.08, 0.15, 0.04, 0.03])
        for eye in ("left", "right"):
            part = generator.choice(PARTS, p=[0.72, 0.08, 0.2])
            lines[part].append(line(f"{subject}_{eye}", grade))
    for part, of_part in lines.items():
        (tmp_path / f"{part}.txt").write_text("\n".join(of_part))
    return SplitFiles.read(tmp_path)


def test_by_subject_keeps_people_together_images_complete_and_shares(tmp_path):
    split = many(tmp_path)
    assert split.on_both_sides() / len(split.of(QUERIES)) > 0.7
    again = split.by_subject()
    assert again.on_both_sides() == 0
    people = [{e.subject for e in again.of([part])} for part in PARTS]
    assert sum(map(len, people)) == len(set.union(*people)) == 400
    assert {(e.image, e.grade) for e in again.entries} == {(e.image, e.grade) for e in split.entries}
    for part in PARTS:  # within one person, two images, of each of five grades
        assert len(again.of([part])) == pytest.approx(len(split.of([part])), abs=4)
        for grade, count in enumerate(split.counts(PARTS)):
            share = count * len(split.of([part])) / 800
            assert again.counts([part])[grade] == pytest.approx(share, abs=4)
    assert split.by_subject() == again
    assert split.by_subject(seed=1) != again


def test_what_is_written_is_read_back(tmp_path):
    again = many(tmp_path).by_subject()
    again.write(tmp_path / "new")
    back = SplitFiles.read(tmp_path / "new")
    facts = [sorted((e.part, e.image, e.grade) for e in s.entries) for s in (again, back)]
    assert facts[0] == facts[1]


def test_names_without_an_eye_are_read_but_not_split_by_subject(folder):
    (folder / "val.txt").write_text(line("IDRiD_07", 3))
    with (folder / "test.txt").open("a") as file:
        file.write("\n" + line("IDRiD_08", 3))  # of nobody known, so not of the same person
    split = SplitFiles.read(folder)
    assert split.on_both_sides() == 2
    with pytest.raises(ManifestError, match=r"val\.txt, row 1: .* does not end in _left or _right"):
        split.by_subject()


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("val", "3_right 0 0 0 0", r"val\.txt, row 1: expected .* five numbers.*'0 0 0 0'"),
        ("val", "3_right 1 0 0 0 1", r"val\.txt, row 1: expected .* '1 0 0 0 1'"),
        ("val", "3_right 0 0 0 0 0", r"val\.txt, row 1: expected"),
        ("val", "3_right 2 0 0 0 0", r"val\.txt, row 1: expected"),
        ("val", ",1,0,0,0,0", r"val\.txt, row 1: expected"),
        ("val", "image level", r"val\.txt, row 1: expected"),
        ("val", "\n\n", r"val\.txt holds no image"),
        ("val", None, r"val\.txt: no such file; split files are train\.txt, val\.txt, test\.txt"),
        ("test", line("2_left", 2), r"test\.txt, row 1: .* already \(in row 2 of train\.txt"),
        ("test", line("2_left", 3), r"test\.txt, row 1: .*grade 3 that has grade 2 elsewhere \(in"),
        ("val", f"{line('8_left', 1)}\n{line('8_left.png', 1)}", r"row 2: .*row 1 of val\.txt"),
    ],
)
def test_files_with_faults_are_refused(folder, file, text, words):
    if text is None:
        (folder / f"{file}.txt").unlink()
    else:
        (folder / f"{file}.txt").write_text(text)
    with pytest.raises(ManifestError, match=words) as refused:
        SplitFiles.read(folder)
    assert "_left" not in str(refused.value)  # whose number stands before it
    assert "_right" not in str(refused.value)


def test_a_file_that_is_no_text_is_refused(folder):
    (folder / "val.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ManifestError, match=r"val\.txt is not UTF-8 text"):
        SplitFiles.read(folder)


def test_images_that_are_absent_double_or_of_another_grade_are_refused(folder):
    split = SplitFiles.read(folder)
    with pytest.raises(ManifestError, match=r"val\.txt, rows 1, 3: no indexed image has this name"):
        split.find(cases(NAMES[:6]))
    with pytest.raises(ManifestError, match=r"test\.txt, row 3: 2 indexed images have this name"):
        split.find(cases([*NAMES, "5_left"]))
    graded = [*cases(["5_left"], grade=0), *cases(NAMES[1:])]
    with pytest.raises(ManifestError, match=r"test\.txt, row 3: grade 3 here, but 0 where it was"):
        split.find(graded)
    split.find([*cases(["5_left"], grade=3), *cases(NAMES[1:])])


def test_chance_of_the_published_counts(tmp_path):
    # methods.md 1.6: mHR .5711 at every K, mAP@5/10/20/50 = .4793/.4516/.4325/.4173.
    counts = {
        "train": (18567, 1769, 3791, 631, 519),
        "val": (2037, 189, 466, 59, 58),
        "test": (5198, 480, 1031, 182, 131),
    }
    names = iter(range(35108))
    for part, of_part in counts.items():
        text = [line(f"{next(names)}_left", g) for g, n in enumerate(of_part) for _ in range(n)]
        (tmp_path / f"{part}.txt").write_text("\n".join(text))
    split = SplitFiles.read(tmp_path)
    gallery, asked = split.counts(GALLERY), split.counts(QUERIES)
    assert gallery == [20604, 1958, 4257, 690, 577]
    assert (sum(gallery), sum(asked)) == (28086, 7022)
    ranked = [sum(gallery)] * 5
    for k, published in ((5, 0.4793), (10, 0.4516), (20, 0.4325), (50, 0.4173)):
        hits = expected_hit_ratio(gallery, ranked, k)
        assert np.average(hits, weights=asked) == pytest.approx(0.5711, abs=5e-5)
        ours = np.average(expected_average_precision_author(gallery, ranked, k), weights=asked)
        assert ours == pytest.approx(published, abs=6e-5)


def test_too_few_subjects_for_two_sides_are_refused(tmp_path):
    for part, image in zip(PARTS, ("1_left", "1_right", "2_left"), strict=True):
        (tmp_path / f"{part}.txt").write_text(line(image, 0))
    with pytest.raises(ManifestError, match="hold 2 subjects, too few for two sides"):
        SplitFiles.read(tmp_path).by_subject()

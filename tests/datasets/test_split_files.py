import numpy as np
import pytest

from foveola.datasets.split_files import GALLERY, PARTS, QUERIES, SplitFiles
from foveola.errors import ManifestError
from foveola.metrics.chance import expected_average_precision_author, expected_hit_ratio
from foveola.records import Case


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
    # docs/explanation/methods.md, section 1: mHR .5711 at every K, mAP@5/10/20/50 = .4793/.4516/.4325/.4173.
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

"""The manifest: what is read, what is refused and with which words."""

import datetime
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveola.datasets.manifest import COLUMNS, Manifest
from foveola.errors import ManifestError, MissingExtraError
from foveola.records import identifier


@pytest.fixture
def write(tmp_path):
    """Write a table and the images a.jpg to d.jpg beside it; returns the table's path."""

    def _write(text: str | bytes, name: str = "labels.csv") -> Path:
        for letter in "abcd":
            (tmp_path / f"{letter}.jpg").touch()
        data = text.encode() if isinstance(text, str) else text
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return _write


def fault(path: Path) -> str:
    with pytest.raises(ManifestError) as error:
        Manifest.read(path)
    return str(error.value).removeprefix(str(path))


# what is read


def test_every_column_becomes_its_field_of_the_case(write, tmp_path):
    path = write(
        "image,subject,eye,visit,grade,findings,age,camera,dme\na.jpg,007,left,6,2,H;D,61.5,Topcon,1\n./b.jpg,,,,,,,,\n"
    )
    first, second = Manifest.read(path, collection="clinic").cases()
    assert (first.image, first.path) == ("a.jpg", str(tmp_path / "a.jpg"))
    assert (first.subject, first.eye, first.visit, first.grade) == ("007", "left", 6.0, 2)
    assert first.findings == {"D", "H"}
    assert first.extra == {"age": 61.5, "camera": "Topcon", "dme": 1}
    assert {key: type(value) for key, value in first.extra.items()} == {"age": float, "camera": str, "dme": int}
    assert type(first.grade) is int
    assert first.collection == "clinic"
    assert second.image == "b.jpg"
    assert second.subject is second.eye is second.visit is second.grade is second.findings is None
    assert second.extra == {}


def test_image_alone_is_enough_and_the_canonical_columns_come_first(write):
    table = Manifest.read(write("camera,image\nTopcon,a.jpg\n")).table
    assert list(table.columns) == [*COLUMNS, "camera"]
    assert table["grade"].dtype == "Int64"


def test_subjects_are_kept_as_written(write):
    path = write("image,subject\na.jpg,007\nb.jpg,\nc.jpg,10003\nd.jpg,1e3\n")
    assert [case.subject for case in Manifest.read(path).cases()] == ["007", None, "10003", "1e3"]


def test_unknown_subjects_are_all_different(write):
    one, two = Manifest.read(write("image,subject\na.jpg,\nb.jpg,\n")).cases()
    assert one.identity != two.identity


@pytest.mark.parametrize(
    ("text", "eye"), [("left", "left"), ("L", "left"), ("os", "left"), ("Right", "right"), ("OD", "right")]
)
def test_eyes_have_several_spellings(write, text, eye):
    (case,) = Manifest.read(write(f"image,eye\na.jpg,{text}\n")).cases()
    assert case.eye == eye


def test_a_grade_may_be_written_as_pandas_writes_it(write):
    cases = Manifest.read(write("image,grade\na.jpg,2.0\nb.jpg,\nc.jpg,0\n")).cases()
    assert [case.grade for case in cases] == [2, None, 0]


def test_no_finding_is_not_the_same_as_not_looked_at(write):
    cases = Manifest.read(write("image,findings\na.jpg,;\nb.jpg,\nc.jpg, D ; D;N;\n")).cases()
    assert [case.findings for case in cases] == [frozenset(), None, {"D", "N"}]


def test_visits_are_months_or_dates(write):
    months = Manifest.read(write("image,visit\na.jpg,0\nb.jpg,\nc.jpg,-1.5\n")).cases()
    assert [case.visit for case in months] == [0.0, None, -1.5]
    dates = Manifest.read(write("image,visit\na.jpg,2026-03-31\nb.jpg,\n")).cases()
    assert [case.visit for case in dates] == ["2026-03-31", None]


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1", "-2", ""], [1, -2, None]),
        (["1", "2.5", ""], [1.0, 2.5, None]),
        ([".5", "1e-3", "-0"], [0.5, 0.001, -0.0]),
        (["007", "8", ""], ["007", "8", None]),  # codes
        (["1", "x", "2"], ["1", "x", "2"]),
        (["", "", ""], [None, None, None]),
        (["nan", "NA", ""], [None, None, None]),  # words for what nobody knows
        (["NaN", "61.5", "<NA>"], [None, 61.5, None]),
        (["null", "x", "None"], [None, "x", None]),
        (["9223372036854775807", "1", ""], [9223372036854775807, 1, None]),
        (["9223372036854775808", "1", ""], ["9223372036854775808", "1", None]),  # > 64 bits
        (["1" * 5000, "1", ""], ["1" * 5000, "1", None]),
        (["=1+1", "@SUM(A1)", "-"], ["=1+1", "@SUM(A1)", "-"]),  # a formula is only text
        (["1_000", "2", ""], ["1_000", "2", None]),  # a number to Python, not to people
        (["\N{ARABIC-INDIC DIGIT ONE}", "2", ""], ["\N{ARABIC-INDIC DIGIT ONE}", "2", None]),
    ],
)
def test_further_columns_keep_their_natural_type(write, cells, values):
    rows = "".join(f"{name}.jpg,{cell}\n" for name, cell in zip("abc", cells, strict=True))
    cases = list(Manifest.read(write("image,x\n" + rows)).cases())
    found = [case.extra.get("x") for case in cases]
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


def test_paths_may_have_backslashes_dots_and_a_root(write, tmp_path):
    folder = tmp_path / "lists"
    folder.mkdir()
    write("")
    (folder / "t.csv").write_text(f"image\n..\\a.jpg\n.././b.jpg\n{tmp_path}/c.jpg\n")
    cases = list(Manifest.read(folder / "t.csv").cases())
    assert [case.image for case in cases] == ["../a.jpg", "../b.jpg", f"{tmp_path}/c.jpg"]
    assert [case.path for case in cases] == [str(tmp_path / f"{name}.jpg") for name in "abc"]


def test_quotes_commas_and_line_breaks_inside_a_cell(write):
    path = write('image,note\na.jpg,"one, two\nthree ""four"""\nb.jpg,x\n')
    first, second = Manifest.read(path).cases()
    assert first.extra["note"] == 'one, two\nthree "four"'
    assert second.image == "b.jpg"


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_byte_order_mark_line_ends_blank_rows_and_trailing_separators(write, newline):
    text = newline.join(["image,grade,,", "a.jpg,1,,", "", ",,,", " b.jpg , 2 ,,"])
    cases = list(Manifest.read(write(b"\xef\xbb\xbf" + text.encode())).cases())
    assert [(case.image, case.grade) for case in cases] == [("a.jpg", 1), ("b.jpg", 2)]


def test_tab_separated_by_suffix_in_any_case(write):
    (case,) = Manifest.read(write("image\tnote\na.jpg\tx,y\n", "LABELS.TSV")).cases()
    assert case.extra == {"note": "x,y"}


# what is refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", " is empty; expected a header with the column 'image'"),
        ("\n\n", " is empty; expected a header with the column 'image'"),
        ("image\n", " lists no image; expected one row for each photograph"),
        ("image,grade,grade\na.jpg,1,2\n", ": the column 'grade' appears twice in the header"),
        ("image,,grade\na.jpg,1,2\n", ": column 2 has no name"),
        (
            "image;grade\na.jpg;1\n",
            ": the header is one cell, 'image;grade'; separate .csv files by commas and .tsv files by tabs",
        ),
        ("image,Subject\na.jpg,1\n", ": rename the column 'Subject' to 'subject'; case matters"),
        ("file,age\na.jpg,1\n", ": no column 'image' with the paths of the photographs; found 'file', 'age'"),
        ("image,eye\na.jpg,left\nb.jpg,OU\n", ", row 3: eye 'OU'; expected left or right (L, R, OS, OD), or nothing"),
        ("image,grade\na.jpg,5\n", ", row 2: grade '5'; expected 0, 1, 2, 3 or 4, or nothing"),
        ("image,grade\na.jpg,-1\n", ", row 2: grade '-1'; expected 0, 1, 2, 3 or 4, or nothing"),
        ("image,grade\na.jpg,1.5\n", ", row 2: grade '1.5'; expected 0, 1, 2, 3 or 4, or nothing"),
        (
            "image,visit\na.jpg,31.03.2026\n",
            ", row 2: visit '31.03.2026'; expected months, such as 6, or a date, such as 2026-03-31",
        ),
        (
            "image,visit\na.jpg,2026-02-30\n",
            ", row 2: visit '2026-02-30'; expected months, such as 6, or a date, such as 2026-03-31",
        ),
        ("image,visit\na.jpg,inf\n", ", row 2: visit 'inf'; expected months, such as 6, or a date, such as 2026-03-31"),
        (
            "image,visit\na.jpg,6\nb.jpg,\nc.jpg,2026-03-31\nd.jpg,2026-04-01\n",
            ", row 4: the visit is a date here and a number of months in row 2; use one kind",
        ),
        (
            "image,age\na.jpg,60\nb.jpg,inf\nc.jpg,-Inf\n",
            " has 2 faults:\n  row 3: 'inf' among "
            "the numbers of column 'age'; leave the cell empty where the value is unknown\n  row 4: "
            "'-Inf' among the numbers of column 'age'; leave the cell empty where the value is "
            "unknown",
        ),
        ("image,note\na.jpg,x\nb.jpg,y,z\n", ", row 3: expected 2 cells as in the header, found 3"),
        ("image,note\na.jpg\n", ", row 2: expected 2 cells as in the header, found 1"),
        ('image,note\na.jpg,"x\n', ", line 2: unexpected end of data"),
        ("image,note\n,x\n", ", row 2: the image is empty; every row needs the path of a photograph"),
        ("image\na.jpg\nb.jpg\n./a.jpg\n", ", row 4: the image of row 2 again; list every image once"),
        ("image\na.jpg\0\n", " is not a text table; save it as 'CSV UTF-8'"),
        (b"image,note\na.jpg,M\xfcller\n", ", line 2: not UTF-8; save it as 'CSV UTF-8'"),
        ("image\na.jpg\n".encode("utf-16"), ", line 1: not UTF-8; save it as 'CSV UTF-8'"),
    ],
)
def test_what_is_wrong_is_said_with_its_row(write, text, message):
    assert fault(write(text)) == message


def test_missing_files_are_one_line_with_rows_and_a_count(write, tmp_path):
    text = "image\n" + "".join(f"none{i}.jpg\n" for i in range(9)) + "a.jpg\n"
    assert fault(write(text)) == (
        f", rows 2, 3, 4, 5, 6 and 4 more: the image file is missing ({tmp_path / 'none0.jpg'})"
    )
    assert len(Manifest.read(tmp_path / "labels.csv", check_files=False)) == 10


def test_a_folder_in_place_of_an_image_is_missing(write, tmp_path):
    (tmp_path / "x.jpg").mkdir()
    assert "row 2: the image file is missing" in fault(write("image\nx.jpg\n"))


def test_rows_are_those_of_a_spreadsheet_after_blank_rows_and_line_breaks(write):
    path = write('image,note,eye\na.jpg,"two\nlines",left\n\n,,\nb.jpg,x,up\n')
    assert fault(path).startswith(", row 5: eye 'up'")


def test_one_subject_in_two_splits_is_named_by_rows_and_not_by_name(write):
    text = "image,subject,split\na.jpg,Doe,train\nb.jpg,,test\nc.jpg,Doe,\nd.jpg,Doe,test\n"
    message = fault(write(text))
    assert message == ", row 5: one subject in two splits, 'train' in row 2 and 'test' here"


def test_splits_may_be_numbers(write):
    text = "image,subject,split\na.jpg,x,0\nb.jpg,x,1\n"
    assert fault(write(text)) == ", row 3: one subject in two splits, '0' in row 2 and '1' here"


def test_an_image_listed_by_two_paths_is_listed_twice(write, tmp_path):
    message = fault(write(f"image\na.jpg\n{tmp_path}/a.jpg\n../{tmp_path.name}/a.jpg\n"))
    assert message == ", rows 3, 4: the image of row 2 again; list every image once"


def test_paths_are_absolute_wherever_one_stands(write, tmp_path, monkeypatch):
    write("image\na.jpg\n")
    monkeypatch.chdir(tmp_path)
    (case,) = Manifest.read(Path("labels.csv")).cases()
    assert case.path == str(tmp_path / "a.jpg")


def test_unknown_subjects_may_be_in_any_split(write):
    assert len(Manifest.read(write("image,subject,split\na.jpg,,train\nb.jpg,,test\n"))) == 2


def test_all_faults_are_told_at_once_in_order_of_rows(write):
    path = write("image,eye,grade\nx.jpg,left,1\na.jpg,up,9\na.jpg,down,8\n")
    lines = fault(path).splitlines()
    assert lines[0] == " has 6 faults:"
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "row 2",
        "row 3",
        "row 3",
        "row 4",
        "row 4",
        "and 1 more",
    ]


def test_a_long_wrong_cell_is_shortened(write):
    assert fault(write(f"image,eye\na.jpg,{'x' * 500}\n")) == (
        f", row 2: eye '{'x' * 37}...'; expected left or right (L, R, OS, OD), or nothing"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.csv", ": no such file"),
        ("none.parquet", ": no such file"),
        ("table.xlsx", ": expected a table that ends in .csv, .tsv or .parquet"),
        ("", " is a folder; expected a table, such as "),
    ],
)
def test_a_path_that_is_no_table(tmp_path, name, message):
    assert fault(tmp_path / name).startswith(message)


# DataFrames, folders, writing


def test_a_frame_with_pandas_types(tmp_path):
    frame = pd.DataFrame(
        {
            "image": ["a", "b"],
            "subject": [10003.0, np.nan],
            "grade": [2.0, np.nan],
            "findings": [["H", "D"], None],
            "visit": [datetime.date(2026, 3, 31), pd.NaT],
            "code": ["7", "8"],  # declared as text, so it stays text
            "share": [np.float32(0.5), np.nan],
            "flag": [True, False],
            "cameras": [["Topcon", "Canon"], []],
            "count": pd.array([3, None], dtype="Int64"),
        },
        index=[5, 5],
    )
    manifest = Manifest.from_frame(frame, tmp_path, check_files=False)
    first, second = manifest.cases()
    assert (first.subject, first.grade, first.visit) == ("10003", 2, "2026-03-31")
    assert first.findings == {"D", "H"}
    assert first.extra == {"code": "7", "share": 0.5, "flag": 1, "count": 3} | {"cameras": "Canon;Topcon"}
    assert second.subject is second.grade is second.findings is second.visit is None
    assert second.extra == {"code": "8", "flag": 0, "cameras": ";"}


def test_timestamps_are_dates(tmp_path):
    frame = pd.DataFrame({"image": ["a"], "visit": [pd.Timestamp("2026-03-31")]})
    (case,) = Manifest.from_frame(frame, tmp_path, check_files=False).cases()
    assert case.visit == "2026-03-31"


def test_part_of_a_table_makes_a_manifest_again(write):
    whole = Manifest.read(write("image,subject,grade,n\na.jpg,007,2,1\nb.jpg,8,,\n"))
    part = Manifest.from_frame(whole.table[whole.table["image"] == "b.jpg"], whole.root)
    assert list(part.cases()) == list(whole.cases())[1:]


def test_a_frame_without_images_says_so(tmp_path):
    with pytest.raises(ManifestError, match="table: no column 'image'"):
        Manifest.from_frame(pd.DataFrame({"path": ["a"]}), tmp_path)


def test_rows_of_a_frame_are_counted_as_in_a_spreadsheet(tmp_path):
    frame = pd.DataFrame({"image": ["a", "b"], "eye": ["left", "up"]}, index=[7, 8])
    with pytest.raises(ManifestError, match="table, row 3: eye 'up'"):
        Manifest.from_frame(frame, tmp_path, check_files=False)


def test_a_folder_of_photographs(tmp_path):
    for name in ["b.JPG", "a.png", "sub/c.tiff", ".hidden.jpg", ".git/d.jpg", "notes.txt"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    cases = list(Manifest.from_folder(tmp_path).cases())
    assert [case.image for case in cases] == ["a.png", "b.JPG", "sub/c.tiff"]
    assert len({case.identity for case in cases}) == 3


def test_a_folder_without_photographs(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ManifestError, match=r"holds no photograph; looked for JPEG, PNG"):
        Manifest.from_folder(tmp_path)
    with pytest.raises(ManifestError, match="is not a folder"):
        Manifest.from_folder(tmp_path / "notes.txt")


FULL = (
    "image,subject,eye,visit,grade,findings,age,code,note\n"
    'a.jpg,007,left,6,2,H;D,61.5,01,"x, ""y"""\n'
    "b.jpg,10003,,,,;,,,\n"
    "c.jpg,,right,0,0,,60,02,z\n"
)


@pytest.mark.parametrize("name", ["again.csv", "again.tsv", "again.parquet"])
def test_writing_and_reading_again_changes_nothing(write, tmp_path, name):
    first = Manifest.read(write(FULL))
    first.write(tmp_path / name)
    second = Manifest.read(tmp_path / name)
    assert list(second.cases()) == list(first.cases())
    pd.testing.assert_frame_equal(second.table, first.table)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_writing_elsewhere_leads_to_the_same_files(write, tmp_path):
    first = Manifest.read(write(FULL))
    (tmp_path / "lists" / "deep").mkdir(parents=True)
    first.write(tmp_path / "lists" / "deep" / "t.csv")
    second = Manifest.read(tmp_path / "lists" / "deep" / "t.csv")
    assert second.table["image"].tolist() == ["../../a.jpg", "../../b.jpg", "../../c.jpg"]
    assert [case.path for case in second.cases()] == [case.path for case in first.cases()]
    assert first.table["image"].tolist() == ["a.jpg", "b.jpg", "c.jpg"]


def test_writing_where_one_cannot(write, tmp_path):
    manifest = Manifest.read(write(FULL))
    with pytest.raises(ManifestError, match="can't be written: No such file"):
        manifest.write(tmp_path / "none" / "t.csv")
    with pytest.raises(ManifestError, match="a manifest ends in"):
        manifest.write(tmp_path / "t.xlsx")


def test_parquet_without_pyarrow_says_what_to_install(write, tmp_path, monkeypatch):
    manifest = Manifest.read(write(FULL))
    (tmp_path / "t.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'foveola\[parquet\]'"):
        Manifest.read(tmp_path / "t.parquet")
    with pytest.raises(MissingExtraError, match=r"pip install 'foveola\[parquet\]'"):
        manifest.write(tmp_path / "u.parquet")


def test_a_damaged_parquet_file(tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(ManifestError, match="is not a Parquet file that can be read"):
        Manifest.read(tmp_path / "t.parquet")


plain = st.text(st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


@given(st.lists(st.tuples(plain, plain), min_size=1, max_size=5))
def test_any_text_survives_being_written(tmp_path_factory, rows):
    root = tmp_path_factory.mktemp("any")
    frame = pd.DataFrame(
        {
            "image": [f"{i}.jpg" for i in range(len(rows))],
            "subject": [f"s{subject}" for subject, _ in rows],  # "s": no date or rounded number
            "note": [f"n{note}" for _, note in rows],  # "n": text, also where note is a number
        }
    )
    first = Manifest.from_frame(frame, root, check_files=False)
    first.write(root / "t.csv")
    second = Manifest.read(root / "t.csv", check_files=False)
    assert list(second.cases()) == list(first.cases())
    assert [case.subject for case in first.cases()] == [identifier(f"s{s}") for s, _ in rows]


def test_five_thousand_cases_take_no_time(tmp_path):
    n = 5000
    frame = pd.DataFrame({"image": [f"{i}.jpg" for i in range(n)], "grade": 2, "findings": "D;H"})
    for name in "vwxyz":
        frame[name] = np.arange(n) / 7
    manifest = Manifest.from_frame(frame, tmp_path, check_files=False)
    start = time.process_time()
    cases = list(manifest.cases())
    assert time.process_time() - start < 0.3
    assert len(cases) == len(manifest) == n


@pytest.mark.parametrize(
    ("name", "images", "subjects"),
    [("odir", 4271, 2237), ("idrid", 391, 391), ("eyepacs", 706, 353), ("srahim", 398, 198)],
)
def test_the_shared_manifests_are_read(shared_data, name, images, subjects):
    manifest = Manifest.read(shared_data / name / "labels.csv")
    cases = list(manifest.cases())
    assert (len(cases), len({case.identity for case in cases})) == (images, subjects)
    assert {case.grade for case in cases} >= {0, 1, 2, 3, 4}

"""What a table says of persons and labels: a hole is unknown, damage is told with its row."""

import datetime

import numpy as np
import pandas as pd
import pytest

from commands import foveola
from foveola.archive import Archive
from foveola.datasets.adapters import read_dataset
from foveola.datasets.manifest import COLUMNS, Manifest
from foveola.errors import ManifestError
from foveola.indexing import add_missing
from foveola.records import RESERVED

MARKERS = ("", " ", "nan", "NaN", "NA", "N/A", "None", "null", "NULL", "<NA>", "NaT", "n/a", "none")
FIELDS = ("subject", "eye", "visit", "grade", "findings", "split", "group", "camera", "age")
KNOWN = {
    "subject": "s1",
    "eye": "left",
    "visit": "6",
    "grade": "2",
    "findings": "N",
    "split": "train",
    "group": "g",
    "camera": "Topcon",
    "age": "61",
}


def by_csv(folder, table):
    pd.DataFrame(table).to_csv(folder / "t.csv", index=False)
    return Manifest.read(folder / "t.csv", check_files=False)


def by_frame(folder, table):
    return Manifest.from_frame(pd.DataFrame(table, dtype=object), folder, check_files=False)


def by_adapter(folder, table):
    """As the columns of a set of the library of Hugging Face, whose own columns have any name."""
    datasets = pytest.importorskip("datasets")
    for name in table["image"]:
        (folder / name).write_bytes(name.encode())
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict(table).save_to_disk(str(folder / "set"))
    for name in table["image"]:
        (folder / name).rename(folder / "set" / name)
    return read_dataset("huggingface", folder / "set").manifest


def by_parquet(folder, table):
    pytest.importorskip("pyarrow")
    pd.DataFrame(table).to_parquet(folder / "t.parquet")
    return Manifest.read(folder / "t.parquet", check_files=False)


doors = pytest.mark.parametrize("door", [by_csv, by_frame, by_adapter])
tables = pytest.mark.parametrize("door", [by_csv, by_frame])  # an adapter's go the same way


def told(case, name):
    return case.extra.get(name) if name not in COLUMNS else getattr(case, name)


@pytest.mark.parametrize("door", [by_csv, by_frame, by_adapter, by_parquet])
@pytest.mark.parametrize("name", FIELDS)
def test_what_stands_for_unknown_is_no_person_and_no_label(door, name, tmp_path):
    cells = [*MARKERS, KNOWN[name], *MARKERS]
    images = [f"{n}.png" for n in range(len(cells))]
    *before, case = list(door(tmp_path, {"image": images, name: cells}).cases())[: len(MARKERS) + 1]
    assert [told(one, name) for one in before] == [None] * len(MARKERS)
    assert len({one.identity for one in before}) == len(MARKERS)
    expected = {"visit": 6.0, "grade": 2, "findings": {"N"}}.get(name, KNOWN[name])
    if name == "age" and door not in (by_frame, by_parquet):  # whose texts stay texts
        expected = 61
    assert told(case, name) == expected


@pytest.mark.parametrize(
    ("cell", "found"),
    [("N", {"N"}), ("N;NA", {"N"}), ("nan;None", None), (";", frozenset()), ("D; nan ;", {"D"}), ("NAION", {"NAION"})],
)
def test_of_a_set_what_is_known_counts(cell, found, tmp_path):
    (case,) = by_frame(tmp_path, {"image": ["a.png"], "findings": [cell]}).cases()
    assert case.findings == found


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT, float("nan")])
def test_a_frame_s_own_holes_are_unknown(missing, tmp_path):
    table = {"image": ["a.png"]} | {name: [missing] for name in FIELDS}
    (case,) = by_frame(tmp_path, table).cases()
    assert [told(case, name) for name in FIELDS] == [None] * len(FIELDS)


@doors
@pytest.mark.parametrize(
    ("cells", "subjects"),
    [
        (["10003.0", "10004.0", "nan"], ["10003", "10004", None]),
        (["10003.0", "10003", ""], ["10003", "10003", None]),
        (["0.0", "12.00", "7"], ["0", "12", "7"]),
        (["007", "7", "1e3"], ["007", "7", "1e3"]),  # a code is left as it is
        (["2-1", "A.0", "1.5"], ["2-1", "A.0", "1.5"]),
        (["Oct-0012", "OCT-12", "MAR-01"], ["Oct-0012", "OCT-12", "MAR-01"]),
        (["1.12.204", "E+11", "12E05"], ["1.12.204", "E+11", "12E05"]),
    ],
)
def test_a_whole_number_is_one_subject_however_it_is_written(door, cells, subjects, tmp_path):
    images = [f"{n}.png" for n in range(len(cells))]
    cases = door(tmp_path, {"image": images, "subject": cells}).cases()
    assert [case.subject for case in cases] == subjects


def test_a_number_of_a_frame_is_the_text_of_a_table(tmp_path):
    frame = pd.DataFrame({"image": ["a.png", "b.png"], "subject": [10003, None]})
    assert frame["subject"].dtype == "float64"
    first, second = Manifest.from_frame(frame, tmp_path, check_files=False).cases()
    assert (first.subject, second.subject) == ("10003", None)


@tables
@pytest.mark.parametrize("name", ["subject", "group"])
@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("1.23457E+11", "rounded number"),
        ("1,23457E+11", "rounded number"),
        ("1E+05", "rounded number"),
        ("1.23e-05", "rounded number"),
        ("10003.0", "ends in .0"),
        ("1234567890123456.0", "more than 15 digits"),
        ("2-Jan", "is a date"),
        ("02. Mrz", "is a date"),
        ("Mar-12", "is a date"),
        ("1-Feb-2026", "is a date"),
        ("2026-03-31", "is a date"),
        ("2026-03-31 00:00:00", "is a date"),
        ("3/31/2026", "is a date"),
        ("31.03.2026", "is a date"),
        ("#REF!", "is an error of a spreadsheet"),
        ("#N/A", "is an error of a spreadsheet"),
        ("#####", "is an error of a spreadsheet"),
        ("#NAME?", "is an error of a spreadsheet"),
    ],
)
def test_damage_of_a_spreadsheet_is_told_with_its_row(door, name, cell, said, tmp_path):
    table = {"image": ["a.png", "b.png", "c.png"], name: ["A17", cell, cell]}
    with pytest.raises(ManifestError) as error:
        door(tmp_path, table)
    text = str(error.value)
    assert "rows 3, 4: " in text
    assert said in text
    if said != "is an error of a spreadsheet":
        assert cell not in text.replace("like 1.23457E+11", "").replace("like 2-Jan", "")


@tables
@pytest.mark.parametrize("name", ["split", "findings", "camera", "eye", "visit", "grade", "age"])
def test_an_error_of_a_spreadsheet_is_no_value_of_any_column(door, name, tmp_path):
    with pytest.raises(ManifestError, match=r"row 3: '#REF!' in the column '\w+' is an error"):
        door(tmp_path, {"image": ["a.png", "b.png"], name: [KNOWN[name], "#REF!"]})


def test_damage_in_a_data_set_is_told(tmp_path):
    with pytest.raises(ManifestError, match="row 2: the subject is a rounded number"):
        by_adapter(tmp_path, {"image": ["a.png"], "subject": ["1.23457E+11"]})


@pytest.mark.parametrize("value", [datetime.date(2026, 1, 2), pd.Timestamp("2026-01-02"), 1e18])
def test_a_frame_s_date_or_rounded_number_is_no_subject(value, tmp_path):
    with pytest.raises(ManifestError, match="row 2: the subject is a"):
        by_frame(tmp_path, {"image": ["a.png"], "subject": [value]})


# --- names that are taken ---


@doors
@pytest.mark.parametrize("name", [*sorted(set(RESERVED) - set(COLUMNS)), "Path", "COLLECTION"])
def test_a_column_called_like_a_field_of_a_case_is_refused(door, name, tmp_path):
    with pytest.raises(ManifestError, match=rf"rename the column '{name}'"):
        door(tmp_path, {"image": ["a.png"], name: ["x"]})


@tables
@pytest.mark.parametrize(
    "name",
    [
        "id",
        "case",
        "score",
        "rank",
        "similarity",
        "extra",
        "identity",
        "looked",
        "digest",
        "case_id",
        "name",
        "query",
        "label",
        "order",
    ],
)
def test_a_column_of_any_other_name_is_used(door, name, tmp_path):
    (case,) = door(tmp_path, {"image": ["a.png"], name: ["x"]}).cases()
    assert dict(case.extra) == {name: "x"}


def test_such_a_column_can_be_asked_for(phantoms, tmp_path):
    table = Manifest.read(phantoms).table.iloc[:2].assign(id=["x", "y"], score=[1, 2], extra="z")
    root = phantoms.parent
    cases = list(Manifest.from_frame(table, root).cases())
    add_missing(tmp_path / "A", cases)
    with Archive.open(tmp_path / "A", read_only=True) as archive:
        for where in ("id = 'y'", "score > 1", "extra = 'z' and id = 'x'"):
            assert archive.page(where)[1] == 1, where
    taken = table.assign(path="elsewhere").rename(columns={"camera": "Camera"})
    taken["image"] = [case.path for case in cases]
    taken.to_csv(tmp_path / "t.csv", index=False)
    said = foveola("index", tmp_path / "B", tmp_path / "t.csv", code=1).stderr
    assert "rename the column 'path'" in said
    assert not (tmp_path / "B").exists()

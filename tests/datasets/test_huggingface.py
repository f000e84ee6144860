"""Data sets of the library Hugging Face datasets, saved small and made up."""

import io
import json
import logging
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet
import pytest
from PIL import Image

from foveola.datasets.adapters import adapt, read_dataset
from foveola.datasets.manifest import Manifest
from foveola.errors import ManifestError, MissingExtraError


@pytest.fixture
def hf():
    """The library; tests that ask for it skip where it is absent."""
    library = pytest.importorskip("datasets", reason="datasets is not installed: pip install 'foveola[huggingface]'")
    library.disable_progress_bars()
    return library


def photo(value: int, kind: str = "PNG") -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (8, 8), (value, value, 200)).save(data, kind)
    return data.getvalue()


def stereo() -> bytes:
    """Two JPEGs in one file, as some cameras write them."""
    data = io.BytesIO()
    left, right = (Image.new("RGB", (8, 8), (value, 9, 9)) for value in (1, 2))
    left.save(data, "MPO", save_all=True, append_images=[right])
    return data.getvalue()


def embedded(*values: int, kind: str = "PNG") -> list[dict]:
    return [{"bytes": photo(value, kind), "path": None} for value in values]


@pytest.fixture
def make(hf):
    """A Dataset of these columns and features; a column of texts needs no feature."""

    def _make(columns, **features):
        kinds = {name: features.get(name, hf.Value("string")) for name in columns}
        return hf.Dataset.from_dict(columns, features=hf.Features(kinds))

    return _make


@pytest.fixture
def simple(hf, make):
    """Three embedded photographs with the five grades as classes, the last unlabelled."""
    return make(
        {"image": embedded(1, 2, 3), "label": [4, 0, -1]},
        image=hf.Image(),
        label=hf.ClassLabel(names=["0", "1", "2", "3", "4"]),
    )


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_embedded_photographs_are_written_byte_by_byte_beside_the_manifest(simple, tmp_path, told):
    simple.save_to_disk(tmp_path / "set")
    (tmp_path / "out").mkdir()
    manifest = Manifest.read(adapt("huggingface", tmp_path / "set", tmp_path / "out"))
    grades = list(told(manifest, "grade", "findings", "split").items())
    assert [fields for _, fields in grades] == [(4, None, None), (0, None, None), (None,) * 3]
    assert [(tmp_path / "out" / name).read_bytes() for name, _ in grades] == [photo(1), photo(2), photo(3)]
    assert "label" not in manifest.table
    assert all(name.startswith(f"images/rows-{i}-") for i, (name, _) in enumerate(grades))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["images", "manifest.csv"]
    assert not (tmp_path / "set" / "images").exists()


def test_every_column_by_its_name_or_as_the_user_names_it(hf, make, tmp_path, told):
    make(
        {
            "photo": embedded(1, 2),
            "mask": embedded(8, 9),
            "patient": ["007", "007"],
            "Subject": ["a", "b"],
            "Eye": [1, 0],
            "label": [2, 0],
            "signs": [[1, 0, -1], []],
            "age": [61, None],
            "sex": ["f", "f"],
            "thumbnail": [b"x", b"y"],
            "box": [[[1.0]], [[2.0]]],
        },
        photo=hf.Image(),
        mask=hf.Image(),
        Eye=hf.ClassLabel(names=["left", "right"]),
        label=hf.ClassLabel(names=["few", "some", "many"]),
        signs=hf.Sequence(hf.ClassLabel(names=["drusen", "bleeding"])),
        age=hf.Value("int32"),
        thumbnail=hf.Value("binary"),
        box=hf.Sequence(hf.Sequence(hf.Value("float32"))),
    ).save_to_disk(tmp_path)
    columns = {"image": "photo", "subject": "patient", "findings": "signs"}
    manifest = read_dataset("huggingface", tmp_path, columns=columns).manifest
    names = ("subject", "eye", "grade", "findings", "label", "age", "sex")
    assert list(told(manifest, *names).values()) == [
        ("007", "right", None, {"drusen", "bleeding"}, "many", 61, "f"),
        ("007", "left", None, frozenset(), "few", None, "f"),
    ]
    assert set(manifest.table) == {"image", "visit", *names}


@pytest.mark.parametrize(
    ("names", "number", "label"),
    [
        (["Mild", "No DR", "Severe"], 1, (None, {"No DR"})),  # sorted by letter, not by grade
        (["0", "1"], 1, (None, {"1"})),  # yes and no
        (["0", "2"], 1, (2, None)),  # the class's name counts, not its number
    ],
)
def test_a_class_is_a_grade_only_where_its_name_is(hf, make, tmp_path, told, names, number, label):
    make({"image": embedded(1), "label": [number]}, image=hf.Image(), label=hf.ClassLabel(names=names)).save_to_disk(
        tmp_path
    )
    manifest = read_dataset("huggingface", tmp_path).manifest
    assert list(told(manifest, "grade", "findings").values()) == [label]


def test_names_of_classes_are_never_taken_for_grades_by_force(hf, make, tmp_path):
    make(
        {"image": embedded(1), "label": [0]}, image=hf.Image(), label=hf.ClassLabel(names=["Mild", "No DR"])
    ).save_to_disk(tmp_path)
    with pytest.raises(ManifestError, match="row 2: grade 'Mild'; expected 0, 1, 2, 3 or 4"):
        read_dataset("huggingface", tmp_path, columns={"grade": "label"})


def test_a_saved_dict_has_splits(hf, simple, tmp_path, told):
    hf.DatasetDict(
        {"train": simple.select([2, 0]), "validation": simple.select([1]), "extra": simple.select([0])}
    ).save_to_disk(tmp_path / "set")
    adapted = read_dataset("huggingface", tmp_path)
    told_of = told(adapted.manifest, "split", "grade")
    fields = [(name.split("-")[0], *fields) for name, fields in told_of.items()]
    assert sorted(fields, key=str) == [
        ("images/extra", "extra", 4),
        ("images/train", "train", 4),
        ("images/train", "train", None),
        ("images/validation", "val", 0),
    ]
    assert [name.split("-")[0] for name in adapted.duplicates] == ["images/train"]


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_files_of_one_split_are_counted_through(hf, simple, tmp_path, told, kind):
    (tmp_path / "data").mkdir()
    for part, rows in (("train-00000-of-00002", [0, 1]), ("train-00001-of-00002", [2])):
        path = tmp_path / "data" / f"{part}.{kind}"
        piece = simple.select(rows)
        if kind == "parquet":
            piece.to_parquet(path)
        else:
            piece.save_to_disk(tmp_path / part)
            (tmp_path / part / "data-00000-of-00001.arrow").rename(path)
            (tmp_path / part / "state.json").unlink()
    (tmp_path / "data" / "cache-0123.arrow").write_bytes(b"scratch")
    manifest = read_dataset("huggingface", tmp_path).manifest
    assert [(name[: len("images/train-0")], *fields) for name, fields in told(manifest, "split", "grade").items()] == [
        ("images/train-0", "train", 4),
        ("images/train-1", "train", 0),
        ("images/train-2", "train", None),
    ]


def test_the_last_word_on_a_path_is_the_split_unless_a_column_says_it(hf, make, tmp_path, told):
    for name in ("old-test/validation-0.parquet", "old-test/all.parquet", "latest-trainees/a.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        make({"image": embedded(len(name))}, image=hf.Image()).to_parquet(tmp_path / name)
    manifest = read_dataset("huggingface", tmp_path).manifest
    assert sorted(told(manifest, "split").values(), key=str) == [("test",), ("val",), (None,)]
    said = make({"image": embedded(0), "split": ["fold 3"]}, image=hf.Image())
    (tmp_path / "said").mkdir()
    said.to_parquet(tmp_path / "said" / "train.parquet")
    manifest = read_dataset("huggingface", tmp_path / "said").manifest
    assert list(told(manifest, "split").values()) == [("fold 3",)]


def test_parquet_that_the_library_did_not_write(hf, tmp_path, told):
    table = pyarrow.table({"image": [{"bytes": photo(1, "JPEG"), "path": "scans/10_left.jpeg"}], "label": [3]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    manifest = read_dataset("huggingface", tmp_path).manifest
    ((name, fields),) = told(manifest, "label", "grade", "original_name", "split").items()
    assert name.endswith(".jpg")
    assert fields == (3, None, "10_left.jpeg", None)  # nothing says that the number is a grade


def test_our_own_manifest_is_not_read_as_data(simple, tmp_path):
    simple.to_parquet(tmp_path / "a.parquet")
    for _ in range(2):
        path = adapt("huggingface", tmp_path, tmp_path / "manifest.parquet")
        assert len(Manifest.read(path)) == 3


@pytest.fixture
def bare(hf, tmp_path):
    """Write rows as the library's map() and from_dict() cache them: nothing checked or embedded."""

    def _bare(images, **columns):
        kinds = hf.Features({"image": hf.Image(), **{k: f for k, (f, _) in columns.items()}})
        arrays = [pyarrow.array(images, kinds["image"].pa_type)]
        arrays += [pyarrow.array(values) for _, values in columns.values()]
        table = pyarrow.table(arrays, schema=kinds.arrow_schema)
        pyarrow.parquet.write_table(table, tmp_path / "a.parquet")

    return _bare


def test_photographs_given_by_their_path_stay_where_they_are(bare, tmp_path, told):
    (tmp_path / "in").mkdir()
    outside = tmp_path.parent / f"{tmp_path.name}.png"
    for value, path in enumerate((tmp_path / "in" / "a.png", tmp_path / "in" / "b.png", outside)):
        path.write_bytes(photo(value))
    paths = (str(tmp_path / "in" / "a.png"), "in/b.png", str(outside))
    bare([{"bytes": None, "path": path} for path in paths])
    manifest = read_dataset("huggingface", tmp_path).manifest
    assert list(told(manifest)) == ["in/a.png", "in/b.png", str(outside)]
    assert not (tmp_path / "images").exists()


def test_the_head_of_the_file_gives_the_suffix(hf, make, tmp_path, told):
    kinds = ("JPEG", "PNG", "TIFF", "WEBP", "BMP")
    images = [{"bytes": photo(i, kind), "path": "a.dat"} for i, kind in enumerate(kinds)]
    images.append({"bytes": stereo(), "path": "a.dat"})
    make({"image": images}, image=hf.Image()).save_to_disk(tmp_path)
    names = told(read_dataset("huggingface", tmp_path).manifest)
    found = [Path(name).suffix for name in names]
    assert found == [".jpg", ".png", ".tif", ".webp", ".bmp", ".jpg"]


BAD = (
    {"bytes": b"no photograph", "path": None},
    {"bytes": b"", "path": "empty.png"},
    {"bytes": None, "path": "gone.png"},
    {"bytes": None, "path": "https://example.org/a.png"},
    {"bytes": photo(9, "GIF"), "path": None},
    None,
)


def test_each_row_without_a_photograph_gets_a_sentence(bare, tmp_path, caplog):
    bare([*embedded(1), *BAD])
    message = r"6 of 7 listed photographs are missing, rows\[1\] first; fetch them or skip"
    with pytest.raises(ManifestError, match=message):
        read_dataset("huggingface", tmp_path)
    assert caplog.messages == [
        "rows[1]: the bytes are no JPEG, PNG, TIFF, WebP or BMP",
        "rows[2]: the bytes are no JPEG, PNG, TIFF, WebP or BMP",
        f"rows[3]: the image file is missing ({tmp_path / 'gone.png'})",
        "rows[4]: the image is at an address, and nothing is fetched",
        "rows[5]: the bytes are no JPEG, PNG, TIFF, WebP or BMP",
        "rows[6]: no image",
    ]
    with caplog.at_level(logging.WARNING):
        assert len(Manifest.read(adapt("huggingface", tmp_path, missing="skip"))) == 1
    assert caplog.messages[-1] == "6 listed photographs are missing and left out"


def test_many_unusable_rows_are_counted(hf, make, tmp_path, caplog):
    make({"image": [None] * 22}, image=hf.Image()).save_to_disk(tmp_path)
    with pytest.raises(ManifestError, match="none of the listed"):
        read_dataset("huggingface", tmp_path, missing="skip")
    assert len(caplog.messages) == 21
    assert caplog.messages[-1] == "and 2 more"


def test_each_label_out_of_range_gets_a_sentence(hf, bare, tmp_path):
    # the library itself refuses to save such labels; other programs don't
    bare(embedded(*range(6)), label=(hf.ClassLabel(names=["a", "b"]), [0, 7, -2, -1, None, 2]))
    with pytest.raises(ManifestError) as caught:
        read_dataset("huggingface", tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} has wrong labels:\n"
        "  rows[1]: label 7; expected a class from 0 to 1, or -1\n"
        "  rows[2]: label -2; expected a class from 0 to 1, or -1\n"
        "  rows[5]: label 2; expected a class from 0 to 1, or -1"
    )


def test_a_run_that_broke_off_leaves_no_half_file_and_goes_on(simple, tmp_path, monkeypatch):
    simple.save_to_disk(tmp_path / "set")
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    adapt("huggingface", tmp_path / "set", tmp_path / "whole")
    rename, renamed = Path.replace, []

    def full_disk(path, target):
        renamed.append(target)
        if len(renamed) == 2:
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(OSError, match="No space left"):
        adapt("huggingface", tmp_path / "set", tmp_path / "broken")
    monkeypatch.undo()
    (first,) = (tmp_path / "broken" / "images").iterdir()
    assert first.read_bytes() == photo(1)
    assert [path.name for path in (tmp_path / "broken").iterdir()] == ["images"]
    first.write_bytes(b"cut")  # as if the machine had lost power
    adapt("huggingface", tmp_path / "set", tmp_path / "broken")
    for part in ("", "images"):
        there = [p for p in (tmp_path / "whole" / part).iterdir() if p.is_file()]
        again = [p for p in (tmp_path / "broken" / part).iterdir() if p.is_file()]
        assert {p.name: p.read_bytes() for p in again} == {p.name: p.read_bytes() for p in there}


def test_another_run_writes_no_photograph_again(simple, tmp_path):
    simple.save_to_disk(tmp_path)
    adapt("huggingface", tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "images").iterdir()}
    adapt("huggingface", tmp_path)
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "images").iterdir()}
    assert len(before) == 3
    assert after == before


def test_a_changed_data_set_leaves_the_photographs_of_the_old_manifest(simple, tmp_path):
    simple.save_to_disk(tmp_path / "one")
    simple.select([2, 1]).save_to_disk(tmp_path / "two")
    old = Manifest.read(adapt("huggingface", tmp_path / "one", tmp_path / "old.csv"))
    adapt("huggingface", tmp_path / "two", tmp_path / "new.csv")
    assert [Path(case.path).read_bytes() for case in old.cases()] == [photo(1), photo(2), photo(3)]
    assert len(files(tmp_path / "images")) == 4  # the second row is the same in both


def test_a_folder_for_the_manifest_is_asked_for_before_photographs_are_written(simple, tmp_path):
    simple.save_to_disk(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ManifestError, match="is not a folder; make it first"):
        adapt("huggingface", tmp_path, tmp_path / "none" / "manifest.csv")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"subject": "patient"}, "no column 'patient' for subject; found image, twin, label"),
        ({"image": "label"}, "column 'label' for image holds no photographs"),
        ({"eye": "twin"}, "column 'twin' for eye holds no plain values"),
    ],
)
def test_a_column_that_is_not_there_or_of_another_kind(hf, make, tmp_path, columns, message):
    make(
        {"image": embedded(1), "twin": embedded(2), "label": [1]},
        image=hf.Image(),
        twin=hf.Image(),
        label=hf.Value("int64"),
    ).save_to_disk(tmp_path)
    with pytest.raises(ManifestError, match=message):
        read_dataset("huggingface", tmp_path, columns=columns)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (("a", "b"), "2 columns of photographs; name it, such as image=a; found a, b, k"),
        ((), "no column of photographs; name it, such as image=k; found k"),
    ],
)
def test_the_photographs_are_not_guessed_between_columns(hf, make, tmp_path, images, message):
    columns = {name: embedded(i) for i, name in enumerate(images)} | {"k": ["1"]}
    make(columns, **dict.fromkeys(images, hf.Image())).save_to_disk(tmp_path)
    with pytest.raises(ManifestError, match=message):
        read_dataset("huggingface", tmp_path)


def test_a_split_may_lack_a_column_that_the_user_names(hf, make, tmp_path, told):
    train = make({"image": embedded(1), "who": ["1"]}, image=hf.Image())
    test = make({"image": embedded(2)}, image=hf.Image())
    train.to_parquet(tmp_path / "train.parquet")
    test.to_parquet(tmp_path / "test.parquet")
    manifest = read_dataset("huggingface", tmp_path, columns={"subject": "who"}).manifest
    assert sorted(told(manifest, "split", "subject").values()) == [("test", None), ("train", "1")]


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "state.json"])
def test_a_damaged_file_is_one_sentence(hf, tmp_path, name):
    (tmp_path / name).write_bytes(b"{} no such file")
    with pytest.raises(ManifestError, match="can't be read by the library datasets: "):
        read_dataset("huggingface", tmp_path)


def test_the_library_is_asked_for_by_the_name_of_its_extra(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").touch()
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'foveola\[huggingface\]'"):
        read_dataset("huggingface", tmp_path)


def test_other_data_sets_know_their_columns(tmp_path):
    with pytest.raises(ManifestError, match=r"columns of aptos are known; .* huggingface only"):
        read_dataset("aptos", tmp_path, columns={"grade": "diagnosis"})


def foveola(*arguments):
    command = [sys.executable, "-m", "foveola", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_the_command_takes_columns(hf, make, tmp_path):
    make({"image": [*embedded(1), None], "patient": ["7", "8"]}, image=hf.Image()).save_to_disk(tmp_path)
    done = foveola("adapt", "huggingface", tmp_path, "--column", "subject=patient", "--skip-missing", "--json")
    assert done.stderr.splitlines() == ["rows[1]: no image", "1 listed photographs are missing and left out"]
    (case,) = Manifest.read(Path(json.loads(done.stdout)["manifest"])).cases()
    assert case.subject == "7"


@pytest.mark.parametrize("columns", [["subject"], ["=a"], ["a="], ["a=b", "a=c"]])
def test_the_command_refuses_what_names_no_column(tmp_path, columns):
    from click.testing import CliRunner

    from foveola.cli import main

    options = [part for value in columns for part in ("--column", value)]
    done = CliRunner().invoke(main, ["adapt", "huggingface", str(tmp_path), *options])
    assert done.exit_code == 2
    assert "expected once such as subject=patient_id" in done.output

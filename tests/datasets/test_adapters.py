"""Each official layout, made up in small: names and headers as published, images invented."""

import logging
import sys
from pathlib import Path

import pytest

from foveola.datasets.adapters import ADAPTERS, adapt, read_dataset
from foveola.datasets.adapters.base import Layout, find_duplicates
from foveola.datasets.adapters.findings import odir_label
from foveola.datasets.manifest import Manifest
from foveola.errors import ManifestError, MissingExtraError


@pytest.fixture
def aptos(photograph, text):
    photograph("train_images/000c1434d8d7.png", "train_images/001639a390f0.png")
    photograph("test_images/0005cfc8afb6.png")
    text("train.csv", "id_code,diagnosis\n000c1434d8d7,2\n001639a390f0,4\n")


def test_aptos(aptos, tmp_path, told):
    assert told(read_dataset("aptos", tmp_path).manifest, "subject", "eye", "grade") == {
        "train_images/000c1434d8d7.png": (None, None, 2),
        "train_images/001639a390f0.png": (None, None, 4),
    }


def test_eyepacs(photograph, text, tmp_path, told):
    photograph("train/10_left.jpeg", "train/10_right.jpeg", "test/1_left.jpeg")
    text("trainLabels.csv", "image,level\n10_left,0\n10_right,4\n")
    manifest = read_dataset("eyepacs", tmp_path).manifest
    assert told(manifest, "subject", "eye", "grade", "split") == {
        "train/10_left.jpeg": ("10", "left", 0, "train"),
        "train/10_right.jpeg": ("10", "right", 4, "train"),
    }
    text("retinopathy_solution.csv", "image,level,Usage\n1_left,2,Private\n")
    manifest = read_dataset("eyepacs", tmp_path).manifest
    fields = told(manifest, "subject", "eye", "grade", "split", "usage")
    assert fields["test/1_left.jpeg"] == ("1", "left", 2, "test", "Private")


def test_eyepacs_refuses_a_name_without_an_eye(photograph, text, tmp_path):
    photograph("train/10.jpeg")
    text("trainLabels.csv", "image,level\n10,0\n")
    with pytest.raises(ManifestError, match="image '10' in the labels; expected a name such as"):
        read_dataset("eyepacs", tmp_path)


IDRID = "B. Disease Grading"


def test_idrid_with_its_trailing_columns_and_its_two_images_001(photograph, text, tmp_path, told):
    images = f"{IDRID}/1. Original Images"
    sheets = f"{IDRID}/2. Groundtruths"
    photograph(f"{images}/a. Training Set/IDRiD_001.jpg", f"{images}/b. Testing Set/IDRiD_001.jpg")
    header = "Image name,Retinopathy grade,Risk of macular edema ,,,\r\n"
    text(f"{sheets}/a. IDRiD_Disease Grading_Training Labels.csv", f"{header}IDRiD_001,3,2,,,\r\n")
    text(f"{sheets}/b. IDRiD_Disease Grading_Testing Labels.csv", f"{header}IDRiD_001,4,0,,,\r\n")
    assert told(read_dataset("idrid", tmp_path).manifest, "subject", "grade", "dme", "split") == {
        f"{images}/a. Training Set/IDRiD_001.jpg": (None, 3, 2, "train"),
        f"{images}/b. Testing Set/IDRiD_001.jpg": (None, 4, 0, "test"),
    }


@pytest.mark.parametrize("pairs", ["left;right\n{}\n", "{}\n", "left,right\n{}\n"])
def test_messidor2_with_pairs(photograph, text, tmp_path, pairs, told):
    photograph("IMAGES/20051020_43808_0100_PP.png", "IMAGES/20051020_43832_0100_PP.png")
    photograph("IMAGES/IM000002.JPG")
    text(
        "messidor_data.csv",
        "image_id,adjudicated_dr_grade,adjudicated_dme,adjudicated_gradable\n"
        "20051020_43808_0100_PP.png,0,0,1\n20051020_43832_0100_PP.png,2,1,1\n"
        "IM000002.jpg,3,1,0\n",
    )
    pair = "20051020_43808_0100_PP.png;20051020_43832_0100_PP.png"
    text("messidor-2.csv", pairs.format(pair.replace(";", "," if "," in pairs else ";")))
    found = told(read_dataset("messidor2", tmp_path).manifest, "subject", "eye", "grade", "dme", "gradable")
    assert found == {
        "IMAGES/20051020_43808_0100_PP.png": ("exam0001", "left", 0, 0, 1),
        "IMAGES/20051020_43832_0100_PP.png": ("exam0001", "right", 2, 1, 1),
        "IMAGES/IM000002.JPG": (None, None, None, None, 0),
    }


def test_messidor2_without_pairs_knows_no_subject(photograph, text, tmp_path, told):
    photograph("IMAGES/a.png")
    text("messidor_data.csv", "image_id,adjudicated_dr_grade,adjudicated_dme,adjudicated_gradable\na.png,1.0,0.0,1.0\n")
    manifest = read_dataset("messidor2", tmp_path).manifest
    assert told(manifest, "subject", "grade") == {"IMAGES/a.png": (None, 1)}


def test_deepdrid(photograph, text, tmp_path, sheet, told):
    root = "regular_fundus_images"
    train, val = f"{root}/regular-fundus-training", f"{root}/regular-fundus-validation"
    test = f"{root}/Online-Challenge1&2-Evaluation"
    photograph(f"{train}/Images/1/1_l1.jpg", f"{train}/Images/1/1_r1.jpg")
    photograph(f"{train}/Images/56/56_r3.jpg", f"{val}/Images/265/265_r1.jpg")
    photograph(f"{test}/Images/347/347_l1.jpg")
    header = (
        "patient_id,image_id,image_path,Overall quality,left_eye_DR_Level,right_eye_DR_Level,"
        "patient_DR_Level,Clarity,Field definition,Artifact\n"
    )
    text(
        f"{train}/regular-fundus-training.csv",
        header
        + "1,1_l1,\\regular-fundus-training\\1\\1_l1.jpg,0,0,,2,8,6,4\n"
        + "1,1_r1,\\regular-fundus-training\\1\\1_r1.jpg,1,,2,2,10,8,0\n"
        + "56,56_r3,\\regular-fundus-training\\56\\56_r3.jpg,0,1,,1,10,8,1\n",
    )
    text(
        f"{val}/regular-fundus-validation.csv",
        header + "265,265_r1,\\regular-fundus-validation\\265\\265_r1.jpg,1,,5,5,6,8,6\n",
    )
    sheet(f"{test}/Challenge1_labels.xlsx", ["image_id", "DR_Levels"], ["347_l1", 3])
    sheet(
        f"{test}/Challenge2_labels.xlsx",
        ["image_id", "Overall quality", "Artifact", "Clarity", "Field definition"],
        ["347_l1", 1, 0, 10, 8],
    )
    names = ("subject", "eye", "grade", "split", "quality", "clarity", "field", "artifact")
    assert told(read_dataset("deepdrid", tmp_path).manifest, *names) == {
        f"{train}/Images/1/1_l1.jpg": ("1", "left", 0, "train", 0, 8, 6, 4),
        f"{train}/Images/1/1_r1.jpg": ("1", "right", 2, "train", 1, 10, 8, 0),
        f"{train}/Images/56/56_r3.jpg": ("56", None, 1, "train", 0, 10, 8, 1),
        f"{val}/Images/265/265_r1.jpg": ("265", "right", None, "val", 1, 6, 8, 6),
        f"{test}/Images/347/347_l1.jpg": ("347", "left", 3, "test", 1, 10, 8, 0),
    }


RFMID = {
    "Training_Set/Training_Set/RFMiD_Training_Labels.csv": "Training_Set/Training_Set/Training",
    "Evaluation_Set/Evaluation_Set/RFMiD_Validation_Labels.csv": ("Evaluation_Set/Evaluation_Set/Validation"),
    "Test_Set/Test_Set/RFMiD_Testing_Labels.csv": "Test_Set/Test_Set/Test",
}
RFMID_NUMBERED = {
    "2. Groundtruths/a. RFMiD_Training_Labels.csv": "1. Original Images/a. Training Set",
    "2. Groundtruths/b. RFMiD_Validation_Labels.csv": "1. Original Images/b. Validation Set",
    "2. Groundtruths/c. RFMiD_Testing_Labels.csv": "1. Original Images/c. Testing Set",
}


@pytest.mark.parametrize("release", [RFMID, RFMID_NUMBERED])
def test_rfmid_counts_from_one_in_each_part(photograph, text, tmp_path, release, told):
    rows = ["1,1,1,0,1", "1,0,0,0,0", "1,1,0,1,0"]
    for (labels, images), row in zip(release.items(), rows, strict=True):
        photograph(f"{images}/1.png")
        text(labels, f"ID,Disease_Risk,DR,ARMD,MH\n{row}\n")
    manifest = read_dataset("rfmid", tmp_path).manifest
    train, val, test = release.values()
    assert told(manifest, "subject", "grade", "findings", "disease_risk", "split") == {
        f"{train}/1.png": (None, None, {"DR", "MH"}, 1, "train"),
        f"{val}/1.png": (None, None, frozenset(), 0, "val"),
        f"{test}/1.png": (None, None, {"ARMD"}, 1, "test"),
    }


ODIR_HEADER = (
    "ID",
    "Patient Age",
    "Patient Sex",
    "Left-Fundus",
    "Right-Fundus",
    "Left-Diagnostic Keywords",
    "Right-Diagnostic Keywords",
    *"NDGCAHMO",
)


def patient(n: int, age: int, sex: str, left: str, right: str, codes: str) -> tuple:
    flags = [int(code in codes) for code in "NDGCAHMO"]
    return (n, age, sex, f"{n}_left.jpg", f"{n}_right.jpg", left, right, *flags)


@pytest.fixture
def odir(photograph, tmp_path, sheet):
    images = "ODIR-5K_Training_Images/ODIR-5K_Training_Dataset"
    photograph(*(f"{images}/{n}_{eye}.jpg" for n in (0, 1, 2174) for eye in ("left", "right")))
    photograph("preprocessed_images/0_left.jpg")  # as in the copy on Kaggle; not to be taken
    sheet(
        "ODIR-5K_Training_Annotations(Updated)_V2.xlsx",
        ODIR_HEADER,
        patient(0, 69, "Female", "cataract", "normal fundus\N{FULLWIDTH COMMA}lens dust", "C"),
        patient(1, 57, "Male", "low image quality", "no fundus image", "O"),
        patient(
            2174,
            50,
            "Male",
            "mild nonproliferative retinopathy",
            "moderate non proliferative retinopathy\N{FULLWIDTH COMMA}hypertensive retinopathy",
            "DH",
        ),
    )
    return images


def test_odir(odir, tmp_path, told):
    manifest = read_dataset("odir", tmp_path).manifest
    names = ("subject", "eye", "grade", "findings", "subject_findings", "age", "sex", "processed")
    assert told(manifest, *names) == {
        f"{odir}/0_left.jpg": ("0", "left", None, {"C"}, "C", 69, "Female", 0),
        f"{odir}/0_right.jpg": ("0", "right", 0, {"N"}, "C", 69, "Female", 0),
        f"{odir}/1_left.jpg": ("1", "left", None, None, "O", 57, "Male", 0),
        f"{odir}/2174_left.jpg": ("2174", "left", 1, {"D"}, "D;H", 50, "Male", 0),
        f"{odir}/2174_right.jpg": ("2174", "right", 2, {"D", "H"}, "D;H", 50, "Male", 1),
    }
    assert told(manifest, "keywords")[f"{odir}/0_right.jpg"] == ("normal fundus;lens dust",)


def test_odir_without_openpyxl_says_what_to_install(odir, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'foveola\[excel\]'"):
        read_dataset("odir", tmp_path)


@pytest.mark.parametrize(
    ("keywords", "codes", "grade"),
    [
        ("normal fundus", "N", 0),
        ("mild nonproliferative retinopathy", "D", 1),
        ("moderate non proliferative retinopathy;mild nonproliferative retinopathy", "D", 2),
        ("severe nonproliferative retinopathy", "D", 3),
        ("severe proliferative diabetic retinopathy", "D", 4),
        ("proliferative diabetic retinopathy;laser spot", "DO", 4),
        ("diabetic retinopathy", "D", None),
        ("suspected glaucoma", "G", None),
        ("wet age-related macular degeneration;myopia retinopathy", "AM", None),
        ("hypertensive retinopathy;refractive media opacity", "HO", None),
        ("lens dust;image offset", "", None),
    ],
)
def test_odir_keywords(keywords, codes, grade):
    assert odir_label(keywords.split(";")) == (set(codes), grade)


def test_odir_keywords_give_the_labels_of_the_shared_photographs(shared_data):
    for case in Manifest.read(shared_data / "odir" / "labels.csv").cases():
        codes, grade = odir_label(str(case.extra["keywords"]).split(";"))
        assert (codes, grade) == (case.findings, case.grade), case.extra["keywords"]


# writing, and what goes wrong


def test_adapt_writes_a_manifest_into_the_folder(aptos, tmp_path, caplog):
    path = adapt("aptos", tmp_path)
    assert path == tmp_path / "manifest.csv"
    assert path.read_text() == (
        "image,subject,eye,visit,grade,findings\n"
        "train_images/000c1434d8d7.png,,,,2,\ntrain_images/001639a390f0.png,,,,4,\n"
    )
    assert caplog.records == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["manifest.csv", "test_images", "train.csv", "train_images"]


def test_adapt_elsewhere_leads_to_the_same_images(aptos, tmp_path):
    (tmp_path / "lists").mkdir()
    there = list(Manifest.read(adapt("aptos", tmp_path, tmp_path / "lists")).cases())
    other = list(Manifest.read(adapt("aptos", tmp_path, tmp_path / "lists" / "x.tsv")).cases())
    here = list(Manifest.read(adapt("aptos", tmp_path)).cases())
    assert [case.path for case in there] == [case.path for case in here]
    assert [case.path for case in other] == [case.path for case in here]
    with pytest.raises(ManifestError, match="is not a folder; make it first"):
        adapt("aptos", tmp_path, tmp_path / "none")


def test_adapt_again_is_welcome_but_an_edited_file_is_kept(aptos, tmp_path):
    path = adapt("aptos", tmp_path)
    adapt("aptos", tmp_path)
    path.write_text(path.read_text().replace(",4,", ",3,"))
    with pytest.raises(ManifestError, match=r"manifest\.csv exists and says something else"):
        adapt("aptos", tmp_path)
    assert ",3,\n" in path.read_text()
    adapt("aptos", tmp_path, overwrite=True)
    assert ",4,\n" in path.read_text()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_missing_photographs_are_counted_or_skipped(aptos, tmp_path, caplog):
    (tmp_path / "train_images" / "001639a390f0.png").unlink()
    with pytest.raises(ManifestError, match="1 of 2 listed photographs are missing, 001639a390f0"):
        adapt("aptos", tmp_path)
    assert not (tmp_path / "manifest.csv").exists()
    assert len(Manifest.read(adapt("aptos", tmp_path, missing="skip"))) == 1
    assert caplog.messages == ["1 listed photographs are missing and left out"]
    (tmp_path / "train_images" / "000c1434d8d7.png").unlink()
    with pytest.raises(ManifestError, match="none of the listed photographs is there"):
        adapt("aptos", tmp_path, missing="skip", overwrite=True)


def test_copies_are_marked_and_contradictions_are_named(photograph, text, tmp_path, caplog, told):
    photograph("train_images/a.png", "train_images/d.png", colour=1)
    photograph("train_images/b.png", "train_images/e.png", colour=2)
    photograph("train_images/c.png", colour=3)
    text("train.csv", "id_code,diagnosis\na,1\nb,2\nc,3\nd,4\ne,2\n")
    adapted = read_dataset("aptos", tmp_path)
    assert told(adapted.manifest, "duplicate_of") == {
        "train_images/a.png": (None,),
        "train_images/b.png": (None,),
        "train_images/c.png": (None,),
        "train_images/d.png": ("train_images/a.png",),
        "train_images/e.png": ("train_images/b.png",),
    }
    assert adapted.duplicates == ("train_images/d.png", "train_images/e.png")
    assert adapted.disagreeing == ("train_images/d.png",)
    with caplog.at_level(logging.WARNING):
        adapt("aptos", tmp_path)
    assert caplog.messages == [
        "2 images are copies of others, see the column duplicate_of; 1 of them are labelled "
        "otherwise than the first: train_images/d.png"
    ]


def test_duplicates_are_found_by_content_and_not_by_size(tmp_path):
    contents = [b"aa", b"bb", b"aa", b"aaa", b"bb", b"aa"]
    paths = [tmp_path / str(i) for i in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    assert find_duplicates(paths) == {2: 0, 4: 1, 5: 0}


def test_a_sheet_that_is_no_sheet(tmp_path):
    (tmp_path / "data.xlsx").write_bytes(b"PK not a workbook")
    with pytest.raises(ManifestError, match=r"data\.xlsx is not an Excel sheet that can be read"):
        read_dataset("odir", tmp_path)


def test_a_table_with_other_columns(photograph, text, tmp_path):
    text("train.csv", "id,label\na,1\n")
    with pytest.raises(ManifestError, match="the table has no column 'id_code'; found id, label"):
        read_dataset("aptos", tmp_path)


def test_hidden_twins_of_files_are_passed_over(aptos, text, tmp_path):
    # macOS leaves ._name beside name when it unpacks an archive
    text("train_images/._000c1434d8d7.png", "x")
    text("._train.csv", "\0")
    text(".train/000c1434d8d7.png", "x")
    assert len(read_dataset("aptos", tmp_path).manifest) == 2


def test_the_exact_name_goes_before_another_suffix_or_case(photograph, tmp_path):
    photograph("train/a.jpg", "train/a.png", "train/B.JPG", "other/train.png")
    layout = Layout(tmp_path)
    assert layout.image("a.png", within="train") == "train/a.png"
    assert layout.image("b.png", within="train") == "train/B.JPG"
    assert layout.image("train", within="train") is None  # a word on the path, not in the name
    assert layout.missing == ["train"]


def test_files_of_a_size_of_their_own_are_not_read(tmp_path, monkeypatch):
    paths = [tmp_path / str(size) for size in range(4)]
    for size, path in enumerate(paths):
        path.write_bytes(b"x" * size)
    monkeypatch.setattr(Path, "open", None)  # opening one would be a TypeError
    assert find_duplicates(paths) == {}


def test_two_photographs_of_one_name_are_not_guessed_between(aptos, photograph, tmp_path):
    photograph("train_images_small/000c1434d8d7.png")
    with pytest.raises(ManifestError, match="two photographs are called 000c1434d8d7"):
        read_dataset("aptos", tmp_path)


def test_a_wrong_grade_in_the_official_table(photograph, text, tmp_path):
    photograph("train_images/a.png")
    text("train.csv", "id_code,diagnosis\na,7\n")
    with pytest.raises(ManifestError, match="row 2: grade '7'; expected 0"):
        read_dataset("aptos", tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Idrid2", "unknown data set 'Idrid2'; did you mean 'idrid'"),
        ("xyz", "unknown data set 'xyz'; expected one of aptos, brset, chase"),
    ],
)
def test_an_unknown_name_gets_a_guess(tmp_path, name, message):
    with pytest.raises(ManifestError, match=message):
        adapt(name, tmp_path)


@pytest.mark.parametrize("name", sorted(ADAPTERS))
def test_a_folder_without_the_data_set_says_what_was_looked_for(tmp_path, name):
    with pytest.raises(ManifestError, match=r"found no .*\.\w{3}.*; expected the folder"):
        adapt(name, tmp_path)
    with pytest.raises(ManifestError, match="is not a folder"):
        adapt(name, tmp_path / "none")


@pytest.mark.parametrize("name", sorted(ADAPTERS))
def test_every_adapter_tells_its_terms_and_rules(name):
    adapter = ADAPTERS[name]
    assert adapter.name == name
    words = (adapter.licence, adapter.source, adapter.subject_rule, adapter.label_meaning)
    assert all(len(text) > 5 for text in words)
    assert adapter.source.startswith("https://") or name == "folders"


def test_the_manual_has_every_adapter():
    manual = (Path(__file__).parents[2] / "docs/how-to/datasets.md").read_text()
    for adapter in ADAPTERS.values():
        assert f"| `{adapter.name}` |" in manual
        assert adapter.source.split(" and ")[0] in manual

"""Official layouts made up in small, continued: see test_adapters.py."""

import subprocess
import sys
from pathlib import Path

import openpyxl
import pytest

from foveola.datasets.adapters import read_dataset
from foveola.datasets.adapters.base import Layout
from foveola.datasets.manifest import Manifest
from foveola.errors import ManifestError

DDR = "DDR-dataset/DR_grading"


@pytest.fixture
def ddr(photograph, text):
    photograph(f"{DDR}/train/007-0004-000.jpg", f"{DDR}/train/007-0007-000.jpg")
    photograph(f"{DDR}/valid/007-0001-000.jpg", f"{DDR}/test/007-0002-000.jpg")
    photograph("DDR-dataset/lesion_segmentation/train/image/007-0004-000.jpg")
    text(f"{DDR}/train.txt", "007-0004-000.jpg 0\n007-0007-000.jpg 5\n\n")
    text(f"{DDR}/valid.txt", "007-0001-000.jpg 4\n")
    text(f"{DDR}/test.txt", "007-0002-000.jpg 2\n")
    text("DDR-dataset/aesion_detection/train.txt", "another list\n")  # sorts before, is passed over


DDR_TOLD = {
    "train/007-0004-000.jpg": (None, 0, "train", 1),
    "train/007-0007-000.jpg": (None, None, "train", 0),
    "valid/007-0001-000.jpg": (None, 4, "val", 1),
    "test/007-0002-000.jpg": (None, 2, "test", 1),
}


def test_ddr_has_no_grade_where_it_could_not_be_graded(ddr, tmp_path, told):
    names = ("subject", "grade", "split", "gradable")
    assert told(read_dataset("ddr", tmp_path).manifest, *names) == {
        f"{DDR}/{path}": fields for path, fields in DDR_TOLD.items()
    }
    assert told(read_dataset("ddr", tmp_path / DDR).manifest, *names) == DDR_TOLD


@pytest.mark.parametrize("line", ["007-0004-000.jpg 6", "007-0004-000.jpg", "5"])
def test_ddr_names_a_line_it_cannot_read(ddr, text, tmp_path, line):
    text(f"{DDR}/valid.txt", f"007-0001-000.jpg 4\n{line}\n")
    with pytest.raises(ManifestError, match=rf"valid\.txt, line 2: '{line}'; expected the name"):
        read_dataset("ddr", tmp_path)


def test_ddr_without_one_of_its_lists(ddr, tmp_path):
    (tmp_path / DDR / "test.txt").unlink()
    with pytest.raises(ManifestError, match=r"found no DR_grading/test\.txt; expected the folder"):
        read_dataset("ddr", tmp_path)


BRSET_HEADER = (
    "image_id,patient_id,camera,patient_age,comorbidities,diabetes_time_y,insuline,patient_sex,"
    "exam_eye,diabetes,nationality,optic_disc,vessels,macula,DR_SDRG,DR_ICDR,focus,Illuminaton,"
    "image_field,artifacts,diabetic_retinopathy,macular_edema,scar,nevus,amd,vascular_occlusion,"
    "hypertensive_retinopathy,drusens,hemorrhage,retinal_detachment,myopic_fundus,"
    "increased_cup_disc,other,quality\n"
)


def test_brset(photograph, text, tmp_path, told):
    photograph("fundus_photos/img00001.jpg", "fundus_photos/img00002.jpg")
    text(
        "labels_brset.csv",
        BRSET_HEADER
        + "img00001,1,Canon CR,48.0,diabetes1,12,yes,1,1,yes,Brazil,1,1,1,2,3,1,1,1,1,"
        + "1.0,1,0,0,0,0,0,0,0,0,0,0,0,Adequate\n"
        + "img00002,1.0,Canon CR,,,,,2.0,2.0,no,Brazil,1,1,1,0,0,1,1,1,1,"
        + "0,0,0,0,0,0,0,0,0,0,0,0,0,Inadequate\n",
    )
    names = ("subject", "eye", "grade", "findings", "age", "sex", "camera", "quality")
    found = {"diabetic_retinopathy", "macular_edema"}
    assert told(read_dataset("brset", tmp_path).manifest, *names) == {
        "fundus_photos/img00001.jpg": ("1", "right", 3, found, 48, "male", "Canon CR", "Adequate"),
        "fundus_photos/img00002.jpg": ("1", "left", 0, frozenset(), None, "female", "Canon CR", "Inadequate"),
    }


PAPILA_HEADER = (
    [None, "Age", "Gender", "Diagnosis", "Refractive_Defect", None, None, "IOP", None],
    [None, None, None, None, "dioptre_1", "dioptre_2", "astigmatism", "Pneumatic", "Perkins"],
    ["ID"],
)


@pytest.fixture
def papila(photograph, sheet):
    photograph(*(f"FundusImages/RET00{n}{eye}.jpg" for n in (2, 4) for eye in ("OD", "OS")))
    right = [["#002", 47, 0, 2, 0.75], ["#004", 58, 1, 1, 1.5]]
    sheet("ClinicalData/patient_data_od.xlsx", *PAPILA_HEADER, *right)
    left = [["#002", 47, 0, 0, 0.75], ["#004", 58, 1, None, 1.5]]
    sheet("ClinicalData/patient_data_os.xlsx", *PAPILA_HEADER, *left)


def test_papila_under_its_header_of_three_rows(papila, tmp_path, told):
    names = ("subject", "eye", "grade", "findings", "age", "sex")
    assert told(read_dataset("papila", tmp_path).manifest, *names) == {
        "FundusImages/RET002OD.jpg": ("002", "right", None, {"glaucoma suspect"}, 47, "male"),
        "FundusImages/RET004OD.jpg": ("004", "right", None, {"glaucoma"}, 58, "female"),
        "FundusImages/RET002OS.jpg": ("002", "left", None, {"normal"}, 47, "male"),
        "FundusImages/RET004OS.jpg": ("004", "left", None, None, 58, "female"),
    }


def test_papila_refuses_another_diagnosis_or_header(papila, sheet, tmp_path):
    sheet("ClinicalData/patient_data_os.xlsx", *PAPILA_HEADER, ["#002", 47, 0, 3])
    with pytest.raises(ManifestError, match=r"_os\.xlsx: diagnosis '3' of #002; expected 0, 1"):
        read_dataset("papila", tmp_path)
    sheet("ClinicalData/patient_data_os.xlsx", ["Id", "Age", "Gender"], ["#002", 47, 0])
    with pytest.raises(ManifestError, match=r"_os\.xlsx has no column 'Diagnosis' above"):
        read_dataset("papila", tmp_path)


def test_eyeq(photograph, text, tmp_path, told):
    photograph("train/10009_left.jpeg", "train/10014_left.jpeg", "test/1_right.jpeg")
    header = ",image,quality,DR_grade\n"
    text("Label_EyeQ_train.csv", f"{header}0,10009_left.jpeg,0,0\n2,10014_left.jpeg,2,0\n")
    text("Label_EyeQ_test.csv", f"{header}0,1_right.jpeg,1,4\n")
    names = ("subject", "eye", "grade", "split", "quality")
    assert told(read_dataset("eyeq", tmp_path).manifest, *names) == {
        "train/10009_left.jpeg": ("10009", "left", 0, "train", "good"),
        "train/10014_left.jpeg": ("10014", "left", 0, "train", "reject"),
        "test/1_right.jpeg": ("1", "right", 4, "test", "usable"),
    }


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("0,1.jpeg,1,4", r"Label_EyeQ_test\.csv: image '1\.jpeg'; expected such as 10_left"),
        ("0,1_left.jpeg,3,4", r"test\.csv: quality '3' of 1_left\.jpeg; expected 0, 1 or 2"),
    ],
)
def test_eyeq_refuses_other_names_and_qualities(text, tmp_path, row, message):
    text("Label_EyeQ_train.csv", ",image,quality,DR_grade\n")
    text("Label_EyeQ_test.csv", f",image,quality,DR_grade\n{row}\n")
    with pytest.raises(ManifestError, match=message):
        read_dataset("eyeq", tmp_path)


# vessels


def test_chase_knows_child_and_eye_by_the_name(photograph, tmp_path, told):
    photograph("Image_01L.jpg", "Image_01R.jpg", "Image_14L.jpg")
    photograph("Image_01L_1stHO.png", "Image_01L_2ndHO.png", "Image_01R_1stHO.png")
    names = ("subject", "eye", "vessel_mask", "vessel_mask_2")
    assert told(read_dataset("chase", tmp_path).manifest, *names) == {
        "Image_01L.jpg": ("01", "left", "Image_01L_1stHO.png", "Image_01L_2ndHO.png"),
        "Image_01R.jpg": ("01", "right", "Image_01R_1stHO.png", None),
        "Image_14L.jpg": ("14", "left", None, None),
    }


def test_chase_agrees_with_the_shared_photographs(shared_data, told):
    names = ("eye", "vessel_mask", "vessel_mask_2")
    folder = shared_data / "chase_db1"
    labels = told(Manifest.read(folder / "labels.csv"), *names)
    assert told(read_dataset("chase", folder).manifest, *names) == labels


def test_drive(photograph, text, tmp_path, told):
    photograph("training/images/21_training.tif", "test/images/01_test.tif")
    for part, mask in (("training", "1st_manual/21_manual1"), ("test", "1st_manual/01_manual1")):
        text(f"{part}/{mask}.gif", "GIF89a")
    text("test/2nd_manual/01_manual2.gif", "GIF89a")
    text("test/mask/01_test_mask.gif", "GIF89a")
    names = ("subject", "eye", "split", "vessel_mask", "vessel_mask_2")
    first = ("training/1st_manual/21_manual1.gif", None)
    both = ("test/1st_manual/01_manual1.gif", "test/2nd_manual/01_manual2.gif")
    assert told(read_dataset("drive", tmp_path).manifest, *names) == {
        "training/images/21_training.tif": (None, None, "train", *first),
        "test/images/01_test.tif": (None, None, "test", *both),
    }


def test_stare_needs_its_ppm_files_converted(photograph, text, tmp_path, told):
    text("stare-images/im0001.ppm", "P6")
    text("labels-ah/im0001.ah.ppm", "P6")
    text("labels-vk/im0001.vk.ppm", "P6")
    with pytest.raises(ManifestError, match=r"are \.ppm files, which .* convert them to \.png"):
        read_dataset("stare", tmp_path)
    photograph("png/im0001.png", "png/im0002.png", "png/im0002.ah.png")
    names = ("subject", "vessel_mask", "vessel_mask_2")
    assert told(read_dataset("stare", tmp_path).manifest, *names) == {
        "png/im0001.png": (None, "labels-ah/im0001.ah.ppm", "labels-vk/im0001.vk.ppm"),
        "png/im0002.png": (None, "png/im0002.ah.png", None),
    }


# one folder per class


def test_jsiec_takes_each_photograph_once(photograph, tmp_path, told):
    photograph("1000images/0.0.Normal/a.jpg", "1000images/1000images/0.0.Normal/a.jpg", colour=1)
    photograph("1000images/29.1.Blur fundus with suspected PDR/a.JPG", "1000images/6.Maculopathy/b.jpg")
    photograph("1000images/readme.png")
    assert told(read_dataset("jsiec", tmp_path).manifest, "subject", "grade", "findings") == {
        "1000images/0.0.Normal/a.jpg": (None, 0, {"Normal"}),
        "1000images/29.1.Blur fundus with suspected PDR/a.JPG": (None, None, {"Blur fundus with suspected PDR"}),
        "1000images/6.Maculopathy/b.jpg": (None, None, {"Maculopathy"}),
    }


def test_folders_named_after_findings(photograph, tmp_path, told):
    photograph("normal/a.jpg", "macular hole/a.jpg")
    manifest = read_dataset("folders", tmp_path).manifest
    assert told(manifest, "subject", "grade", "findings") == {
        "normal/a.jpg": (None, None, {"normal"}),
        "macular hole/a.jpg": (None, None, {"macular hole"}),
    }
    assert "split" not in manifest.table


def test_folders_named_after_grades_below_their_splits(photograph, tmp_path, told):
    photograph("all/Training/0/a.jpg", "all/valid/2/b.jpg", "all/test/4/c.jpg")
    names = ("grade", "findings", "split")
    assert told(read_dataset("folders", tmp_path).manifest, *names) == {
        "all/Training/0/a.jpg": (0, None, "train"),
        "all/valid/2/b.jpg": (2, None, "val"),
        "all/test/4/c.jpg": (4, None, "test"),
    }


@pytest.mark.parametrize("classes", ["01", "045"])
def test_folders_of_numbers_that_are_no_grades_are_findings(photograph, tmp_path, told, classes):
    photograph(*(f"{name}/a.jpg" for name in classes))
    assert told(read_dataset("folders", tmp_path).manifest, "grade", "findings") == {
        f"{name}/a.jpg": (None, {name}) for name in classes
    }


@pytest.mark.parametrize("path", ["a.jpg", "train/a.jpg"])
def test_folders_refuse_a_photograph_without_a_class(photograph, tmp_path, path):
    photograph("normal/b.jpg", path)
    with pytest.raises(ManifestError, match=rf"{path} is in no folder of a class; expected such"):
        read_dataset("folders", tmp_path)


# chest radiographs

CHEST_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],\n"
)


@pytest.fixture
def chest(photograph, text):
    def _chest(*rows: tuple[str, str, int, int, str], header: str = CHEST_HEADER) -> None:
        photograph(*(f"images_001/images/{name}" for name, *_ in rows))
        lines = (f"{','.join(map(str, row))},M,PA,2682,2749,0.143,0.143,\n" for row in rows)
        text("Data_Entry_2017.csv", header + "".join(lines))

    return _chest


def test_chestxray14_counts_visits_in_years_since_the_first_radiograph(chest, text, tmp_path, told):
    chest(
        ("00000001_001.png", "Cardiomegaly|Emphysema", 1, 1, "060"),
        ("00000001_000.png", "Cardiomegaly", 0, 1, "58"),
        ("00000001_002.png", "Hernia", 2, 1, "57"),  # younger than at first
        ("00000002_000.png", "No Finding", 0, 2, "414"),  # as in the first release
        ("00000003_000.png", "No Finding", 0, 3, "081Y"),
    )
    text("train_val_list.txt", "00000001_000.png\n00000001_001.png\n00000001_002.png\n\n")
    text("test_list.txt", "00000002_000.png\n\n")
    names = ("subject", "visit", "findings", "split", "follow_up", "age", "sex", "view")
    folder = "images_001/images"
    assert told(read_dataset("chestxray14", tmp_path).manifest, *names) == {
        f"{folder}/00000001_001.png": ("1", 24, {"Cardiomegaly", "Emphysema"}, "train", 1, 60, "M", "PA"),
        f"{folder}/00000001_000.png": ("1", 0, {"Cardiomegaly"}, "train", 0, 58, "M", "PA"),
        f"{folder}/00000001_002.png": ("1", None, {"Hernia"}, "train", 2, 57, "M", "PA"),
        f"{folder}/00000002_000.png": ("2", None, {"normal"}, "test", 0, None, "M", "PA"),
        f"{folder}/00000003_000.png": ("3", 0, {"normal"}, None, 0, 81, "M", "PA"),
    }


def test_chestxray14_of_2020_without_lists_has_no_split(chest, tmp_path, told):
    header = CHEST_HEADER.replace("Patient Gender", "Patient Sex")
    chest(("00000001_000.png", "Mass", 0, 1, "58"), header=header)
    (tmp_path / "Data_Entry_2017.csv").rename(tmp_path / "Data_Entry_2017_v2020.csv")
    manifest = read_dataset("chestxray14", tmp_path).manifest
    assert told(manifest, "sex") == {"images_001/images/00000001_000.png": ("M",)}
    assert "split" not in manifest.table


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("00000001_001.png", "one subject in two splits, 'train' in row 2 and 'test' here"),
        ("00000001_000.png", r"_000\.png is in train_val_list\.txt and test_list\.txt; expected"),
    ],
)
def test_chestxray14_refuses_a_patient_in_two_splits(chest, text, tmp_path, image, message):
    chest(("00000001_000.png", "Mass", 0, 1, "58"), ("00000001_001.png", "Mass", 1, 1, "59"))
    text("train_val_list.txt", "00000001_000.png\n")
    text("test_list.txt", f"{image}\n")
    with pytest.raises(ManifestError, match=message):
        read_dataset("chestxray14", tmp_path)


def test_chestxray14_refuses_a_follow_up_that_is_no_number(chest, tmp_path):
    chest(("00000001_000.png", "Mass", "first", 1, "58"))
    with pytest.raises(ManifestError, match="Follow-up # 'first' in the table; expected a whole"):
        read_dataset("chestxray14", tmp_path)


# knee radiographs

OAI_IMAGES = "ResizedImages"


@pytest.fixture
def oai(photograph, text):
    photograph(
        f"{OAI_IMAGES}/9000099_00_L.png",
        f"{OAI_IMAGES}/9000099_00_R.png",
        f"{OAI_IMAGES}/9000099_12_L.png",
        f"{OAI_IMAGES}/9000296_V10_crop_right.png",
        f"{OAI_IMAGES}/both_knees.png",
    )
    text(
        "Enrollees.txt",
        "ID|VERSION|P02SEX|P02RACE|V00COHORT|V00SITE\n"
        "9000099|25|1: Male|1: White or Caucasian|1: Progression|C\n"
        "9000296|25|2: Female|.: Missing Form|2: Incidence|A\n",
    )
    text(
        "X-Ray/kxr_sq_bu00.txt",
        "ID|SIDE|READPRJ|VERSION|V00XRKL|V00XRJSM\n"
        "9000099|1: Right|37|0.8|2|1\n9000099|1: Right|15|0.8|3|1\n"
        '9000099|2: Left|15|0.8|.T: Poor|"0\n9000099|2: Left|42|0.8|4|0\n'
        "9000099|2: Left|37|0.8|1.0|0\n9000296|1: Right|15|0.8|0|0\n",
    )
    text("X-Ray/KXR_SQ_BU01.txt", "id|SIDE|readprj|v01XRKL\n9000099|2|15|.\n9000099|2|37|2\n")
    text("X-Ray/kxr_sq_bu10.txt", "ID|SIDE|READPRJ|V10XRKL\n9000296|1|42|3: Grade 3\n")


def test_oai_counts_visits_in_months_and_takes_the_widest_reading_first(oai, tmp_path, told):
    names = ("subject", "eye", "visit", "grade", "kl", "site", "sex")
    manifest = read_dataset("oai", tmp_path).manifest
    assert told(manifest, *names) == {
        # project 15 reads 3 where 37 reads 2; on the left 15 has no grade, 37 goes before 42
        f"{OAI_IMAGES}/9000099_00_R.png": ("9000099", "right", 0, None, 3, "C", "male"),
        f"{OAI_IMAGES}/9000099_00_L.png": ("9000099", "left", 0, None, 1, "C", "male"),
        f"{OAI_IMAGES}/9000099_12_L.png": ("9000099", "left", 12, None, 2, "C", "male"),
        f"{OAI_IMAGES}/9000296_V10_crop_right.png": ("9000296", "right", 96, None, 3, "A", "female"),
    }
    assert "age" not in manifest.table


def test_oai_images_alone_know_subject_side_and_visit(photograph, tmp_path, told):
    photograph("9000099_V08_L.png", "9000099_24m_R.png")
    manifest = read_dataset("oai", tmp_path).manifest
    assert told(manifest, "subject", "eye", "visit") == {
        "9000099_24m_R.png": ("9000099", "right", 24),
        "9000099_V08_L.png": ("9000099", "left", 72),
    }
    assert not {"kl", "site", "sex", "age"} & set(manifest.table)


def test_oai_by_the_table_of_adatriplet(oai, text, tmp_path, told):
    text(
        "PreprocessedData.csv",
        "ID,Visit,SIDE,Path,Site,AGE,SEX\n"
        "9000099,12,L,/ResizedImages/9000099_12_L.png,C,60.0,1\n"
        "9000622,0,R,/ResizedImages/9000622_00_R.png,D,71,0\n",
    )
    with pytest.raises(ManifestError, match=r"1 of 2 listed .* missing, .*9000622_00_R"):
        read_dataset("oai", tmp_path)
    (tmp_path / "Enrollees.txt").unlink()
    adapted = read_dataset("oai", tmp_path, missing="skip")
    assert told(adapted.manifest, "subject", "eye", "visit", "site", "age", "sex") == {
        f"{OAI_IMAGES}/9000099_12_L.png": ("9000099", "left", 12, "C", 60, None)
    }


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("9000099_01_L.png", r"9000099_01_L\.png: visit '01'; expected months, one of 0, 12, 24, 36"),
        ("9000099_v02_L.png", "visit 'v02'; expected months, .* or a code such as V01"),
        ("9000099_L.png", r"found no image such as 9000099_12_L\.png; expected the folder"),
    ],
)
def test_oai_refuses_a_name_that_tells_no_visit(photograph, tmp_path, name, message):
    photograph(name)
    with pytest.raises(ManifestError, match=message):
        read_dataset("oai", tmp_path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("9000099|3|15|2", r"kxr_sq_bu00\.txt: side '3'; expected 1 or R, 2 or L"),
        ("9000099|1|15|8", r"kxr_sq_bu00\.txt: Kellgren-Lawrence grade '8'; expected 0 to 4"),
    ],
)
def test_oai_refuses_a_reading_of_no_knee_or_no_grade(photograph, text, tmp_path, row, message):
    photograph("9000099_00_L.png")
    text("kxr_sq_bu00.txt", f"ID|SIDE|READPRJ|V00XRKL\n{row}\n")
    with pytest.raises(ManifestError, match=message):
        read_dataset("oai", tmp_path)


def test_oai_from_the_command_line(oai, tmp_path):
    command = [sys.executable, "-m", "foveola", "adapt", "oai", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    lines = Path(done.stdout.strip()).read_text().splitlines()
    assert lines[0] == "image,subject,eye,visit,grade,findings,kl,site,sex"
    assert "ResizedImages/9000099_12_L.png,9000099,left,12.0,,,2,C,male" in lines


# the view of a folder


def test_a_photograph_within_folders_in_a_row(photograph, tmp_path):
    photograph("a/Train/1.png", "b/train/1.png", "train/b/1.png")
    layout = Layout(tmp_path)
    assert layout.image("1", within="A/train") == "a/Train/1.png"
    assert layout.photographs() == ["a/Train/1.png", "b/train/1.png", "train/b/1.png"]
    with pytest.raises(ManifestError, match="two photographs are called 1"):
        layout.image("1", within="train")


def test_a_sheet_without_a_stated_size_has_rows_of_one_length(tmp_path):
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet()
    for row in (["a"], [], ["b", None, 3]):
        sheet.append(row)
    book.save(tmp_path / "a.xlsx")
    assert Layout(tmp_path).sheet("a.xlsx") == [["a", "", ""], ["b", "", "3"]]


def test_a_person_is_one_in_every_spelling(photograph, text, tmp_path, told):
    spellings = ("M\u00fcller 7", "\u00a0M\u00fcller 7\u2003", "Mu\u0308ller 7", "\ufeffM\u00fcl\u200bler 7")
    rest = "Canon CR,48.0,,12,yes,1,1,yes,Brazil,1,1,1,2,3,1,1,1,1,1,1,0,0,0,0,0,0,0,0,0,0,0,Adequate\n"
    photograph(*(f"fundus_photos/img{n}.jpg" for n in range(len(spellings))))
    header = BRSET_HEADER.replace("patient_id", "pati\u200bent_id\u00a0")
    text("labels_brset.csv", header + "".join(f"img{n},{subject},{rest}" for n, subject in enumerate(spellings)))
    assert set(told(read_dataset("brset", tmp_path).manifest, "subject").values()) == {("M\u00fcller 7",)}

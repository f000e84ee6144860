"""Sets graded for diabetic retinopathy."""

import csv
from collections.abc import Iterator

from foveola.datasets.adapters.base import Adapter, Layout, Record, column
from foveola.errors import ManifestError

# --- APTOS 2019: train.csv and train_images/ of the Kaggle competition ---


def _read_aptos(layout: Layout) -> list[Record]:
    return [
        {"image": layout.image(column(row, "id_code"), within="train"), "grade": column(row, "diagnosis")}
        for row in layout.table("train.csv")
    ]


APTOS = Adapter(
    name="aptos",
    title="APTOS 2019 Blindness Detection",
    licence="Kaggle competition rules: research and education, no redistribution",
    source="https://www.kaggle.com/c/aptos2019-blindness-detection",
    citation="Asia Pacific Tele-Ophthalmology Society, APTOS 2019 Blindness Detection, 2019",
    label_meaning="grade: ICDR 0-4 by one clinician; the test images have no published grade",
    known_duplicates="none listed; participants reported copies with different grades, "
    "which the check by content finds where they are byte-identical",
    unverified="the wording of the licence",
    read=_read_aptos,
)


# --- DDR, its grading part: train.txt, valid.txt and test.txt beside the folders they list ---


DDR_PARTS = {"train": "train", "val": "valid", "test": "test"}
DDR_UNGRADABLE = "5"  # no grade of the ICDR scale


def _read_ddr(layout: Layout) -> Iterator[Record]:
    # the parts for lesions have folders and lists of the same names
    folder = "DR_grading/" if layout.file("DR_grading/train.txt") else ""
    for split, part in DDR_PARTS.items():
        table = f"{folder}{part}.txt"
        for number, line in enumerate(layout.needed_lines(table), start=1):
            name, _, grade = line.strip().rpartition(" ")
            if not grade:
                continue
            if not name or grade not in ("0", "1", "2", "3", "4", DDR_UNGRADABLE):
                raise ManifestError(
                    f"{table}, line {number}: {line.strip()[:40]!r}; expected the name of an image, a space and 0 to 5"
                )
            yield {
                "image": layout.image(name.strip(), within=f"{folder}{part}"),
                "grade": None if grade == DDR_UNGRADABLE else grade,
                "split": split,
                "gradable": int(grade != DDR_UNGRADABLE),
            }


DDR = Adapter(
    name="ddr",
    title="DDR, grading part",
    licence="not stated in the files read; see the repository",
    source="https://github.com/nkicsl/DDR-dataset",
    citation="Li et al., Inf. Sci. 501 (2019) 511-522",
    subject_rule="none published: every image counts as its own subject, though names such as "
    "007-0004-000.jpg may tell which belong together",
    label_meaning="grade: ICDR 0-4, empty where the official label is 5, not gradable; gradable: "
    "0 or 1; split: the official train, val (valid) and test",
    unverified="the lists themselves, whose names and form we know from code that reads them; "
    "what the three numbers of a file name mean",
    read=_read_ddr,
)


# --- DeepDRiD, regular fundus images: two views of each eye, grades and quality ---


DEEPDRID_SHEETS = {"train": "regular-fundus-training.csv", "val": "regular-fundus-validation.csv"}
DEEPDRID_QUALITY = {
    "quality": "Overall quality",
    "artifact": "Artifact",
    "clarity": "Clarity",
    "field": "Field definition",
}


def _read_deepdrid(layout: Layout) -> Iterator[Record]:
    for split, sheet in DEEPDRID_SHEETS.items():
        for row in layout.table(sheet):
            name = column(row, "image_id")
            left, right = column(row, "left_eye_DR_Level"), column(row, "right_eye_DR_Level")
            graded = "left" if left else "right" if right else None
            named = _deepdrid_eye(name)
            yield {
                "image": layout.image(f"{name}.jpg"),
                "subject": column(row, "patient_id"),
                # patient 56 has views whose name and grade column name different eyes: then unknown
                "eye": named if graded in (named, None) else None,
                "grade": _deepdrid_grade(left or right),
                "split": split,
                "patient_grade": column(row, "patient_DR_Level"),
                **{key: column(row, source) for key, source in DEEPDRID_QUALITY.items()},
            }
    yield from _deepdrid_evaluation(layout)


def _deepdrid_evaluation(layout: Layout) -> Iterator[Record]:
    grades = layout.table_if_there("Challenge1_labels.xlsx", "Challenge1_labels.csv") or []
    sheets = layout.table_if_there("Challenge2_labels.xlsx", "Challenge2_labels.csv") or []
    quality = {column(row, "image_id"): row for row in sheets}
    for row in grades:
        name = column(row, "image_id")
        scores = quality.get(name)
        yield {
            "image": layout.image(f"{name}.jpg"),
            "subject": name.partition("_")[0],
            "eye": _deepdrid_eye(name),
            "grade": _deepdrid_grade(column(row, "DR_Levels")),
            "split": "test",
            **{key: column(scores, source) for key, source in DEEPDRID_QUALITY.items() if scores},
        }


def _deepdrid_eye(name: str) -> str | None:
    return {"l": "left", "r": "right"}.get(name.partition("_")[2][:1])


def _deepdrid_grade(level: str) -> str | None:
    return None if level.startswith("5") else level  # 5: could not be graded


DEEPDRID = Adapter(
    name="deepdrid",
    title="DeepDRiD, regular fundus images",
    licence="not stated in the files read; see the repository",
    source="https://github.com/deepdrdoc/DeepDRiD",
    citation="Liu et al., Patterns 3 (2022) 100512",
    subject_rule="patient_id; the number before the underscore in the evaluation set",
    eye_rule="l or r after the underscore; unknown where the graded column names the other eye",
    label_meaning="grade: ICDR 0-4 of the eye, both its views alike; patient_grade: worse eye; "
    "quality: 1 is good enough for diagnosis; artifact, clarity and field as scored there; "
    "split: the challenge's train, val and test (its evaluation set)",
    unverified="the content of Challenge1_labels.xlsx and Challenge2_labels.xlsx, whose columns "
    "we know from code that reads them; whether grade 5 occurs outside the ultra-widefield part",
    read=_read_deepdrid,
)


# --- EyePACS as released by Kaggle in 2015: trainLabels.csv, retinopathy_solution.csv, N_left.jpeg ---


def _read_eyepacs(layout: Layout) -> Iterator[Record]:
    tables = {"train": layout.table("trainLabels.csv"), "test": layout.table_if_there("retinopathy_solution.csv") or []}
    for split, rows in tables.items():
        for row in rows:
            name = column(row, "image")
            subject, _, eye = name.rpartition("_")
            if not subject or eye not in ("left", "right"):
                raise ManifestError(f"image {name!r} in the labels; expected a name such as 10_left")
            yield {
                "image": layout.image(name),
                "subject": subject,
                "eye": eye,
                "grade": column(row, "level"),
                "split": split,
                "usage": row.get("Usage", ""),
            }


EYEPACS = Adapter(
    name="eyepacs",
    title="EyePACS, Kaggle Diabetic Retinopathy Detection 2015",
    licence="Kaggle competition rules: research use, no redistribution",
    source="https://www.kaggle.com/c/diabetic-retinopathy-detection",
    citation="Cuadros and Bresnick, J. Diabetes Sci. Technol. 3 (2009) 509-516",
    subject_rule="the number before _left or _right",
    eye_rule="_left or _right in the file name",
    label_meaning="grade: ICDR 0-4 by one clinician, noisy; split: train, or test where "
    "retinopathy_solution.csv is there; usage: Public or Private, the test part's two halves",
    unverified="whether a person can have two numbers",
    read=_read_eyepacs,
)


# --- EyeQ: quality of EyePACS photographs, Label_EyeQ_train.csv and Label_EyeQ_test.csv ---


EYEQ_TABLES = {"train": "Label_EyeQ_train.csv", "test": "Label_EyeQ_test.csv"}
EYEQ_QUALITY = {"0": "good", "1": "usable", "2": "reject"}


def _read_eyeq(layout: Layout) -> Iterator[Record]:
    for split, table in EYEQ_TABLES.items():
        # the column of row numbers has no name, which a manifest may not have
        for row in csv.DictReader(layout.needed_lines(table), restval="", restkey=""):
            name, quality = column(row, "image"), column(row, "quality")
            subject, _, eye = name.rpartition(".")[0].rpartition("_")
            if not subject or eye not in ("left", "right"):
                raise ManifestError(f"{table}: image {name[:40]!r}; expected such as 10_left.jpeg")
            if quality not in EYEQ_QUALITY:
                raise ManifestError(f"{table}: quality {quality[:20]!r} of {name}; expected 0, 1 or 2")
            yield {
                "image": layout.image(name),
                "subject": subject,
                "eye": eye,
                "grade": column(row, "DR_grade"),
                "split": split,
                "quality": EYEQ_QUALITY[quality],
            }


EYEQ = Adapter(
    name="eyeq",
    title="EyeQ, quality of EyePACS photographs",
    licence="labels: see the repository; photographs: Kaggle competition rules, research use, no redistribution",
    source="https://github.com/HzFu/EyeQ",
    citation="Fu et al., MICCAI 2019, LNCS 11764, 48-56",
    subject_rule="the number before _left or _right, the same as in eyepacs",
    eye_rule="_left or _right in the file name",
    label_meaning="quality: good, usable or reject (0, 1 and 2 in the tables); grade: ICDR 0-4 of "
    "EyePACS; split: EyeQ's own train and test, which are parts of those of EyePACS",
    unverified="whether a person can have two numbers; whether EyeQ's parts keep to those of "
    "EyePACS throughout, of which we read the beginning of train",
    read=_read_eyeq,
)


# --- IDRiD, part B (disease grading): two label sheets, two folders of images ---


IDRID_SHEETS = {
    "train": "*IDRiD_Disease Grading_Training Labels.csv",
    "test": "*IDRiD_Disease Grading_Testing Labels.csv",
}


def _read_idrid(layout: Layout) -> list[Record]:
    # both parts count from IDRiD_001, so the folder must be named: "a. Training Set"
    return [
        {
            "image": layout.image(column(row, "Image name"), within=split),
            "grade": column(row, "Retinopathy grade"),
            "split": split,
            "dme": column(row, "Risk of macular edema"),
        }
        for split, sheet in IDRID_SHEETS.items()
        for row in layout.table(sheet, sheet.replace(" ", "_"))
    ]


IDRID = Adapter(
    name="idrid",
    title="IDRiD, disease grading",
    licence="CC BY 4.0",
    source="https://ieee-dataport.org/open-access/indian-diabetic-retinopathy-image-dataset-idrid",
    citation="Porwal et al., Data 3 (2018) 25",
    subject_rule="none published: every image counts as its own subject, though a few pairs show the same eye",
    label_meaning="grade: ICDR 0-4; dme: risk of macular oedema 0-2 by exudates near the fovea; "
    "split: the official train and test",
    known_duplicates="training images that are byte-identical: 021 and 391, 045 and 333, "
    "079 and 279; the first two pairs carry different labels",
    unverified="other copies: the check by content names them",
    read=_read_idrid,
)


# --- Messidor-2: photographs and pairs from ADCIS, adjudicated grades of Krause et al. from Kaggle ---


def _read_messidor2(layout: Layout) -> Iterator[Record]:
    exams = _messidor_examinations(layout.lines("messidor-2.csv") or [])
    for row in layout.table("messidor_data.csv"):
        name = column(row, "image_id")
        subject, eye = exams.get(_messidor_stem(name), (None, None))
        gradable = column(row, "adjudicated_gradable")
        yield {
            "image": layout.image(name),
            "subject": subject,
            "eye": eye,
            "grade": column(row, "adjudicated_dr_grade") if gradable != "0" else None,
            "dme": column(row, "adjudicated_dme") if gradable != "0" else None,
            "gradable": gradable,
        }


def _messidor_examinations(lines: list[str]) -> dict[str, tuple[str, str]]:
    """Stem of an image to its examination and eye; a line is "left;right" or "left,right"."""
    pairs = [line.replace(",", ";").split(";") for line in lines if not line.startswith("#")]
    named = [pair for pair in pairs if len(pair) >= 2 and "." in pair[0]]  # the header has no dot
    found = {}
    for number, pair in enumerate(named, start=1):
        for name, eye in zip(pair, ("left", "right"), strict=False):
            if name.strip():
                found[_messidor_stem(name)] = (f"exam{number:04d}", eye)
    return found


def _messidor_stem(name: str) -> str:
    return name.strip().strip('"').rpartition(".")[0].lower()


MESSIDOR2 = Adapter(
    name="messidor2",
    title="Messidor-2",
    licence="research and education only, no redistribution (ADCIS)",
    source="https://www.adcis.net/en/third-party/messidor2/ and "
    "https://www.kaggle.com/datasets/google-brain/messidor2-dr-grades",
    citation="Decenciere et al., Image Anal. Stereol. 33 (2014) 231-234; grades: Krause et al., "
    "Ophthalmology 125 (2018) 1264-1272",
    subject_rule="the examination, from the pairs in messidor-2.csv; unknown without that file",
    eye_rule="the column of the pair, left then right",
    label_meaning="grade: ICDR 0-4, adjudicated by three specialists, empty where not gradable; "
    "dme: referable macular oedema 0 or 1; gradable: 0 or 1",
    unverified="the header of messidor-2.csv, so that line is known by having no file name; "
    "whether the pairs put the left eye first as their header says",
    read=_read_messidor2,
)

ADAPTERS = (APTOS, DDR, DEEPDRID, EYEPACS, EYEQ, IDRID, MESSIDOR2)

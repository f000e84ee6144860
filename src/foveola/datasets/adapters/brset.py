"""BRSET: labels_brset.csv and fundus_photos/ as PhysioNet publishes them."""

from foveola.datasets.adapters.base import Adapter, Layout, Record, column, text_set

FINDINGS = (
    "diabetic_retinopathy",
    "macular_edema",
    "scar",
    "nevus",
    "amd",
    "vascular_occlusion",
    "hypertensive_retinopathy",
    "drusens",
    "hemorrhage",
    "retinal_detachment",
    "myopic_fundus",
    "increased_cup_disc",
    "other",
)
EYES = {"1": "right", "2": "left"}
SEXES = {"1": "male", "2": "female"}


def _read(layout: Layout) -> list[Record]:
    return [_record(layout, row) for row in layout.table("labels_brset.csv", "labels.csv")]


def _record(layout: Layout, row: dict[str, str]) -> Record:
    found = [name for name in FINDINGS if _number(column(row, name)) == "1"]
    sex, eye = column(row, "patient_sex"), column(row, "exam_eye")
    return {
        "image": layout.image(column(row, "image_id")),
        "subject": _number(column(row, "patient_id")),
        "eye": EYES.get(_number(eye), eye),
        "grade": _number(column(row, "DR_ICDR")),
        "findings": text_set(found),
        "age": _number(column(row, "patient_age")),
        "sex": SEXES.get(_number(sex), sex),
        "camera": column(row, "camera"),
        "quality": column(row, "quality"),
    }


def _number(text: str) -> str:
    """Pandas writes 1 as 1.0 where a neighbour is empty."""
    return text.removesuffix(".0")


ADAPTER = Adapter(
    name="brset",
    title="BRSET, Brazilian Multilabel Ophthalmological Dataset",
    licence="PhysioNet credentialed access: research, no redistribution",
    source="https://physionet.org/content/brazilian-ophthalmological/",
    citation="Nakayama et al., PLOS Digit. Health 3 (2024) e0000454",
    subject_rule="the column patient_id",
    eye_rule="the column exam_eye, 1 right and 2 left",
    label_meaning="grade: ICDR 0-4 (DR_ICDR) by one specialist; findings: the columns from "
    "diabetic_retinopathy to other that are 1, the empty set where none is; age; sex: 1 male and "
    "2 female; camera; quality: the verdict on the photograph",
    known_duplicates="none listed",
    unverified="the table itself, whose columns and codes for eye and sex we know from code that "
    "reads it; the wording of the licence",
    read=_read,
)

"""ODIR-5K: one Excel sheet, a row a patient, diagnostic keywords for each eye."""

import re

from foveola.datasets.adapters.base import Adapter, Layout, Record, column, text_set

CODES = "NDGCAHMO"
SHEETS = ("ODIR-5K_Training_Annotations*.xlsx", "data.xlsx")

NO_FUNDUS = {"anterior segment image", "no fundus image"}
# what is said of the picture and not of the eye
ABOUT_THE_PICTURE = {"lens dust", "low image quality", "image offset", "optic disk photographically invisible"}
# a part of a keyword, its code and its grade; the first that fits counts
RULES = (
    ("normal fundus", "N", 0),
    ("mild nonproliferative", "D", 1),
    ("moderate non proliferative", "D", 2),
    ("moderate nonproliferative", "D", 2),
    ("severe nonproliferative", "D", 3),
    ("proliferative diabetic", "D", 4),
    ("diabetic retinopathy", "D", None),
    ("proliferative retinopathy", "D", None),
    ("glaucoma", "G", None),
    ("cataract", "C", None),
    ("age-related macular degeneration", "A", None),
    ("hypertensive retinopathy", "H", None),
    ("myopi", "M", None),
)
# fundus photographs that the hospitals had processed; the challenge left their use open
PROCESSED = {
    *(f"{n}_left.jpg" for n in (2175, 2176, 2177, 2179, 2180, 2181, 2182, 2957)),
    *(f"{n}_right.jpg" for n in (2174, 2177, 2178, 2179, 2180, 2181, 2182, 2957)),
}


def _read(layout: Layout) -> list[Record]:
    rows = layout.table(*SHEETS)
    found = [_record(layout, row, eye) for row in rows for eye in ("left", "right")]
    return [record for record in found if record is not None]


def _record(layout: Layout, row: dict[str, str], eye: str) -> Record | None:
    name = column(row, f"{eye}-fundus")
    keywords = [
        word.strip().lower()
        for word in re.split("[,;\N{FULLWIDTH COMMA}]", column(row, f"{eye}-diagnostic keywords"))
        if word.strip()
    ]
    if NO_FUNDUS & set(keywords):
        return None
    codes, grade = label(keywords)
    return {
        "image": layout.image(name, within="train"),
        "subject": column(row, "ID"),
        "eye": eye,
        "grade": grade,
        "findings": text_set(codes) if codes else None,
        "subject_findings": text_set(code for code in CODES if column(row, code)[:1] == "1"),
        "keywords": ";".join(keywords),
        "age": column(row, "Patient Age"),
        "sex": column(row, "Patient Sex"),
        "processed": int(name in PROCESSED),
    }


def label(keywords: list[str]) -> tuple[set[str], int | None]:
    """Codes and grade of one eye; no codes where the keywords speak of the picture only.

    The worst grade that is named counts, a suspected one too, as in the official labels.
    "normal fundus" is grade 0; another disease alone says nothing of diabetic retinopathy and
    leaves the grade empty.
    """
    pairs = [_label(word) for word in keywords if word not in ABOUT_THE_PICTURE]
    grades = [grade for _, grade in pairs if grade is not None]
    return {code for code, _ in pairs}, max(grades, default=None)


def _label(keyword: str) -> tuple[str, int | None]:
    for part, code, grade in RULES:
        if part in keyword:
            return code, grade
    return "O", None


ADAPTER = Adapter(
    name="odir",
    title="ODIR-5K, training part",
    licence="no open licence: research use, by the challenge's terms",
    source="https://odir2019.grand-challenge.org/dataset/",
    citation="Li et al., A Benchmark of Ocular Disease Intelligent Recognition, Bench 2020",
    subject_rule="the column ID",
    eye_rule="the columns Left-Fundus and Right-Fundus",
    label_meaning="findings: N D G C A H M O of the eye by its keywords, empty where these speak "
    "of the picture only; subject_findings: the official eight labels of both eyes; grade: where "
    "the keywords name it, 0 for a normal fundus; keywords, age, sex; processed: 1 for 16 "
    "photographs with another background. Photographs said to be of the anterior segment or of "
    "no fundus are left out",
    known_duplicates="two pairs of patients are the same pictures; the check by content names byte-identical ones",
    unverified="the folder names of other copies than the challenge's; the words Training on the path decide",
    read=_read,
)

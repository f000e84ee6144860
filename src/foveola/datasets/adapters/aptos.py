"""APTOS 2019: train.csv and train_images/ of the Kaggle competition."""

from foveola.datasets.adapters.base import Adapter, Layout, Record, column


def _read(layout: Layout) -> list[Record]:
    return [
        {"image": layout.image(column(row, "id_code"), within="train"), "grade": column(row, "diagnosis")}
        for row in layout.table("train.csv")
    ]


ADAPTER = Adapter(
    name="aptos",
    title="APTOS 2019 Blindness Detection",
    licence="Kaggle competition rules: research and education, no redistribution",
    source="https://www.kaggle.com/c/aptos2019-blindness-detection",
    citation="Asia Pacific Tele-Ophthalmology Society, APTOS 2019 Blindness Detection, 2019",
    subject_rule="none published: every image counts as its own subject",
    eye_rule="none published",
    label_meaning="grade: ICDR 0-4 by one clinician; the test images have no published grade",
    known_duplicates="none listed; participants reported copies with different grades, "
    "which the check by content finds where they are byte-identical",
    unverified="the wording of the licence",
    read=_read,
)

"""DeepDRiD, regular fundus images: two views of each eye, grades and quality."""

from collections.abc import Iterator

from foveola.datasets.adapters.base import Adapter, Layout, Record, column

SHEETS = {"train": "regular-fundus-training.csv", "val": "regular-fundus-validation.csv"}
QUALITY = {"quality": "Overall quality", "artifact": "Artifact", "clarity": "Clarity", "field": "Field definition"}


def _read(layout: Layout) -> list[Record]:
    records: list[Record] = []
    for split, sheet in SHEETS.items():
        records += [_record(layout, row, split) for row in layout.table(sheet)]
    return [*records, *_evaluation(layout)]


def _record(layout: Layout, row: dict[str, str], split: str) -> Record:
    name = column(row, "image_id")
    left, right = column(row, "left_eye_DR_Level"), column(row, "right_eye_DR_Level")
    graded = "left" if left else "right" if right else None
    named = _eye(name)
    return {
        "image": layout.image(f"{name}.jpg"),
        "subject": column(row, "patient_id"),
        # patient 56 has views whose name and grade column name different eyes: then unknown
        "eye": named if graded in (named, None) else None,
        "grade": _grade(left or right),
        "split": split,
        "patient_grade": column(row, "patient_DR_Level"),
        **{key: column(row, source) for key, source in QUALITY.items()},
    }


def _evaluation(layout: Layout) -> Iterator[Record]:
    grades = layout.table_if_there("Challenge1_labels.xlsx", "Challenge1_labels.csv") or []
    sheets = layout.table_if_there("Challenge2_labels.xlsx", "Challenge2_labels.csv") or []
    quality = {column(row, "image_id"): row for row in sheets}
    for row in grades:
        name = column(row, "image_id")
        scores = quality.get(name)
        yield {
            "image": layout.image(f"{name}.jpg"),
            "subject": name.partition("_")[0],
            "eye": _eye(name),
            "grade": _grade(column(row, "DR_Levels")),
            "split": "test",
            **{key: column(scores, source) for key, source in QUALITY.items() if scores},
        }


def _eye(name: str) -> str | None:
    return {"l": "left", "r": "right"}.get(name.partition("_")[2][:1])


def _grade(level: str) -> str | None:
    return None if level.startswith("5") else level  # 5: could not be graded


ADAPTER = Adapter(
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
    known_duplicates="none listed",
    unverified="the content of Challenge1_labels.xlsx and Challenge2_labels.xlsx, whose columns "
    "we know from code that reads them; whether grade 5 occurs outside the ultra-widefield part",
    read=_read,
)

"""EyePACS as released by Kaggle in 2015: trainLabels.csv, retinopathy_solution.csv, N_left.jpeg."""

from collections.abc import Iterator

from foveola.datasets.adapters.base import Adapter, Layout, Record, column
from foveola.errors import ManifestError


def _read(layout: Layout) -> list[Record]:
    train = layout.table("trainLabels.csv")
    test = layout.table_if_there("retinopathy_solution.csv") or []
    return [*_records(layout, train, "train"), *_records(layout, test, "test")]


def _records(layout: Layout, rows: list[dict[str, str]], split: str) -> Iterator[Record]:
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


ADAPTER = Adapter(
    name="eyepacs",
    title="EyePACS, Kaggle Diabetic Retinopathy Detection 2015",
    licence="Kaggle competition rules: research use, no redistribution",
    source="https://www.kaggle.com/c/diabetic-retinopathy-detection",
    citation="Cuadros and Bresnick, J. Diabetes Sci. Technol. 3 (2009) 509-516",
    subject_rule="the number before _left or _right",
    eye_rule="_left or _right in the file name",
    label_meaning="grade: ICDR 0-4 by one clinician, noisy; split: train, or test where "
    "retinopathy_solution.csv is there; usage: Public or Private, the test part's two halves",
    known_duplicates="none listed",
    unverified="whether a person can have two numbers",
    read=_read,
)

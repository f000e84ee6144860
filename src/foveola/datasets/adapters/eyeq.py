"""EyeQ: quality of EyePACS photographs, Label_EyeQ_train.csv and Label_EyeQ_test.csv."""

import csv
from collections.abc import Iterator

from foveola.datasets.adapters.base import Adapter, Layout, Record, column
from foveola.errors import ManifestError

TABLES = {"train": "Label_EyeQ_train.csv", "test": "Label_EyeQ_test.csv"}
QUALITY = {"0": "good", "1": "usable", "2": "reject"}


def _read(layout: Layout) -> list[Record]:
    return [record for split, name in TABLES.items() for record in _records(layout, name, split)]


def _records(layout: Layout, table: str, split: str) -> Iterator[Record]:
    lines = layout.lines(table)
    if lines is None:
        raise layout.without(table)
    # the column of row numbers has no name, which a manifest may not have
    for row in csv.DictReader(lines, restval="", restkey=""):
        name, quality = column(row, "image"), column(row, "quality")
        subject, _, eye = name.rpartition(".")[0].rpartition("_")
        if not subject or eye not in ("left", "right"):
            raise ManifestError(f"{table}: image {name[:40]!r}; expected such as 10_left.jpeg")
        if quality not in QUALITY:
            raise ManifestError(f"{table}: quality {quality[:20]!r} of {name}; expected 0, 1 or 2")
        yield {
            "image": layout.image(name),
            "subject": subject,
            "eye": eye,
            "grade": column(row, "DR_grade"),
            "split": split,
            "quality": QUALITY[quality],
        }


ADAPTER = Adapter(
    name="eyeq",
    title="EyeQ, quality of EyePACS photographs",
    licence="labels: see the repository; photographs: Kaggle competition rules, research use, no redistribution",
    source="https://github.com/HzFu/EyeQ",
    citation="Fu et al., MICCAI 2019, LNCS 11764, 48-56",
    subject_rule="the number before _left or _right, the same as in eyepacs",
    eye_rule="_left or _right in the file name",
    label_meaning="quality: good, usable or reject (0, 1 and 2 in the tables); grade: ICDR 0-4 of "
    "EyePACS; split: EyeQ's own train and test, which are parts of those of EyePACS",
    known_duplicates="none listed",
    unverified="whether a person can have two numbers; whether EyeQ's parts keep to those of "
    "EyePACS throughout, of which we read the beginning of train",
    read=_read,
)

"""ChestX-ray14 of the NIH: Data_Entry_2017.csv and the official lists of train and test."""

from collections.abc import Iterable

from foveola.datasets.adapters.base import Adapter, Layout, Record, column, text_set
from foveola.errors import ManifestError

LISTS = {"train": "train_val_list.txt", "test": "test_list.txt"}
OLDEST = 120  # years; the first release has ages of up to 414


def _read(layout: Layout) -> list[Record]:
    rows = layout.table("Data_Entry_2017*.csv")
    splits = _splits(layout)
    first = _first_ages(rows)
    return [_record(layout, row, splits, first) for row in rows]


def _splits(layout: Layout) -> dict[str, str]:
    splits: dict[str, str] = {}
    for split, name in LISTS.items():
        for image in filter(None, map(str.strip, layout.lines(name) or [])):
            if splits.setdefault(image, split) != split:
                both = " and ".join(LISTS.values())
                raise ManifestError(f"{image} is in {both}; expected in one of them")
    return splits


def _first_ages(rows: Iterable[dict[str, str]]) -> dict[str, int]:
    """Age of each patient on the first radiograph, the one with the lowest follow-up number."""
    first: dict[str, tuple[int, int]] = {}
    for row in rows:
        age = _age(row)
        if age is not None:
            seen = (_follow_up(row), age)
            patient = column(row, "Patient ID")
            first[patient] = min(first.get(patient, seen), seen)
    return {patient: age for patient, (_, age) in first.items()}


def _record(layout: Layout, row: dict[str, str], splits: dict[str, str], first: dict[str, int]) -> Record:
    name, patient, age = column(row, "Image Index"), column(row, "Patient ID"), _age(row)
    years = None if age is None else age - first[patient]
    return {
        "image": layout.image(name),
        "subject": patient,
        "visit": None if years is None or years < 0 else 12 * years,
        "findings": text_set(_findings(column(row, "Finding Labels"))),
        **({"split": splits.get(name)} if splits else {}),
        "follow_up": _follow_up(row),
        "age": age,
        "sex": row.get("Patient Sex") or row.get("Patient Gender"),
        "view": column(row, "View Position"),
    }


def _findings(labels: str) -> list[str]:
    return ["normal" if label == "No Finding" else label for label in labels.split("|")]


def _follow_up(row: dict[str, str]) -> int:
    text = column(row, "Follow-up #")
    if not text.isdecimal():
        raise ManifestError(f"Follow-up # {text[:20]!r} in the table; expected a whole number")
    return int(text)


def _age(row: dict[str, str]) -> int | None:
    text = column(row, "Patient Age").removesuffix("Y")  # 058Y in the first release
    return int(text) if text.isdecimal() and int(text) <= OLDEST else None


ADAPTER = Adapter(
    name="chestxray14",
    title="ChestX-ray14 of the NIH Clinical Center",
    licence="free use with attribution to the NIH Clinical Center and the paper",
    source="https://nihcc.app.box.com/v/ChestXray-NIHCC",
    citation="Wang et al., CVPR 2017, 2097-2106",
    subject_rule="the column Patient ID",
    eye_rule="none: these are chest radiographs",
    label_meaning="findings: up to 14 names found in the report by program, normal for No "
    "Finding; visit: months since the patient's first radiograph, in whole years by the patient's "
    "age, as no date is published; follow_up: the column Follow-up #, a running number; view: PA "
    "or AP; age, sex; split: train by train_val_list.txt, test by test_list.txt, empty without",
    known_duplicates="none listed",
    unverified="the wording of the licence; that the lists keep patients apart is said by their "
    "authors and checked on reading",
    read=_read,
)

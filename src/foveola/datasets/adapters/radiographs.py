"""Radiographs, to compare with the literature on matching and retrieval: chests and knees."""

import csv
import re
from collections.abc import Iterable, Iterator

from foveola.datasets.adapters.base import Adapter, Layout, Record, column, text_set, whole
from foveola.errors import ManifestError

# --- ChestX-ray14 of the NIH: Data_Entry_2017.csv and the official lists of train and test ---


CHEST_LISTS = {"train": "train_val_list.txt", "test": "test_list.txt"}
CHEST_OLDEST = 120  # years; the first release has ages of up to 414


def _read_chestxray14(layout: Layout) -> Iterator[Record]:
    rows = layout.table("Data_Entry_2017*.csv")
    splits, first = _chest_splits(layout), _chest_first_ages(rows)
    for row in rows:
        name, patient, age = column(row, "Image Index"), column(row, "Patient ID"), _chest_age(row)
        years = None if age is None else age - first[patient]
        labels = column(row, "Finding Labels").split("|")
        yield {
            "image": layout.image(name),
            "subject": patient,
            "visit": None if years is None or years < 0 else 12 * years,
            "findings": text_set("normal" if label == "No Finding" else label for label in labels),
            **({"split": splits.get(name)} if splits else {}),
            "follow_up": _chest_follow_up(row),
            "age": age,
            "sex": row.get("Patient Sex") or row.get("Patient Gender"),
            "view": column(row, "View Position"),
        }


def _chest_splits(layout: Layout) -> dict[str, str]:
    splits: dict[str, str] = {}
    for split, name in CHEST_LISTS.items():
        for image in filter(None, map(str.strip, layout.lines(name) or [])):
            if splits.setdefault(image, split) != split:
                both = " and ".join(CHEST_LISTS.values())
                raise ManifestError(f"{image} is in {both}; expected in one of them")
    return splits


def _chest_first_ages(rows: Iterable[dict[str, str]]) -> dict[str, int]:
    """Age of each patient on the first radiograph, the one with the lowest follow-up number."""
    first: dict[str, tuple[int, int]] = {}
    for row in rows:
        age = _chest_age(row)
        if age is not None:
            seen = (_chest_follow_up(row), age)
            patient = column(row, "Patient ID")
            first[patient] = min(first.get(patient, seen), seen)
    return {patient: age for patient, (_, age) in first.items()}


def _chest_follow_up(row: dict[str, str]) -> int:
    text = column(row, "Follow-up #")
    if not text.isdecimal():
        raise ManifestError(f"Follow-up # {text[:20]!r} in the table; expected a whole number")
    return int(text)


def _chest_age(row: dict[str, str]) -> int | None:
    text = column(row, "Patient Age").removesuffix("Y")  # 058Y in the first release
    return int(text) if text.isdecimal() and int(text) <= CHEST_OLDEST else None


CHESTXRAY14 = Adapter(
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
    unverified="the wording of the licence; that the lists keep patients apart is said by their "
    "authors and checked on reading",
    read=_read_chestxray14,
)


# --- Osteoarthritis Initiative: one image a knee and visit, such as 9000099_12_L.png, and its tables ---
#
# Written from what is published and never run on the real files, which need a registration. From the OAI's
# description of its readings: the tables kxr_sq_bu00.txt and on, by visit; reading project 15 covers baseline
# to 48 months, and 37, for some people coded 42, all 96. From code that reads the files (Oulu-IMEDS/AdaTriplet
# at 60073c5 and others, which agree): bars between cells, ID, SIDE (1 right, 2 left), V00XRKL, V00SITE, P02SEX,
# the months behind each visit code, and the names of the images, which that code cuts out and names itself.
#
# Readings of ours: where projects differ on a knee, 15 counts before 37 and 37 before 42, while AdaTriplet
# keeps every row; a grade that begins with a point is a missing one.


OAI_MONTHS = {"00": 0, "01": 12, "03": 24, "05": 36, "06": 48, "08": 72, "10": 96}  # by visit code
OAI_SIDES = {"1": "right", "r": "right", "right": "right", "2": "left", "l": "left", "left": "left"}
OAI_SEXES = {"1": "male", "2": "female"}
OAI_PROJECTS = ("15", "37", "42")  # the first that has a grade counts
OAI_LISTS = ("PreprocessedData_Forensic.csv", "PreprocessedData.csv", "CropIMG_Path.csv")
OAI_NAME = r"(\d{7})_(v?\d+)m?_(?:.*_)?(left|right|l|r)"

Knee = tuple[str, int, str]  # subject, months, side


def _read_oai(layout: Layout) -> list[Record]:
    kl = _oai_grades(layout)
    people = {whole(column(row, "ID")): row for row in _oai_rows(layout, "Enrollees.txt")}
    return [
        {
            "image": image,
            "subject": knee[0],
            "eye": knee[2],
            "visit": knee[1],
            **({"kl": kl.get(knee)} if kl else {}),
            **further,
            **_oai_person(people.get(knee[0])),
        }
        for image, knee, further in _oai_knees(layout)
    ]


def _oai_knees(layout: Layout) -> Iterator[tuple[str | None, Knee, Record]]:
    """What AdaTriplet's own table lists, or else every image whose name tells its knee."""
    rows = layout.table_if_there(*OAI_LISTS)
    if rows is None:
        for image, match in layout.named(OAI_NAME, "image such as 9000099_12_L.png"):
            yield image, (match[1], _oai_months(match[2], image), OAI_SIDES[match[3]]), {}
        return
    for row in rows:
        path = column(row, "Path")
        knee = whole(column(row, "ID")), _oai_months(column(row, "Visit"), path), _oai_side(row, path)
        known = {key: whole(row[name]) for key, name in (("site", "Site"), ("age", "AGE")) if name in row}
        yield layout.image(path), knee, known


def _oai_person(row: dict[str, str] | None) -> Record:
    if row is None:
        return {}
    return {"site": column(row, "V00SITE"), "sex": OAI_SEXES.get(_oai_code(column(row, "P02SEX")))}


def _oai_grades(layout: Layout) -> dict[Knee, int]:
    """Kellgren-Lawrence grade of each knee that has one."""
    found: dict[Knee, tuple[int, int]] = {}
    for code, months in OAI_MONTHS.items():
        table = f"kxr_sq_bu{code}.txt"
        for row in _oai_rows(layout, table):
            grade = _oai_grade(column(row, f"V{code}XRKL"), table)
            if grade is not None:
                knee = whole(column(row, "ID")), months, _oai_side(row, table)
                read = _oai_rank(column(row, "READPRJ")), grade
                found[knee] = min(found.get(knee, read), read, key=lambda item: item[0])
    return {knee: grade for knee, (_, grade) in found.items()}


def _oai_rank(project: str) -> int:
    number = whole(project)
    return OAI_PROJECTS.index(number) if number in OAI_PROJECTS else len(OAI_PROJECTS)


def _oai_rows(layout: Layout, name: str) -> list[dict[str, str]]:
    """Rows of a table of the release, cells between bars; none where it is absent.

    The release writes kxr_sq_bu00.txt and KXR_SQ_BU00.txt, so the case of letters is free.
    """
    either = re.sub("[A-Za-z]", lambda c: f"[{c[0].lower()}{c[0].upper()}]", name)
    lines = layout.lines(either) or []
    bars = csv.DictReader(lines, delimiter="|", quoting=csv.QUOTE_NONE, restkey="", restval="")
    return list(bars)


def _oai_months(visit: str, where: str) -> int:
    """Months of "12", "00" or "12.0", and of a visit code such as "V01"."""
    text = whole(visit).lower()
    if text.startswith("v") and text[1:] in OAI_MONTHS:
        return OAI_MONTHS[text[1:]]
    if text.isdecimal() and int(text) in OAI_MONTHS.values():
        return int(text)
    raise ManifestError(
        f"{where}: visit {visit[:20]!r}; expected months, one of "
        f"{', '.join(map(str, OAI_MONTHS.values()))}, or a code such as V01"
    )


def _oai_side(row: dict[str, str], where: str) -> str:
    side = OAI_SIDES.get(_oai_code(column(row, "SIDE")).lower())
    if side is None:
        raise ManifestError(f"{where}: side {column(row, 'SIDE')[:20]!r}; expected 1 or R, 2 or L")
    return side


def _oai_grade(cell: str, where: str) -> int | None:
    code = whole(_oai_code(cell))
    if code in ("0", "1", "2", "3", "4"):
        return int(code)
    if not code or code.startswith("."):  # ".T: ..." tells why there is none
        return None
    raise ManifestError(f"{where}: Kellgren-Lawrence grade {cell[:20]!r}; expected 0 to 4")


def _oai_code(cell: str) -> str:
    """The code before its meaning: 1 of "1: Right"."""
    return cell.partition(":")[0].strip()


OAI = Adapter(
    name="oai",
    title="Osteoarthritis Initiative, radiographs of single knees",
    licence="registration and terms of the NIMH Data Archive",
    source="https://nda.nih.gov/oai/",
    citation="Nevitt et al., The Osteoarthritis Initiative, protocol for the cohort study (2006); "
    "as a benchmark of matching: Nguyen et al., MICCAI 2022",
    subject_rule="the ID, seven digits, first in the name; a person's two knees are one subject",
    eye_rule="the side of the knee: L or R at the end of the name",
    label_meaning="visit: months since baseline, 0, 12, 24, 36, 48, 72 or 96; kl: "
    "Kellgren-Lawrence grade 0-4 from kxr_sq_bu00.txt to kxr_sq_bu10.txt, which is no grade of "
    "the ICDR scale; site: the clinic A to E and sex, from Enrollees.txt; age and site from "
    "AdaTriplet's PreprocessedData.csv, which also says which images count, where it is there. "
    "The paper tests on site C and trains on the others",
    unverified="everything: written from the published documentation and from code that reads "
    "the files, never run on the real ones. Cut the knees out first: the release has DICOM files "
    "of both knees in one picture",
    read=_read_oai,
)

ADAPTERS = (CHESTXRAY14, OAI)

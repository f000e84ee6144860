"""Osteoarthritis Initiative: one image a knee and visit, such as 9000099_12_L.png, and its tables.

Written from what is published and never run on the real files, which need a registration. From
the OAI's description of its readings: the tables kxr_sq_bu00.txt and on, by visit; reading project
15 covers baseline to 48 months, and 37, for some people coded 42, all 96. From code that reads the
files (Oulu-IMEDS/AdaTriplet at 60073c5 and others, which agree): bars between cells, ID, SIDE
(1 right, 2 left), V00XRKL, V00SITE, P02SEX, the months behind each visit code, and the names of
the images, which that code cuts out and names itself.

Readings of ours: where projects differ on a knee, 15 counts before 37 and 37 before 42, while
AdaTriplet keeps every row; a grade that begins with a point is a missing one.
"""

import csv
import re
from collections.abc import Iterator

from foveola.datasets.adapters.base import Adapter, Layout, Record, column
from foveola.errors import ManifestError

MONTHS = {"00": 0, "01": 12, "03": 24, "05": 36, "06": 48, "08": 72, "10": 96}  # by visit code
SIDES = {"1": "right", "r": "right", "right": "right", "2": "left", "l": "left", "left": "left"}
SEXES = {"1": "male", "2": "female"}
PROJECTS = ("15", "37", "42")  # the first that has a grade counts
LISTS = ("PreprocessedData_Forensic.csv", "PreprocessedData.csv", "CropIMG_Path.csv")
NAME = r"(\d{7})_(v?\d+)m?_(?:.*_)?(left|right|l|r)"

Knee = tuple[str, int, str]  # subject, months, side


def _read(layout: Layout) -> list[Record]:
    kl = _kl(layout)
    people = {_number(column(row, "ID")): row for row in _rows(layout, "Enrollees.txt")}
    return [
        {
            "image": image,
            "subject": knee[0],
            "eye": knee[2],
            "visit": knee[1],
            **({"kl": kl.get(knee)} if kl else {}),
            **further,
            **_person(people.get(knee[0])),
        }
        for image, knee, further in _knees(layout)
    ]


def _knees(layout: Layout) -> Iterator[tuple[str | None, Knee, Record]]:
    """What AdaTriplet's own table lists, or else every image whose name tells its knee."""
    rows = layout.table_if_there(*LISTS)
    if rows is None:
        for image, match in layout.named(NAME, "image such as 9000099_12_L.png"):
            yield image, (match[1], _months(match[2], image), SIDES[match[3]]), {}
        return
    for row in rows:
        path = column(row, "Path")
        knee = _number(column(row, "ID")), _months(column(row, "Visit"), path), _side(row, path)
        known = {key: _number(row[name]) for key, name in (("site", "Site"), ("age", "AGE")) if name in row}
        yield layout.image(path), knee, known


def _person(row: dict[str, str] | None) -> Record:
    if row is None:
        return {}
    return {"site": column(row, "V00SITE"), "sex": SEXES.get(_code(column(row, "P02SEX")))}


def _kl(layout: Layout) -> dict[Knee, int]:
    """Kellgren-Lawrence grade of each knee that has one."""
    found: dict[Knee, tuple[int, int]] = {}
    for code, months in MONTHS.items():
        table = f"kxr_sq_bu{code}.txt"
        for row in _rows(layout, table):
            grade = _grade(column(row, f"V{code}XRKL"), table)
            if grade is not None:
                knee = _number(column(row, "ID")), months, _side(row, table)
                read = _rank(column(row, "READPRJ")), grade
                found[knee] = min(found.get(knee, read), read, key=lambda item: item[0])
    return {knee: grade for knee, (_, grade) in found.items()}


def _rank(project: str) -> int:
    number = _number(project)
    return PROJECTS.index(number) if number in PROJECTS else len(PROJECTS)


def _rows(layout: Layout, name: str) -> list[dict[str, str]]:
    """Rows of a table of the release, cells between bars; none where it is absent.

    The release writes kxr_sq_bu00.txt and KXR_SQ_BU00.txt, so the case of letters is free.
    """
    either = re.sub("[A-Za-z]", lambda c: f"[{c[0].lower()}{c[0].upper()}]", name)
    lines = layout.lines(either) or []
    bars = csv.DictReader(lines, delimiter="|", quoting=csv.QUOTE_NONE, restkey="", restval="")
    return list(bars)


def _months(visit: str, where: str) -> int:
    """Months of "12", "00" or "12.0", and of a visit code such as "V01"."""
    text = _number(visit).lower()
    if text.startswith("v") and text[1:] in MONTHS:
        return MONTHS[text[1:]]
    if text.isdecimal() and int(text) in MONTHS.values():
        return int(text)
    raise ManifestError(
        f"{where}: visit {visit[:20]!r}; expected months, one of "
        f"{', '.join(map(str, MONTHS.values()))}, or a code such as V01"
    )


def _side(row: dict[str, str], where: str) -> str:
    side = SIDES.get(_code(column(row, "SIDE")).lower())
    if side is None:
        raise ManifestError(f"{where}: side {column(row, 'SIDE')[:20]!r}; expected 1 or R, 2 or L")
    return side


def _grade(cell: str, where: str) -> int | None:
    code = _number(_code(cell))
    if code in ("0", "1", "2", "3", "4"):
        return int(code)
    if not code or code.startswith("."):  # ".T: ..." tells why there is none
        return None
    raise ManifestError(f"{where}: Kellgren-Lawrence grade {cell[:20]!r}; expected 0 to 4")


def _code(cell: str) -> str:
    """The code before its meaning: 1 of "1: Right"."""
    return cell.partition(":")[0].strip()


def _number(text: str) -> str:
    """Pandas writes 12 as 12.0 where a neighbour is empty."""
    return text.strip().removesuffix(".0")


ADAPTER = Adapter(
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
    known_duplicates="none listed",
    unverified="everything: written from the published documentation and from code that reads "
    "the files, never run on the real ones. Cut the knees out first: the release has DICOM files "
    "of both knees in one picture",
    read=_read,
)

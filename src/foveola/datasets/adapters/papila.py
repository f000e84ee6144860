"""PAPILA: an Excel sheet for right eyes and one for left eyes, photographs such as RET002OD.jpg."""

from collections.abc import Iterator

from foveola.datasets.adapters.base import Adapter, Layout, Record
from foveola.errors import ManifestError

SHEETS = {"OD": "patient_data_od.xlsx", "OS": "patient_data_os.xlsx"}
FINDINGS = {"0": "normal", "1": "glaucoma", "2": "glaucoma suspect"}
SEXES = {"0": "male", "1": "female"}


def _read(layout: Layout) -> list[Record]:
    return [record for eye in SHEETS for record in _records(layout, eye)]


def _records(layout: Layout, eye: str) -> Iterator[Record]:
    lines = layout.sheet(SHEETS[eye])
    # a header of three rows with joined cells stands above the first #002
    above = [line for line in lines if not line[0].startswith("#")]
    place = {title: _place(above, title, SHEETS[eye]) for title in ("diagnosis", "age", "gender")}
    for line in lines:
        if line[0].startswith("#"):
            number, sex = line[0].removeprefix("#"), line[place["gender"]]
            diagnosis = line[place["diagnosis"]]
            if diagnosis and diagnosis not in FINDINGS:
                raise ManifestError(f"{SHEETS[eye]}: diagnosis {diagnosis[:20]!r} of {line[0]}; expected 0, 1 or 2")
            yield {
                "image": layout.image(f"RET{number}{eye}.jpg"),
                "subject": number,
                "eye": eye,
                "findings": FINDINGS.get(diagnosis),
                "age": line[place["age"]],
                "sex": SEXES.get(sex, sex),
            }


def _place(above: list[list[str]], title: str, name: str) -> int:
    for line in above:
        for place, cell in enumerate(line):
            if cell.lower() == title:
                return place
    raise ManifestError(f"{name} has no column {title.title()!r} above its first patient")


ADAPTER = Adapter(
    name="papila",
    title="PAPILA, both eyes of one person for glaucoma",
    licence="not stated in the files read; see the page",
    source="https://figshare.com/articles/dataset/PAPILA/14798004",
    citation="Kovalyk et al., Sci. Data 9 (2022) 291",
    subject_rule="the number behind # in the sheets and in the file name",
    eye_rule="the sheet, OD right and OS left, as in the file name",
    label_meaning="findings: normal, glaucoma or glaucoma suspect, by diagnosis 0, 1 or 2 of the "
    "eye; age; sex: 0 male and 1 female; no grade, as DR is not graded",
    known_duplicates="none listed",
    unverified="the sheets themselves, whose header and codes we know from code that reads them; "
    "the wording of the licence",
    read=_read,
)

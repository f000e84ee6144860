"""RFMiD: 3,200 photographs with 45 findings, in three official parts."""

from foveola.datasets.adapters.base import Adapter, Layout, Record, column, text_set

# part: its label sheet, and a word on the path of its images; both releases fit
PARTS = {
    "train": ("*RFMiD_Training_Labels.csv", "train"),
    "val": ("*RFMiD_Validation_Labels.csv", "valid"),
    "test": ("*RFMiD_Testing_Labels.csv", "test"),
}


def _read(layout: Layout) -> list[Record]:
    return [_record(layout, row, split, word) for split, (sheet, word) in PARTS.items() for row in layout.table(sheet)]


def _record(layout: Layout, row: dict[str, str], split: str, word: str) -> Record:
    named = [key for key in row if key not in ("ID", "Disease_Risk")]
    return {
        "image": layout.image(column(row, "ID"), within=word),
        "findings": text_set(key for key in named if row[key] == "1"),
        "split": split,
        "disease_risk": column(row, "Disease_Risk"),
    }


ADAPTER = Adapter(
    name="rfmid",
    title="RFMiD, Retinal Fundus Multi-disease Image Dataset",
    licence="CC BY 4.0",
    source="https://ieee-dataport.org/open-access/retinal-fundus-multi-disease-image-dataset-rfmid",
    citation="Pachade et al., Data 6 (2021) 14",
    subject_rule="none published: every image counts as its own subject",
    eye_rule="none published",
    label_meaning="findings: the columns that are 1, in the data set's own abbreviations (DR, "
    "ARMD, MH, ...), the empty set for a normal fundus; disease_risk: 0 normal, 1 not; "
    "no grade, as DR is not graded; split: the official train, val and test",
    known_duplicates="none listed",
    unverified="the folder names, which differ between releases; the words train, valid and test on the path decide",
    read=_read,
)

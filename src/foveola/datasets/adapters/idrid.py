"""IDRiD, part B (disease grading): two label sheets, two folders of images."""

from foveola.datasets.adapters.base import Adapter, Layout, Record, column

SHEETS = {"train": "*IDRiD_Disease Grading_Training Labels.csv", "test": "*IDRiD_Disease Grading_Testing Labels.csv"}


def _read(layout: Layout) -> list[Record]:
    # both parts count from IDRiD_001, so the folder must be named: "a. Training Set"
    return [
        {
            "image": layout.image(column(row, "Image name"), within=split),
            "grade": column(row, "Retinopathy grade"),
            "split": split,
            "dme": column(row, "Risk of macular edema"),
        }
        for split, sheet in SHEETS.items()
        for row in layout.table(sheet, sheet.replace(" ", "_"))
    ]


ADAPTER = Adapter(
    name="idrid",
    title="IDRiD, disease grading",
    licence="CC BY 4.0",
    source="https://ieee-dataport.org/open-access/indian-diabetic-retinopathy-image-dataset-idrid",
    citation="Porwal et al., Data 3 (2018) 25",
    subject_rule="none published: every image counts as its own subject, though a few pairs show the same eye",
    eye_rule="none published",
    label_meaning="grade: ICDR 0-4; dme: risk of macular oedema 0-2 by exudates near the fovea; "
    "split: the official train and test",
    known_duplicates="training images that are byte-identical: 021 and 391, 045 and 333, "
    "079 and 279; the first two pairs carry different labels",
    unverified="other copies: the check by content names them",
    read=_read,
)

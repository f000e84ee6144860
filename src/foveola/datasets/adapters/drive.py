"""DRIVE: 40 photographs and their vessels in training/ and test/."""

from foveola.datasets.adapters.base import Adapter, Layout, Record

SPLITS = {"training": "train", "test": "test"}


def _read(layout: Layout) -> list[Record]:
    found = layout.named(r"(\d+)_(training|test)", "21_training.tif")
    return [
        {
            "image": path,
            "split": SPLITS[match[2]],
            "vessel_mask": layout.file(f"{match[1]}_manual1.*"),
            "vessel_mask_2": layout.file(f"{match[1]}_manual2.*"),
        }
        for path, match in found
    ]


ADAPTER = Adapter(
    name="drive",
    title="DRIVE, retinal vessels",
    licence="research use, after registration; see the page",
    source="https://drive.grand-challenge.org/",
    citation="Staal et al., IEEE Trans. Med. Imaging 23 (2004) 501-509",
    subject_rule="none published: every image counts as its own subject",
    eye_rule="none published",
    label_meaning="vessel_mask and vessel_mask_2: masks of the first and second observer, paths "
    "relative to the folder of the data set, empty where the release has none; split: the "
    "official train and test; no grade and no findings",
    known_duplicates="none listed",
    unverified="the wording of the licence; names and folders we know from code that reads them",
    read=_read,
)

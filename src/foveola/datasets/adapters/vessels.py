"""Sets whose vessels were drawn by two observers."""

import re

from foveola.datasets.adapters.base import Adapter, Layout, Record
from foveola.errors import ManifestError

# --- CHASE_DB1: both eyes of 14 children ---


CHASE_EYES = {"l": "left", "r": "right"}


def _read_chase(layout: Layout) -> list[Record]:
    found = layout.named(r"image_(\d+)([lr])", "Image_01L.jpg")
    return [
        {
            "image": path,
            "subject": match[1],
            "eye": CHASE_EYES[match[2]],
            "vessel_mask": layout.file(f"Image_{match[1]}{match[2].upper()}_1stHO.*"),
            "vessel_mask_2": layout.file(f"Image_{match[1]}{match[2].upper()}_2ndHO.*"),
        }
        for path, match in found
    ]


CHASE = Adapter(
    name="chase",
    title="CHASE_DB1, retinal vessels",
    licence="usually given as CC BY 4.0; see the page",
    source="https://blogs.kingston.ac.uk/retinal/chasedb1/",
    citation="Fraz et al., IEEE Trans. Biomed. Eng. 59 (2012) 2538-2548",
    subject_rule="the number in the file name",
    eye_rule="L or R in the file name",
    label_meaning="vessel_mask and vessel_mask_2: masks of the first and second observer, paths "
    "relative to the folder of the data set; no grade and no findings",
    known_duplicates="none listed",
    unverified="the wording of the licence",
    read=_read_chase,
)


# --- DRIVE: 40 photographs in training/ and test/ ---


DRIVE_SPLITS = {"training": "train", "test": "test"}


def _read_drive(layout: Layout) -> list[Record]:
    found = layout.named(r"(\d+)_(training|test)", "21_training.tif")
    return [
        {
            "image": path,
            "split": DRIVE_SPLITS[match[2]],
            "vessel_mask": layout.file(f"{match[1]}_manual1.*"),
            "vessel_mask_2": layout.file(f"{match[1]}_manual2.*"),
        }
        for path, match in found
    ]


DRIVE = Adapter(
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
    read=_read_drive,
)


# --- STARE: photographs im0001 and onwards ---


def _read_stare(layout: Layout) -> list[Record]:
    return [
        {
            "image": path,
            "vessel_mask": layout.file(f"{match.string}.ah.*"),
            "vessel_mask_2": layout.file(f"{match.string}.vk.*"),
        }
        for path, match in _stare_photographs(layout)
    ]


def _stare_photographs(layout: Layout) -> list[tuple[str, re.Match[str]]]:
    try:
        return layout.named(r"im\d{4}", "im0001.png")
    except ManifestError:
        if layout.file("im[0-9][0-9][0-9][0-9].ppm*"):
            raise ManifestError(
                f"{layout.folder}: the photographs are .ppm files, which Foveola does not read; "
                "convert them to .png under the same names"
            ) from None
        raise


STARE = Adapter(
    name="stare",
    title="STARE, retinal vessels",
    licence="none stated: research use",
    source="https://cecas.clemson.edu/~ahoover/stare/",
    citation="Hoover et al., IEEE Trans. Med. Imaging 19 (2000) 203-210",
    subject_rule="none published: every image counts as its own subject",
    eye_rule="none published",
    label_meaning="vessel_mask and vessel_mask_2: masks of Hoover (ah) and Kouznetsova (vk), "
    "paths relative to the folder of the data set, empty for photographs without; no grade and "
    "no findings. The official .ppm files must be converted, to .png for example",
    known_duplicates="none listed",
    unverified="the folder names, which do not matter; the table of diagnoses, which is not read; "
    "names we know from code that reads them",
    read=_read_stare,
)

ADAPTERS = (CHASE, DRIVE, STARE)

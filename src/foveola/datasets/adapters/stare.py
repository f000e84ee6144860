"""STARE: photographs im0001 and onwards, the vessels of 20 drawn by two observers."""

import re

from foveola.datasets.adapters.base import Adapter, Layout, Record
from foveola.errors import ManifestError


def _read(layout: Layout) -> list[Record]:
    return [
        {
            "image": path,
            "vessel_mask": layout.file(f"{match.string}.ah.*"),
            "vessel_mask_2": layout.file(f"{match.string}.vk.*"),
        }
        for path, match in _named(layout)
    ]


def _named(layout: Layout) -> list[tuple[str, re.Match[str]]]:
    try:
        return layout.named(r"im\d{4}", "im0001.png")
    except ManifestError:
        if layout.file("im[0-9][0-9][0-9][0-9].ppm*"):
            raise ManifestError(
                f"{layout.folder}: the photographs are .ppm files, which Foveola does not read; "
                "convert them to .png under the same names"
            ) from None
        raise


ADAPTER = Adapter(
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
    read=_read,
)

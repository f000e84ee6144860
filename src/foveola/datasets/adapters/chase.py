"""CHASE_DB1: both eyes of 14 children, the vessels drawn by two observers."""

from foveola.datasets.adapters.base import Adapter, Layout, Record

EYES = {"l": "left", "r": "right"}


def _read(layout: Layout) -> list[Record]:
    found = layout.named(r"image_(\d+)([lr])", "Image_01L.jpg")
    return [
        {
            "image": path,
            "subject": match[1],
            "eye": EYES[match[2]],
            "vessel_mask": layout.file(f"Image_{match[1]}{match[2].upper()}_1stHO.*"),
            "vessel_mask_2": layout.file(f"Image_{match[1]}{match[2].upper()}_2ndHO.*"),
        }
        for path, match in found
    ]


ADAPTER = Adapter(
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
    read=_read,
)

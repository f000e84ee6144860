"""JSIEC: 1,000 photographs in 39 folders, one a disease, such as "0.3.DR1"."""

import re
from pathlib import PurePosixPath

from foveola.datasets.adapters.base import Adapter, Layout, Record

CLASS = re.compile(r"\d+(?:\.\d+)?\.(.+)")


def _read(layout: Layout) -> list[Record]:
    found: dict[tuple[str, str], str] = {}
    for path in map(PurePosixPath, sorted(layout.photographs(), key=lambda path: path.count("/"))):
        label = CLASS.fullmatch(path.parent.name)
        if label:  # a copy may hold all folders once more, deeper: the first counts
            found.setdefault((label[1], path.name), str(path))
    if not found:
        raise layout.without("photograph in a folder such as 0.0.Normal/IMG.jpg")
    return [
        {"image": path, "findings": name, "grade": 0 if name == "Normal" else None}
        for (name, _), path in sorted(found.items())
    ]


ADAPTER = Adapter(
    name="jsiec",
    title="JSIEC, 1,000 fundus images of 39 categories",
    licence="not stated in the files read; see the page",
    source="https://www.kaggle.com/datasets/linchundan/fundusimage1000",
    citation="Cen et al., Nat. Commun. 12 (2021) 4828",
    subject_rule="none published: every image counts as its own subject",
    eye_rule="none published",
    label_meaning="findings: the folder without its number, one of 39 such as Normal, DR1 or "
    "Possible glaucoma; grade: 0 in Normal and empty elsewhere, as DR1, DR2 and DR3 are stages of "
    "the authors' own",
    known_duplicates="none listed",
    unverified="how DR1 to DR3 relate to ICDR grades; the folder names, which we know from code "
    "that reads them; the wording of the licence",
    read=_read,
)

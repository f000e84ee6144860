"""DDR, its grading part: train.txt, valid.txt and test.txt beside the folders they list."""

from collections.abc import Iterator

from foveola.datasets.adapters.base import Adapter, Layout, Record
from foveola.errors import ManifestError

PARTS = {"train": "train", "val": "valid", "test": "test"}
UNGRADABLE = "5"  # no grade of the ICDR scale


def _read(layout: Layout) -> list[Record]:
    # the parts for lesions have folders and lists of the same names
    folder = "DR_grading/" if layout.file("DR_grading/train.txt") else ""
    return [record for split, part in PARTS.items() for record in _records(layout, f"{folder}{part}", split)]


def _records(layout: Layout, part: str, split: str) -> Iterator[Record]:
    lines = layout.lines(f"{part}.txt")
    if lines is None:
        raise layout.without(f"{part}.txt")
    for number, line in enumerate(lines, start=1):
        name, _, grade = line.strip().rpartition(" ")
        if not grade:
            continue
        if not name or grade not in ("0", "1", "2", "3", "4", UNGRADABLE):
            raise ManifestError(
                f"{part}.txt, line {number}: {line.strip()[:40]!r}; expected the name of an image, a space and 0 to 5"
            )
        yield {
            "image": layout.image(name.strip(), within=part),
            "grade": None if grade == UNGRADABLE else grade,
            "split": split,
            "gradable": int(grade != UNGRADABLE),
        }


ADAPTER = Adapter(
    name="ddr",
    title="DDR, grading part",
    licence="not stated in the files read; see the repository",
    source="https://github.com/nkicsl/DDR-dataset",
    citation="Li et al., Inf. Sci. 501 (2019) 511-522",
    subject_rule="none published: every image counts as its own subject, though names such as "
    "007-0004-000.jpg may tell which belong together",
    eye_rule="none published",
    label_meaning="grade: ICDR 0-4, empty where the official label is 5, not gradable; gradable: "
    "0 or 1; split: the official train, val (valid) and test",
    known_duplicates="none listed",
    unverified="the lists themselves, whose names and form we know from code that reads them; "
    "what the three numbers of a file name mean",
    read=_read,
)

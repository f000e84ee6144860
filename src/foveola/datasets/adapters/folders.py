"""Any photographs sorted into one folder per class, below train, val and test or not."""

import logging
from pathlib import PurePosixPath

from foveola.datasets.adapters.base import Adapter, Layout, Record, are_grades
from foveola.errors import ManifestError

_log = logging.getLogger(__name__)
SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


def _read(layout: Layout) -> list[Record]:
    paths = layout.photographs()
    if said := layout.passed.said():
        _log.warning("%s", said)
    if not paths:
        raise layout.without("photograph in the folder of its class, such as normal/a.jpg")
    classes = [_class(layout, path) for path in paths]
    label = "grade" if are_grades(classes) else "findings"
    split = dict(zip(paths, map(_split, paths), strict=True))
    return [
        {"image": path, label: name, **({"split": split[path]} if any(split.values()) else {})}
        for path, name in zip(paths, classes, strict=True)
    ]


def _class(layout: Layout, path: str) -> str:
    name = PurePosixPath(path).parent.name
    if not name or name.lower() in SPLITS:
        raise ManifestError(
            f"{layout.folder}: {path} is in no folder of a class; expected such as normal/a.jpg or train/normal/a.jpg"
        )
    return name


def _split(path: str) -> str | None:
    return SPLITS.get(PurePosixPath(path).parent.parent.name.lower())


ADAPTER = Adapter(
    name="folders",
    title="any photographs, one folder per class",
    licence="that of your photographs",
    source="your own photographs",
    citation="none",
    subject_rule="unknown: every image counts as its own subject",
    eye_rule="unknown",
    label_meaning="grade where all folders are called 0 to 4 and some not 0 or 1, else findings: "
    "the name of the folder; split: the folder above, if it is called train, val or test",
    known_duplicates="the check by content names byte-identical ones",
    unverified="nothing: there is no official layout",
    read=_read,
)

"""Photographs of no particular set: one folder a class, or a set of Hugging Face datasets."""

import hashlib
import io
import logging
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from PIL import Image

from foveola.datasets.adapters.base import Adapter, Layout, Record, are_grades
from foveola.datasets.manifest import COLUMNS
from foveola.errors import ManifestError, MissingExtraError

_log = logging.getLogger(__name__)


# --- one folder per class, below train, val and test or not ---


SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


def _read_folders(layout: Layout) -> list[Record]:
    paths = layout.photographs()
    if said := layout.passed.said():
        _log.warning("%s", said)
    if not paths:
        raise layout.without("photograph in the folder of its class, such as normal/a.jpg")
    classes = [_folder_class(layout, path) for path in paths]
    label = "grade" if are_grades(classes) else "findings"
    split = {path: SPLITS.get(PurePosixPath(path).parent.parent.name.lower()) for path in paths}
    return [
        {"image": path, label: name, **({"split": split[path]} if any(split.values()) else {})}
        for path, name in zip(paths, classes, strict=True)
    ]


def _folder_class(layout: Layout, path: str) -> str:
    name = PurePosixPath(path).parent.name
    if not name or name.lower() in SPLITS:
        raise ManifestError(
            f"{layout.folder}: {path} is in no folder of a class; expected such as normal/a.jpg or train/normal/a.jpg"
        )
    return name


FOLDERS = Adapter(
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
    read=_read_folders,
)


# --- a data set of the library Hugging Face datasets that lies on disk; nothing is ever fetched ---
#
#     x/state.json                       saved by Dataset.save_to_disk("x")
#     x/train/state.json, x/test/...     saved by DatasetDict.save_to_disk("x"): a folder a split
#     train-00000-of-00002.parquet       files, .parquet or .arrow; a word in the path tells the split
#
# Photographs that are embedded are written to images/ beside the manifest, byte by byte as they are; those
# given by their path stay where they are.


SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "TIFF": ".tif", "WEBP": ".webp", "BMP": ".bmp"}
OWN = (*COLUMNS, "split", "group")  # what the manifest gives a meaning, in small letters
LABELS = ("label", "labels")
AT_ONCE = 16  # rows in memory, each with its photograph
LISTED = 20  # rows that can't be used, written out before the rest is only counted

_SPLIT = re.compile(rf"(?:^|[-_./])({'|'.join(sorted(SPLITS, key=len, reverse=True))})(?=[-_./])")

Features = Mapping[str, Any]  # the library's description of each column


class _Part(NamedTuple):
    """One split, or one file of it."""

    split: str  # "" where there is none
    features: Features
    rows: Iterator[Mapping[str, Any]]


def _read_huggingface(layout: Layout) -> list[Record]:
    paths = [path.parent for path in _files(layout, "state.json")] or [
        path for kind in ("*.parquet", "*.arrow") for path in _files(layout, kind)
    ]
    if not paths:
        raise layout.without("state.json, .parquet or .arrow file")
    _check(layout, {name: f for part in _parts(layout, paths) for name, f in part.features.items()})
    records: list[Record] = []
    faults: list[str] = []
    unusable: list[str] = []
    rows: Counter[str] = Counter()
    for part in _parts(layout, paths):
        chosen = _chosen(layout, part.features)
        for row in part.rows:
            where = f"{part.split or 'rows'}[{rows[part.split]}]"  # as the library counts
            rows[part.split] += 1
            try:
                labels = _labels(row, chosen, part)
            except ValueError as error:
                faults.append(f"{where}: {error}")
                continue
            try:
                records.append(_photograph(row[chosen["image"]], where, layout) | labels)
            except ValueError as error:
                unusable.append(f"{where}: {error}")
                records.append({"image": None} | labels)
                layout.missing.append(where)
    for line in _shortened(unusable):
        _log.warning("%s", line)
    if faults:
        raise ManifestError("\n  ".join([f"{layout.folder} has wrong labels:", *_shortened(faults)]))
    return records


def _shortened(lines: list[str]) -> list[str]:
    more = len(lines) - LISTED
    return [*lines[:LISTED], *([f"and {more} more"] if more > 0 else [])]


def _files(layout: Layout, pattern: str) -> list[Path]:
    """In order of path, without hidden ones, the library's scratch files and our own manifest."""
    own = layout.manifest.resolve() if layout.manifest else None
    return [
        path
        for path in sorted(layout.folder.rglob(pattern))
        if not re.match(r"[.~]|cache-|indices", path.name) and path.resolve() != own
    ]


def _parts(layout: Layout, paths: list[Path]) -> Iterator[_Part]:
    datasets = _library()
    for path in paths:
        with _readable(path):
            if path.suffix == ".parquet" and path.is_file():
                import pyarrow.parquet

                file = pyarrow.parquet.ParquetFile(path)
                features = datasets.Features.from_arrow_schema(file.schema_arrow)
                batches = file.iter_batches(batch_size=AT_ONCE)
            else:
                load = datasets.load_from_disk if path.is_dir() else datasets.Dataset.from_file
                table = load(str(path))
                features = table.features
                batches = table.with_format("arrow").iter(batch_size=AT_ONCE)
        yield _Part(_part_split(path, layout.folder), features, _rows(path, batches))


def _rows(path: Path, batches: Iterator[Any]) -> Iterator[Mapping[str, Any]]:
    with _readable(path):
        for batch in batches:
            yield from batch.to_pylist()


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise ManifestError(f"{path} can't be read by the library datasets: {reason}") from None


def _library() -> Any:
    try:
        import datasets
    except ImportError:
        raise MissingExtraError(
            "huggingface needs the library datasets, which is not installed. Run: pip install 'foveola[huggingface]'"
        ) from None
    return datasets


def _part_split(path: Path, folder: Path) -> str:
    """The folder's name in a saved DatasetDict, or the last word on the path that names a split."""
    if (path.parent / "dataset_dict.json").is_file():
        return path.name
    named: list[str] = _SPLIT.findall(f"{path.relative_to(folder).as_posix().lower()}/")
    return named[-1] if named else ""


def _check(layout: Layout, features: Features) -> None:
    """Refuse a column that the user named and no split has, or that can't be what it should."""
    for name, column in layout.columns.items():
        if column not in features:
            found = ", ".join(features)
            raise ManifestError(f"{layout.folder}: no column {column!r} for {name}; found {found}")
        fits = _may_hold_images if name == "image" else _is_plain
        if not fits(features[column]):
            what = "photographs" if name == "image" else "plain values"
            raise ManifestError(f"{layout.folder}: column {column!r} for {name} holds no {what}")


def _chosen(layout: Layout, features: Features) -> dict[str, str]:
    """Name in the manifest to name in the data set, of every column that is taken.

    What the user said goes first, then what is called the same, then the one column of images
    and the one called label; whatever else holds plain values follows under its own name.
    """
    chosen = {name: column for name, column in layout.columns.items() if column in features}
    free = {column: f for column, f in features.items() if column not in chosen.values()}
    own = [column for column in free if column.lower() in OWN]
    for column in own:
        chosen.setdefault(column.lower(), column)
    if not _may_hold_images(features.get(chosen.get("image", ""))):
        images = [column for column, feature in free.items() if _is_image(feature)]
        if len(images) != 1:
            count = "no column" if not images else f"{len(images)} columns"
            raise ManifestError(
                f"{layout.folder}: {count} of photographs; name it, such as "
                f"image={(images or list(features))[0]}; found {', '.join(features)}"
            )
        chosen["image"] = images[0]
    labels = [c for c in free if c.lower() in LABELS and _names(free[c])]
    if labels and not {"grade", "findings"} & set(chosen):
        names = _names(free[labels[0]]) or []
        chosen["grade" if are_grades(names) else "findings"] = labels[0]
    used = {*chosen, *chosen.values(), *own}
    return chosen | {c: c for c, f in free.items() if c not in used and _is_plain(f)}


def _names(feature: Any) -> list[str] | None:
    """Names of the classes of a ClassLabel, or of a list of them; None for anything else."""
    inner = getattr(feature, "feature", feature)
    return list(inner.names) if type(inner).__name__ == "ClassLabel" else None


def _is_image(feature: Any) -> bool:
    # a table that the library did not write has the bare structure
    bare = isinstance(feature, Mapping) and set(feature) == {"bytes", "path"}
    return bare or type(feature).__name__ == "Image"


def _may_hold_images(feature: Any) -> bool:
    kinds = ("binary", "large_binary", "string", "large_string")
    return _is_image(feature) or getattr(feature, "dtype", "") in kinds


def _is_plain(feature: Any) -> bool:
    inner = getattr(feature, "feature", feature)
    value = type(inner).__name__ == "Value" and "binary" not in inner.dtype
    return value or _names(feature) is not None


def _labels(row: Mapping[str, Any], chosen: Mapping[str, str], part: _Part) -> dict[str, Any]:
    record = {
        name: _value(row[column], column, _names(part.features[column]))
        for name, column in chosen.items()
        if name != "image"
    }
    split = SPLITS.get(part.split.lower(), part.split)
    return ({"split": split} if split else {}) | record


def _value(value: Any, column: str, names: list[str] | None) -> Any:
    """A cell, a class by its name; -1 is how the library says unlabelled."""
    if isinstance(value, list):
        items = (_value(item, column, names) for item in value)
        return [item for item in items if item is not None]
    if names is None or value is None:
        return value
    if not -1 <= value < len(names):
        raise ValueError(f"{column} {value}; expected a class from 0 to {len(names) - 1}, or -1")
    return None if value == -1 else names[value]


def _photograph(cell: Any, where: str, layout: Layout) -> dict[str, Any]:
    """The image's path, and the name it had where it was embedded with one."""
    if not isinstance(cell, Mapping):
        cell = {"path" if isinstance(cell, str) else "bytes": cell}
    data, path = cell.get("bytes"), cell.get("path")
    if data is not None:
        name = re.sub(r"\W+", "-", where).strip("-")
        digest = hashlib.sha256(data).hexdigest()[:16]
        image = layout.keep(f"images/{name}-{digest}{_suffix(data)}", data)
        return {"image": image, **({"original_name": Path(path).name} if path else {})}
    if not path:
        raise ValueError("no image")
    if "://" in path:
        raise ValueError("the image is at an address, and nothing is fetched")
    folder, file = layout.folder.absolute(), (layout.folder / path).absolute()
    if not file.is_file():
        raise ValueError(f"the image file is missing ({file})")
    return {"image": str(file.relative_to(folder) if file.is_relative_to(folder) else file)}


def _suffix(data: bytes) -> str:
    """The suffix that the head of the file calls for; the pixels are not decoded here."""
    try:
        with warnings.catch_warnings():
            # how large a photograph may be is decided where its pixels are decoded
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=[*SUFFIXES]) as image:
                return SUFFIXES.get(image.format or "", ".jpg")  # MPO, two JPEGs in one file
    except (OSError, SyntaxError, ValueError, KeyError, Image.DecompressionBombError):
        raise ValueError("the bytes are no JPEG, PNG, TIFF, WebP or BMP") from None


HUGGINGFACE = Adapter(
    name="huggingface",
    title="any data set of Hugging Face datasets that lies on disk",
    licence="that of the data set; see its card",
    source="https://huggingface.co/docs/datasets",
    citation="none",
    subject_rule="the column subject, or the one that is named for it",
    eye_rule="the column eye, or the one that is named for it",
    label_meaning="columns of the manifest's own names, in any case of letters, or as named; a "
    "column of classes called label: grade where the classes are called 0 to 4 "
    "and some not 0 or 1, else findings, the class's name; further columns of values as they are; "
    "split by the set's own; original_name: the name embedded with a photograph",
    known_duplicates="the check by content names byte-identical ones",
    unverified="nothing: there is no official layout. What the classes mean is the set's affair",
    read=_read_huggingface,
    asks_columns=True,
)

ADAPTERS = (FOLDERS, HUGGINGFACE)

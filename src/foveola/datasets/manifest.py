"""The manifest: one checked table of images, read from CSV, TSV, Parquet, pandas or a folder.

    image,subject,eye,visit,grade,findings,camera
    images/a_left.jpg,007,left,0,2,D;H,Topcon
    images/a_right.jpg,007,right,0,,,Topcon

Only `image` is needed. docs/how-to/datasets.md describes the columns for users.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pandas as pd

from foveola.datasets import cells
from foveola.datasets.tables import (
    DELIMITERS,
    PARQUET,
    Faults,
    TextTable,
    quoted,
    read_table,
    table_of_frame,
    write_table,
)
from foveola.errors import ManifestError
from foveola.images.kinds import SUFFIXES, PassedOver, kind_of, photographs_in
from foveola.records import RESERVED, Case, known_identifier
from foveola.resources import AnyPath

COLUMNS = ("image", "subject", "eye", "visit", "grade", "findings")


class Manifest:
    """A table of images whose every cell has been checked.

    Attributes:
        root: absolute folder that the paths in `image` are relative to.
        collection: name space of the subjects, "" unless the caller gave one.
        table: one row an image. `image`, `subject`, `eye` and `findings` are object columns of
            str, None where unknown; `findings` is sorted text, "C;D", and ";" is the empty set;
            `visit` is float64 (months) or object (ISO dates); `grade` is Int64 with NA where
            unlabelled. Further columns follow: int64, Int64, float64 or object of str.
    """

    def __init__(self, table: pd.DataFrame, root: Path, collection: str = "") -> None:
        self.table = table
        self.root = root
        self.collection = collection

    @classmethod
    def read(cls, path: AnyPath, *, collection: str = "", check_files: bool = True) -> Self:
        """Read a .csv, .tsv or .parquet file; paths in it are relative to its folder.

        Args:
            path: the file, UTF-8 if it is text, with or without a byte order mark.
            collection: name space of the subjects; "1" of one is not "1" of another.
            check_files: whether every image must be there.

        Raises:
            ManifestError: the file can't be read, or its cells are wrong; all faults are named
                with their rows, the header being row 1.
            MissingExtraError: it is Parquet and pyarrow is not installed.
        """
        path = Path(path)
        table = read_table(path)
        return cls.from_text(table, path.parent, path, collection=collection, check_files=check_files)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, root: AnyPath, *, collection: str = "", check_files: bool = True) -> Self:
        """Check a DataFrame whose paths are relative to root; see `read`.

        A further column of strings stays text, whatever the strings look like. Row numbers in
        errors count as in a spreadsheet: the first row of the frame is row 2.
        """
        table = table_of_frame(frame, "table")
        return cls.from_text(table, Path(root), "table", collection=collection, check_files=check_files)

    @classmethod
    def from_text(
        cls, raw: TextTable, root: AnyPath, where: Path | str, *, collection: str = "", check_files: bool = True
    ) -> Self:
        """Check text cells whose paths are relative to root; errors name the table where."""
        root = Path(root)
        _check_names(list(raw.columns), where)
        root = root.resolve()
        faults = Faults()
        values = _values(raw, faults)
        _check_duplicates(values["image"], raw.rows, root, faults)
        if check_files:
            _check_files(values["image"], raw.rows, root, faults)
        if "split" in values and "subject" in values:
            _check_splits(values["subject"], values["split"], raw.rows, faults)
        faults.raise_if_any(where)
        if not raw.rows:
            raise ManifestError(f"{where} lists no image; expected one row for each photograph")
        return cls(_frame(values, len(raw.rows)), root, collection)

    @classmethod
    def from_folder(cls, folder: AnyPath, *, collection: str = "", passed: PassedOver | None = None) -> Self:
        """List every photograph in folder and below, whatever its name, in order of path, all unknown.

        Args:
            folder: where to look; hidden files and folders, and linked folders, are passed over.
            collection: name space of the subjects.
            passed: counts what is passed over.

        Raises:
            ManifestError: there is no such folder, it can't be read, or no photograph is in it.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise ManifestError(f"{folder} is not a folder; expected a folder of photographs")
        passed = PassedOver() if passed is None else passed
        try:
            found = photographs_in(folder, passed)
            images = sorted(path.relative_to(folder).as_posix() for path in found)
        except OSError as error:
            raise ManifestError(f"{folder} can't be read: {error.strerror}") from None
        if not images:
            said = f"; {text}" if (text := passed.said()) else ""
            raise ManifestError(f"{folder} holds no photograph; looked for JPEG, PNG, TIFF, WebP and BMP{said}")
        return cls(_frame({"image": images}, len(images)), folder.resolve(), collection)

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        return f"Manifest({len(self)} images, root={str(self.root)!r})"

    def cases(self) -> Iterator[Case]:
        """Yield one Case a row, in the order of the table; an empty cell is left out of `extra`.

        5,000 rows with nine columns take 0.05 s.
        """
        values = {str(name): _plain(self.table[name]) for name in self.table.columns}
        image, subject, eye, visit, grade, found = (values.pop(name) for name in COLUMNS)
        sets = {text: cells.split_findings(text) for text in set(found) - {None}}
        root = str(self.root)
        for i, name in enumerate(image):
            yield Case(
                image=name,
                path=_joined(root, name),
                subject=subject[i],
                eye=eye[i],
                visit=visit[i],
                grade=grade[i],
                findings=None if found[i] is None else sets[found[i]],
                collection=self.collection,
                extra={key: column[i] for key, column in values.items() if column[i] is not None},
            )

    def write(self, path: AnyPath) -> None:
        """Write the table as .csv, .tsv or .parquet, whole or not at all.

        In another folder than root, relative paths are rewritten to lead to the same files.

        Raises:
            ManifestError: another suffix, or the folder can't be written to.
            MissingExtraError: it is Parquet and pyarrow is not installed.
        """
        path = Path(path)
        write_table(self._seen_from(path.parent.resolve()), path)

    def _seen_from(self, folder: Path) -> pd.DataFrame:
        if folder == self.root:
            return self.table
        moved = [
            name if Path(name).is_absolute() else Path(os.path.relpath(self.root / name, folder)).as_posix()
            for name in self.table["image"]
        ]
        return self.table.assign(image=pd.Series(moved, self.table.index, dtype=object))


def read_sources(sources: Sequence[AnyPath], collection: str = "", passed: PassedOver | None = None) -> list[Case]:
    """Read the cases of manifests, of folders of photographs, and of single photographs.

    Args:
        sources: what to read.
        collection: name space of the subjects.
        passed: counts what is passed over in folders.

    Raises:
        ManifestError: a manifest can't be read, or a folder holds no photograph.
    """
    cases: list[Case] = []
    for source in map(Path, sources):
        if source.is_dir():
            cases += Manifest.from_folder(source, collection=collection, passed=passed).cases()
        elif (suffix := source.suffix.lower()) in SUFFIXES or (
            suffix not in (*DELIMITERS, PARQUET) and kind_of(source) is None  # called like neither
        ):
            path = str(source.absolute())
            cases.append(Case(image=source.name, path=path, collection=collection))
        else:
            cases += Manifest.read(source, collection=collection).cases()
    return cases


def _values(raw: TextTable, faults: Faults) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, column in raw.columns.items():
        cells.check_broken(name, column, raw.rows, faults)
        if name in ("subject", "group"):
            told = cells.identifiers(name, column, raw.rows, faults)
            column = [one or "" for one in told]
        if name == "image":
            values[name] = cells.images(column, raw.rows, faults)
        elif name == "eye":
            values[name] = cells.eyes(column, raw.rows, faults)
        elif name == "visit":
            values[name] = cells.visits(column, raw.rows, faults)
        elif name == "grade":
            values[name] = cells.grades(column, raw.rows, faults)
        elif name == "findings":
            values[name] = cells.findings(column)
        elif name == "split":
            values[name] = [known_identifier(cell) for cell in column]
        elif name == "subject" or name in raw.texts:
            values[name] = cells.texts(column)
        else:
            values[name] = cells.further(name, column, raw.rows, faults)
    return values


def _frame(values: Mapping[str, Any], length: int) -> pd.DataFrame:
    """The canonical columns first, then the others, each with its own dtype."""
    order = [*COLUMNS, *(name for name in values if name not in COLUMNS)]
    none = [None] * length
    return pd.DataFrame({name: _series(name, values.get(name, none)) for name in order})


def _series(name: str, values: list[Any]) -> "pd.Series[Any]":
    kinds = {type(value) for value in values}
    if name == "grade" or (int in kinds and type(None) in kinds):
        return pd.Series(values, dtype="Int64")
    if int in kinds or float in kinds:
        return pd.Series(values, dtype="int64" if int in kinds else "float64")
    return pd.Series(values, dtype=object)


def _plain(series: "pd.Series[Any]") -> list[Any]:
    """Python values, not numpy's, and None for every kind of missing."""
    missing = series.isna().tolist()
    pairs = zip(series.tolist(), missing, strict=True)
    return [None if absent else value for value, absent in pairs]


def _joined(root: str, name: str) -> str:
    # pathlib would take ten times as long, and archives of a million rows pass here
    return os.path.normpath(os.path.join(root, name))  # noqa: PTH118


def _check_names(names: list[str], where: Path | str) -> None:
    for name in names:
        if name not in COLUMNS and name.lower() in COLUMNS:
            raise ManifestError(f"{where}: rename the column {quoted(name)} to {name.lower()!r}; case matters")
    if "image" not in names:
        found = ", ".join(quoted(name) for name in names[:8])
        raise ManifestError(f"{where}: no column 'image' with the paths of the photographs; found {found}")
    for name in names:
        if name not in COLUMNS and name.lower() in RESERVED:
            raise ManifestError(
                f"{where}: rename the column {quoted(name)}; every case has a field of that name, "
                "which is not told in a table"
            )


def _check_duplicates(images: list[str], rows: list[int], root: Path, faults: Faults) -> None:
    first: dict[str, int] = {}
    for image, row in zip(images, rows, strict=True):
        if image:
            before = first.setdefault(_joined(str(root), image), row)
            if before != row:
                faults.add(row, f"the image of row {before} again; list every image once")


def _check_files(images: list[str], rows: list[int], root: Path, faults: Faults) -> None:
    for image, row in zip(images, rows, strict=True):
        try:
            there = not image or os.path.isfile(root / image)  # noqa: PTH113, twice as fast
        except ValueError:  # an embedded null character
            there = False
        if not there:
            faults.add(row, "the image file is missing", f"{root / image}")


def _check_splits(subjects: list[str | None], splits: list[str | None], rows: list[int], faults: Faults) -> None:
    first: dict[str, tuple[str, int]] = {}
    for subject, split, row in zip(subjects, splits, rows, strict=True):
        if subject and split:
            before, other = first.setdefault(subject, (split, row))
            if before != split:
                faults.add(row, f"one subject in two splits, {quoted(before)} in row {other} and {quoted(split)} here")


# --- a data set in numbers: the data card, and the mark of a split; no subject is named ---


MOST_FINDINGS = 12  # in a card; the rest are counted together


def summarise(cases: Sequence[Case]) -> dict[str, Any]:
    """Summarise what a set of photographs holds, in plain types.

    Args:
        cases: of one data set, or of a part of it.

    Returns:
        images, subjects (of the images whose subject is known), subject_unknown, eyes, grades
        and findings with their counts ("unknown" where not given), columns (name to number of
        values known), and mark: 16 hexadecimal digits that change when any image is added, left
        out or renamed, but not with their order.
    """
    known = [case.subject for case in cases if case.subject is not None]
    findings = Counter(f for case in cases for f in case.findings or ())
    common = dict(findings.most_common(MOST_FINDINGS))
    rest = {f"{len(findings) - len(common)} others": findings.total() - sum(common.values())}
    columns = Counter(name for case in cases for name, value in case.extra.items() if value not in (None, ""))
    return {
        "images": len(cases),
        "subjects": len(set(known)),
        "subject_unknown": len(cases) - len(known),
        "eyes": _counts(case.eye for case in cases),
        "grades": _counts(case.grade for case in cases),
        "findings": common | (rest if len(findings) > len(common) else {}),
        "columns": dict(sorted(columns.items())),
        "mark": mark(cases),
    }


def mark(cases: Iterable[Case]) -> str:
    """Hash the names of the images, with which a split can be checked without being shown."""
    names = sorted(case.image for case in cases)
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def render_data_card(title: str, summary: Mapping[str, Any], terms: str = "") -> str:
    """Write the data card in Markdown.

    Args:
        title: of the data set.
        summary: from `summarise`.
        terms: under which the photographs may be used; says so where it is not known.
    """
    people = f"{summary['subjects']:,} subjects"
    if summary["subject_unknown"]:
        people += f", and {summary['subject_unknown']:,} images of unknown subjects"
    parts = [f"# {title}", f"{summary['images']:,} photographs of {people}. Images marked `{summary['mark']}`."]
    for name, one in (("grades", "grade"), ("eyes", "eye"), ("findings", "finding")):
        if set(summary[name]) - {"unknown"}:
            parts += [f"## {name.capitalize()}", _table(one, summary[name])]
    if summary["columns"]:
        parts += ["## Further columns", _table("column", summary["columns"], "images with a value")]
    parts += ["## Terms", terms or "Not stated. Ask who published the photographs."]
    return "\n\n".join(parts) + "\n"


def _table(name: str, counts: Mapping[str, int], what: str = "images") -> str:
    rows = [f"| {name} | {what} |", "|---|---|"]
    return "\n".join([*rows, *(f"| {key} | {count:,} |" for key, count in counts.items())])


def _counts(values: Iterable[object]) -> dict[str, int]:
    counts = Counter("unknown" if value is None else str(value) for value in values)
    return dict(sorted(counts.items()))

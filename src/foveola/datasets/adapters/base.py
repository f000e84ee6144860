"""What the adapters share: a declaration, a view of the official folder, the duplicate check."""

import hashlib
import os
import re
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from foveola.datasets.tables import read_table
from foveola.errors import ManifestError, MissingExtraError
from foveola.images.kinds import SUFFIXES, PassedOver, photographs_in
from foveola.resources import beside

Record = Mapping[str, Any]  # one row of the manifest; None or "" is an empty cell


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """How one official data-set layout becomes a manifest.

    Attributes:
        name: what a user types.
        title: name of the data set.
        licence: terms of use, as far as its authors state them.
        source: where it is published.
        citation: the paper to cite.
        subject_rule: how an image's subject is known.
        eye_rule: how left and right are known.
        label_meaning: what grade, findings and further columns say.
        known_duplicates: images that are known to be the same; others are found by content.
        unverified: what we could not check against the original files.
        read: the layout to records; `image` is a path relative to the folder, or absolute.
        asks_columns: whether the user may say which column is which, as in `Layout.columns`.
    """

    name: str
    title: str
    licence: str
    source: str
    citation: str
    subject_rule: str = "none published: every image counts as its own subject"
    eye_rule: str = "none published"
    label_meaning: str
    known_duplicates: str = "none listed"
    unverified: str
    read: Callable[["Layout"], Iterable[Record]]
    asks_columns: bool = False


@dataclass
class Layout:
    """A folder in which a data set was unpacked, at any depth and with or without extra levels.

    Attributes:
        folder: where to look.
        missing: photographs that the tables list and that are not there.
        columns: what the user said of the set's columns, name in the manifest to name there.
        manifest: the file to be written; what an adapter writes goes beside it.
        passed: counts what was passed over in search of photographs.
    """

    folder: Path
    missing: list[str] = field(default_factory=list)
    columns: Mapping[str, str] = field(default_factory=dict)
    manifest: Path | None = None
    passed: PassedOver = field(default_factory=PassedOver)

    def table(self, *names: str) -> list[dict[str, str]]:
        """Return the rows of the first of these CSV or Excel files that exists, every cell as text.

        Args:
            names: file names, "*" and "?" as wild cards; the first that is found is taken.

        Raises:
            ManifestError: none of them is in the folder or below.
        """
        rows = self.table_if_there(*names)
        if rows is None:
            raise self.without(" or ".join(names))
        return rows

    def table_if_there(self, *names: str) -> list[dict[str, str]] | None:
        """Return the same as `table`, but None where there is no such file."""
        for name in names:
            path = self._find(name)
            if path is not None:
                return _rows(path)
        return None

    def lines(self, name: str) -> list[str] | None:
        """Return the lines of a text file that is no regular table; None where there is none."""
        path = self._find(name)
        if path is None:
            return None
        return path.read_text(encoding="utf-8-sig", errors="replace").splitlines()

    def needed_lines(self, name: str) -> list[str]:
        """Return the same as `lines`; a file that is not there is a ManifestError."""
        found = self.lines(name)
        if found is None:
            raise self.without(name)
        return found

    def sheet(self, name: str) -> list[list[str]]:
        """Return the filled rows of an Excel file whose header is no single row, every cell as text.

        Raises:
            ManifestError: it is not in the folder or below.
        """
        path = self._find(name)
        if path is None:
            raise self.without(name)
        return _excel_lines(path)

    def file(self, name: str) -> str | None:
        """Return the path of a file that is no photograph, such as a mask, relative to the folder.

        Args:
            name: "*" and "?" are wild cards; None where there is no such file.
        """
        path = self._find(name)
        return None if path is None else path.relative_to(self.folder).as_posix()

    def without(self, what: str) -> ManifestError:
        """Make the error for a folder that lacks what the layout is known by."""
        return ManifestError(f"{self.folder}: found no {what}; expected the folder in which the data set was unpacked")

    def photographs(self) -> list[str]:
        """Return every photograph, by path relative to the folder and in its order."""
        return sorted(path for paths in self._photographs.values() for path in paths)

    def named(self, pattern: str, example: str) -> list[tuple[str, re.Match[str]]]:
        """Photographs of a set without a table, in order of name, each with its match.

        Args:
            pattern: fits the whole name without its suffix, in small letters.
            example: a name as published, for the error.

        Raises:
            ManifestError: none fits, or two go by one name.
        """
        matches = (re.fullmatch(pattern, stem) for stem in sorted(self._photographs))
        found = [(self.image(match.string), match) for match in matches if match]
        if not found:
            raise self.without(example)
        return [(path, match) for path, match in found if path is not None]

    def image(self, name: str, *, within: str = "") -> str | None:
        """Return the path of the photograph called name, relative to the folder; None, noted, if missing.

        Args:
            name: with or without a suffix; the case of letters and the suffix may differ,
                as copies of data sets are often converted.
            within: a word that one of the folders on the path contains, such as "train", or
                several in a row, such as "DR_grading/train".

        Raises:
            ManifestError: two photographs go by that name.
        """
        exact = Path(name).name.lower()
        stem = Path(exact).stem if Path(exact).suffix in SUFFIXES else exact
        candidates = [path for path in self._photographs[stem] if within.lower() in path.lower().rpartition("/")[0]]
        named = [path for path in candidates if Path(path).name.lower() == exact] or candidates
        if len(named) > 1:
            raise ManifestError(
                f"{self.folder}: two photographs are called {name}, {named[0]} and {named[1]}; keep one of them"
            )
        if not named:
            self.missing.append(name)
            return None
        return named[0]

    def keep(self, name: str, data: bytes) -> str:
        """Write a photograph that is no file yet beside the manifest, whole or not at all.

        Args:
            name: path from there; names its content, by a hash. A file of that name and size is
                left as it is; one of another size was cut off, and is written again.
            data: the file's bytes.

        Returns:
            Its path relative to the folder.
        """
        path = (self.manifest.parent if self.manifest else self.folder).resolve() / name
        if not path.is_file() or path.stat().st_size != len(data):
            path.parent.mkdir(exist_ok=True)
            with beside(path) as partial:
                partial.write_bytes(data)
                partial.replace(path)
        return Path(os.path.relpath(path, self.folder.resolve())).as_posix()

    def _find(self, name: str) -> Path | None:
        """The file with the shortest path; "._a.csv" and "~$a.xlsx" are traces of programs."""
        found = [path for path in self.folder.rglob(name) if path.name[0] not in ".~"]
        return min(found, key=lambda path: (len(path.parts), path), default=None)

    @cached_property
    def _photographs(self) -> dict[str, list[str]]:
        index: dict[str, list[str]] = defaultdict(list)
        for path in photographs_in(self.folder, self.passed):
            index[path.stem.lower()].append(path.relative_to(self.folder).as_posix())
        return index


def column(row: Mapping[str, str], name: str) -> str:
    """Return a cell by the name of its column, whatever the spaces and the case of letters.

    Raises:
        ManifestError: there is no such column.
    """
    for key, value in row.items():
        if key.strip().lower() == name.lower():
            return value.strip()
    raise ManifestError(f"the table has no column {name!r}; found {', '.join(row)}")


def whole(text: str) -> str:
    """Return a whole number as it was before pandas, which writes 12 as 12.0 where a neighbour is empty."""
    return text.strip().removesuffix(".0")


def are_grades(classes: Iterable[str]) -> bool:
    """Return whether names of classes are grades 0 to 4; 0 and 1 alone mean no and yes.

    >>> are_grades(["0", "2"]), are_grades(["0", "1"]), are_grades(["mild", "severe"])
    (True, False, False)
    """
    names = set(classes)
    return names <= {"0", "1", "2", "3", "4"} and not names <= {"0", "1"}


def find_duplicates(paths: Sequence[Path]) -> dict[int, int]:
    """Return the position of each file whose bytes an earlier one has, with that first one's.

    Only files of equal size are read, so that a clean set of 100 GB costs no more than a listing.
    """
    by_size: dict[int, list[int]] = defaultdict(list)
    for i, path in enumerate(paths):
        by_size[path.stat().st_size].append(i)
    copies: dict[int, int] = {}
    for group in by_size.values():
        first: dict[str, int] = {}
        for i in group if len(group) > 1 else ():
            with paths[i].open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if first.setdefault(digest, i) != i:
                copies[i] = first[digest]
    return copies


def text_set(items: Iterable[str]) -> str:
    """Write the cell of a set; an empty one is ";": looked at, nothing found.

    >>> text_set(["H", "D"]), text_set([])
    ('D;H', ';')
    """
    return ";".join(sorted(set(items))) or ";"


def _rows(path: Path) -> list[dict[str, str]]:
    if path.suffix.lower() == ".xlsx":
        header, *body = _excel_lines(path) or [[]]
        return [dict(zip(header, line, strict=False)) for line in body]
    table = read_table(path)
    columns = list(table.columns.values())
    return [dict(zip(table.columns, cells, strict=True)) for cells in zip(*columns, strict=True)]


def _excel_lines(path: Path) -> list[list[str]]:
    try:
        import openpyxl  # type: ignore[import-untyped]
    except ImportError:
        raise MissingExtraError(
            f"{path.name} is an Excel sheet and openpyxl is not installed. Run: pip install 'foveola[excel]'"
        ) from None
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        raise ManifestError(f"{path} is not an Excel sheet that can be read") from None
    try:
        lines = [["" if v is None else str(v).strip() for v in line] for line in book.active.values]
    finally:
        book.close()
    width = max(map(len, lines), default=0)  # sheets without a stated size have ragged rows
    return [line + [""] * (width - len(line)) for line in lines if any(line)]

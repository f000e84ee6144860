"""From an official data-set layout to a manifest.

    adapt("idrid", Path("B. Disease Grading"))  # writes B. Disease Grading/manifest.csv

A data set is declared among its like; `base` holds what they share.
"""

import difflib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pandas as pd

from foveola.datasets.adapters import findings, general, grading, radiographs
from foveola.datasets.adapters.base import Adapter, Layout, Record, find_duplicates
from foveola.datasets.manifest import Manifest
from foveola.datasets.tables import table_of_frame
from foveola.errors import ManifestError
from foveola.resources import AnyPath

_FAMILIES = (findings, general, grading, radiographs)
ADAPTERS: dict[str, Adapter] = {
    adapter.name: adapter
    for adapter in sorted((one for family in _FAMILIES for one in family.ADAPTERS), key=lambda one: one.name)
}

LABELS = ("grade", "findings", "dme")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Adapted:
    """A data set as a manifest, and what its user should know of it.

    Attributes:
        manifest: checked; `duplicate_of` is a column where files of equal content were found.
        missing: photographs that are listed and not there, left out.
        duplicates: images whose bytes an earlier one has.
        disagreeing: those of them that carry another grade, dme or set of findings.
    """

    manifest: Manifest
    missing: tuple[str, ...]
    duplicates: tuple[str, ...]
    disagreeing: tuple[str, ...]


def read_dataset(
    name: str,
    folder: AnyPath,
    *,
    missing: Literal["error", "skip"] = "error",
    columns: Mapping[str, str] | None = None,
    manifest: AnyPath | None = None,
) -> Adapted:
    """Read the official layout of the data set name in folder.

    Args:
        name: a key of ADAPTERS.
        folder: where the data set was unpacked, with or without levels between.
        missing: whether a photograph that is listed and not there is an error or left out.
        columns: for `huggingface`: name in the manifest to name of the column in the data set.
        manifest: for `huggingface`: where the manifest will be; photographs that are no files
            yet are written to images/ beside it, in folder by default.

    Raises:
        ManifestError: unknown name, no such folder, a table or photographs are missing, or the
            labels are not what they should be.
        MissingExtraError: the labels are an Excel sheet and openpyxl is not installed, or the set
            is of the library datasets and that is not.
    """
    if missing not in ("error", "skip"):
        raise ValueError(f"missing is 'error' or 'skip', got {missing!r}")
    folder = Path(folder)
    if not folder.is_dir():
        raise ManifestError(f"{folder} is not a folder; expected where the data set was unpacked")
    if name not in ADAPTERS:
        close = difflib.get_close_matches(name.lower(), ADAPTERS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(ADAPTERS)}"
        raise ManifestError(f"unknown data set {name!r}; {hint}")
    adapter = ADAPTERS[name]
    if columns and not adapter.asks_columns:
        asking = ", ".join(key for key, other in ADAPTERS.items() if other.asks_columns)
        raise ManifestError(f"the columns of {name} are known; name columns for {asking} only")
    target = None if manifest is None else Path(manifest)
    layout = Layout(folder, columns=columns or {}, manifest=target)
    records = list(adapter.read(layout))
    if layout.missing and missing == "error":
        raise ManifestError(
            f"{folder}: {len(layout.missing)} of {len(records)} listed photographs are missing, "
            f"{layout.missing[0]} first; fetch them or skip the missing"
        )
    return _adapted([record for record in records if record["image"]], layout)


def adapt(
    name: str,
    folder: AnyPath,
    out: AnyPath | None = None,
    *,
    missing: Literal["error", "skip"] = "error",
    overwrite: bool = False,
    columns: Mapping[str, str] | None = None,
) -> Path:
    """Write the manifest of a data set and return its path; warn of duplicates by logging.

    Args:
        name: a key of ADAPTERS.
        folder: where the data set was unpacked.
        out: a .csv, .tsv or .parquet file, or a folder for manifest.csv; FOLDER by default.
        missing: see read_dataset.
        overwrite: replace a file that says something else. The same content is no overwriting.
        columns: see read_dataset.

    Raises:
        ManifestError: see read_dataset; or out exists and says something else.
    """
    target = Path(folder if out is None else out)
    if target.suffix not in (".csv", ".tsv", ".parquet"):
        target /= "manifest.csv"
    if not target.parent.is_dir():
        raise ManifestError(f"{target.parent} is not a folder; make it first")
    adapted = read_dataset(name, folder, missing=missing, columns=columns, manifest=target)
    _write(adapted.manifest, target, overwrite=overwrite)
    if adapted.missing:
        _log.warning("%d listed photographs are missing and left out", len(adapted.missing))
    if adapted.duplicates:
        _log.warning(
            "%d images are copies of others, see the column duplicate_of; %d of them are labelled "
            "otherwise than the first%s",
            len(adapted.duplicates),
            len(adapted.disagreeing),
            f": {', '.join(adapted.disagreeing[:5])}" if adapted.disagreeing else "",
        )
    return target


def _adapted(records: list[Record], layout: Layout) -> Adapted:
    frame = pd.DataFrame(records, dtype=object)
    if frame.empty:
        raise ManifestError(f"{layout.folder}: none of the listed photographs is there")
    copies = find_duplicates([layout.folder / str(image) for image in frame["image"]])
    names = frame["image"].tolist()
    if copies:
        firsts = [names[copies[i]] if i in copies else None for i in range(len(names))]
        frame["duplicate_of"] = pd.Series(firsts, dtype=object)
    table = replace(table_of_frame(frame, layout.folder), texts=frozenset())
    manifest = Manifest.from_text(table, layout.folder, layout.folder)
    labels = manifest.table.reindex(columns=list(LABELS)).astype(object)
    rows = list(labels.where(labels.notna(), None).itertuples(index=False, name=None))
    disagreeing = tuple(names[i] for i, first in copies.items() if rows[i] != rows[first])
    duplicates = tuple(names[i] for i in copies)
    return Adapted(manifest, tuple(layout.missing), duplicates, disagreeing)


def _write(manifest: Manifest, target: Path, *, overwrite: bool) -> None:
    """Write beside target, compare, then rename: what a user has edited is never lost."""
    fresh = target.with_name(f".new.{target.name}")
    try:
        manifest.write(fresh)
        if target.exists() and not overwrite and fresh.read_bytes() != target.read_bytes():
            raise ManifestError(f"{target} exists and says something else; allow overwriting it, or name another file")
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)

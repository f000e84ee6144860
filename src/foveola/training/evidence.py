"""The comparison of methods: rows of a table, trained on folds of subjects and kept.

A file of rows says what all have in common and in what each differs:

    [common]                  # any part of a TrainConfig
    [[rows]]
    name = "mirror"           # of the folder
    title = "mirror attention, fine triplet"
    model = { attention = "mirror" }

Row R trained for fold F is OUT/R/fold-F, with model.safetensors and descriptors.npy, one
descriptor for every labelled photograph. What is there is not made again.
"""

import json
import shutil
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import lightning
import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save_file

from foveola.config import from_mapping
from foveola.errors import ConfigError
from foveola.files import write_whole
from foveola.models.descriptor import DescriptorModel
from foveola.resources import beside
from foveola.training.config import ReadingConfig, TrainConfig
from foveola.training.maps import describe_all
from foveola.training.prepared import Prepared, Report, contract_of, prepare_data
from foveola.training.run import Run, build_model

C = TypeVar("C", TrainConfig, ReadingConfig)


@dataclass(frozen=True)
class Row(Generic[C]):
    """One row of the table.

    Attributes:
        name: of its folder.
        title: in the table.
        config: how it is trained; its fold is set for each run.
        trained: False for a network taken as it is.
    """

    name: str
    title: str
    config: C
    trained: bool = True


def read_rows(path: Path, kind: type[C] = TrainConfig) -> list[Row[C]]:  # type: ignore[assignment]
    """Read the rows of a file.

    Args:
        path: TOML.
        kind: what each row is a configuration of.

    Raises:
        ConfigError: it can't be read, a row is wrong, or two have one name.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    common = table.get("common", {})
    rows = [_row(common, values, path, kind) for values in table.get("rows", [])]
    names = [row.name for row in rows]
    if not rows or len(set(names)) < len(names):
        raise ConfigError(f"{path}: expected [[rows]], each with a name of its own, got {names}")
    return rows


def _row(common: Mapping[str, Any], values: dict[str, Any], path: Path, kind: type[C]) -> Row[C]:
    own = {key: value for key, value in values.items() if key not in ("title", "trained")}
    where = f"{path}: row {values.get('name', '?')}"
    config = from_mapping(kind, _merged(common, own), where=where)
    return Row(config.name, values.get("title", config.name), config, values.get("trained", True))


def _merged(common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The common values, with a row's own in their place, table by table."""
    merged = dict(common)
    for key, value in own.items():
        inner = merged.get(key)
        both = isinstance(inner, Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(inner, value) if both else value  # type: ignore[arg-type]
    return merged


def folder_of(out: Path, row: Row[C], fold: int) -> Path:
    """Return where a row keeps what it made of a fold."""
    return out / row.name / f"fold-{fold}"


def train_row(row: Row[TrainConfig], fold: int, base: Path, out: Path, report: Report = print) -> Path:
    """Train a row on all folds but one, describe every photograph, and keep both.

    Args:
        row: which.
        fold: held out; also the seed of the run.
        base: folder that the configuration's paths are relative to.
        out: folder of the table.
        report: receives one line at each step.

    Returns:
        Its folder. `descriptors.npy` (N, D) float16 goes with `cases.json`: of each of the N
        its collection, image, and whether it was held out.
    """
    folder = folder_of(out, row, fold)
    if (folder / "descriptors.npy").exists():
        return folder
    data = replace(row.config.data, fold=fold)
    config = replace(row.config, data=data, seed=row.config.seed + fold)
    folder.mkdir(parents=True, exist_ok=True)
    report(f"{row.name}, fold {fold}")
    if row.trained:
        run = Run.of(config, base, folder, report)
        run.fit()
        prepared, model = run.data, run.model
    else:
        lightning.seed_everything(config.seed, verbose=False)
        prepared = prepare_data(config, base, folder, lambda _: None)
        model = build_model(config, base)
    cache = base / data.cache if data.variants else None
    made = describe_all(model, prepared.images, contract_of(config.model), cache, report)
    _keep(folder, model, made, prepared)
    return folder


def _keep(folder: Path, model: DescriptorModel, made: NDArray[np.float32], prepared: Prepared) -> None:
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "model.safetensors")
    held = set(prepared.held.tolist())
    cases = [
        {"collection": case.collection, "image": case.image, "held": i in held} for i, case in enumerate(prepared.cases)
    ]
    write_whole(folder / "cases.json", json.dumps(cases).encode())
    with beside(folder / "descriptors.npy") as partial, partial.open("wb") as file:
        np.save(file, made.astype(np.float16))
        file.flush()
        partial.rename(folder / "descriptors.npy")  # last: its presence says all is there


def read_entries(folder: Path) -> list[tuple[str, str, bool]]:
    """Read collection, image and whether it was held out, of each photograph of a row's fold."""
    entries = json.loads((folder / "cases.json").read_text(encoding="utf-8"))
    return [(entry["collection"], entry["image"], entry["held"]) for entry in entries]


def read_descriptors(folder: Path, entries: Sequence[tuple[str, str, bool]]) -> NDArray[np.float32]:
    """Read a row's descriptors of a fold in the order of these entries, whatever order they were made in.

    Raises:
        ConfigError: it was made of other photographs, or others of them were held out.
    """
    own = read_entries(folder)
    at = {entry: i for i, entry in enumerate(own)}
    if set(own) != set(entries) or len(own) != len(entries):
        raise ConfigError(
            f"{folder} was made of other photographs or another split than the rest of the table; "
            "delete it and train it again"
        )
    made: NDArray[np.float32] = np.load(folder / "descriptors.npy").astype(np.float32)
    return made[[at[entry] for entry in entries]]


def train_rows(
    path: Path, out: Path, folds: int = 3, report: Report = print
) -> Iterator[tuple[Row[TrainConfig], int, Path]]:
    """Train what is not there yet, all rows of a fold before the next fold."""
    rows = read_rows(path)
    for fold in range(folds):
        for row in rows:
            yield row, fold, train_row(row, fold, path.parent, out, report)

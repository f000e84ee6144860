"""The losses of paper 2, side by side, under its protocol (docs/explanation/methods.md, section 2).

    python benchmarks/rematch.py recipes/matching.toml OUT [--set NAME ...] [--row NAME ...]
                                 [--folds 3]

Trains each row on all folds of subjects but one, each fold with a seed of its own, and lets the
people of that fold be found again: their first visits are ranked, later ones ask; where no visit
is recorded, every photograph asks all others. Prints the published table's format, in Markdown:
mean over the folds and standard error of that mean, then verification over all folds.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from foveola.datasets.manifest import Manifest
from foveola.matching import MatchingEvaluation, Protocol, evaluate_matching
from foveola.matching.evaluation import published_table
from foveola.notebook import piped
from foveola.records import Case
from foveola.training.config import TrainConfig
from foveola.training.evidence import Row, read_descriptors, read_entries, read_rows, train_row
from foveola.training.prepared import collections_of

DATA = "../../shared/data"


@dataclass(frozen=True)
class Photographs:
    """A kind of photographs: what of the rows' configuration it changes, and how it is judged."""

    title: str
    protocol: Protocol
    manifests: tuple[str, ...] = ()
    label: str = "eye"
    whole: bool = False  # the whole frame, of a radiograph


SETS = {
    "phantoms": Photographs("phantoms, 8 yearly visits", Protocol()),
    "tvhl": Photographs(
        "TVHL, fundus photographs of one visit", Protocol(gallery="others"), (f"{DATA}/tvhl/labels.csv",)
    ),
    "kermany": Photographs(
        "Kermany, chest X-rays of one episode",
        Protocol(identity="subject", gallery="others"),
        (f"{DATA}/kermany_cxr/labels.csv",),
        "subject",
        True,
    ),
    "hannover": Photographs(
        "Hannover, chest X-rays with follow-ups",
        Protocol(identity="subject", time="admission_offset", unit="days", edges=(3, 7, 30)),
        (f"{DATA}/hannover_cxr/labels.csv",),
        "subject",
        True,
    ),
    "chest": Photographs(
        "chest X-rays of both sets",
        Protocol(identity="subject", gallery="others"),
        (f"{DATA}/kermany_cxr/labels.csv", f"{DATA}/hannover_cxr/labels.csv"),
        "subject",
        True,
    ),
}


def main() -> None:
    """Train what is missing, judge, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--set", action="append", choices=SETS, dest="sets")
    parser.add_argument("--row", action="append", help="only these")
    parser.add_argument("--folds", type=int, default=3)
    arguments = parser.parse_args()
    base = arguments.rows.parent
    for name in arguments.sets or SETS:
        of, out = SETS[name], arguments.out / name
        results: dict[str, list[MatchingEvaluation]] = {}
        rows = [row for row in read_rows(arguments.rows) if not arguments.row or row.name in arguments.row]
        for row in (changed(row, of) for row in rows):
            for fold in range(arguments.folds):
                folder = train_row(row, fold, base, out, print)
                results.setdefault(row.title, []).append(judge(row, folder, base, of))
        print(f"\n### {of.title}\n")
        print(piped(published_table(results, ("mAP", "mAP@R", "CMC@1", "rank-1"))))
        print()
        print(piped(verified(results)), flush=True)


def changed(row: Row[TrainConfig], of: Photographs) -> Row[TrainConfig]:
    """The row for this kind of photographs."""
    config = row.config
    if of.manifests:
        data = replace(config.data, manifests=of.manifests, label=of.label)
        model = replace(config.model, field_of_view=not of.whole)
        config = replace(config, data=data, model=model)
    return replace(row, config=config)


def judge(row: Row[TrainConfig], folder: Path, base: Path, of: Photographs) -> MatchingEvaluation:
    """The held-out people of a fold."""
    data = row.config.data
    known = {
        (case.collection, case.image): case
        for path, collection in collections_of(data.manifests, data.collections, base).items()
        for case in Manifest.read(path, collection=collection).cases()
    }
    entries = read_entries(folder)
    rows = read_descriptors(folder, entries)
    held = np.array([held for *_, held in entries])
    cases: list[Case] = [known[collection, image] for collection, image, _ in entries]
    kept = np.flatnonzero(held)
    return evaluate_matching(rows[kept], [cases[i] for i in kept], of.protocol)


def verified(results: dict[str, list[MatchingEvaluation]]) -> list[list[str]]:
    """AUC and EER of each loss: mean over the folds and standard error."""
    table = [["loss", "AUC", "EER, %"]]
    for loss, runs in results.items():
        seen = [run.found.verification for run in runs]
        auc = [v.auc.value for v in seen if v is not None]
        eer = [100 * v.eer.value for v in seen if v is not None]
        table.append([loss, spread(auc, 4), spread(eer, 2)])
    return table


def spread(values: list[float], decimals: int) -> str:
    """Mean ± standard error, which one value does not have."""
    mean = f"{np.mean(values):.{decimals}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ± {np.std(values, ddof=1) / np.sqrt(len(values)):.{decimals}f}"


if __name__ == "__main__":
    main()

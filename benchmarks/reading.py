"""Readers of both eyes, side by side, on people that none was trained on.

    python benchmarks/reading.py recipes/reading.toml OUT [--seeds 3] [--row NAME ... | --beside]
                                [--once NAME ...] [--card]

Trains each row with each seed, all on one split of the people, and lets it read those held back:
with both eyes, with the left or the right one alone, and with the two exchanged. What a run said
is kept as OUT/ROW/seed-S/said.npz and not made again; --once names rows that have the first seed
alone. Below them stand the shipped reader and what the released descriptor says without one, of
people who are split alike; --beside prints these alone and trains nothing. Prints Markdown: means
over the seeds and the standard error of the mean, and for the shipped reader intervals over people;
--card chooses the shipped reader's thresholds for one eye alone anew and writes the figures into
its card.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from reading_shipped import OTHER, alone_again, shipped, single, write_card
from reading_votes import K, by_descriptor
from rematch import spread

from foveola.encoders.reading_model import DEFAULT_READER
from foveola.metrics.multilabel import ODIR, ReadingEvaluation, evaluate_reading
from foveola.notebook import piped
from foveola.training.config import PeopleConfig, ReadingConfig
from foveola.training.evidence import Row, read_rows
from foveola.training.prepared import HELD
from foveola.training.reading import ReaderRun, train_reader

FIGURES = ("final", "kappa", "F1 (official)", "AUC", "macro-AUC", "mAP", "ECE")
TITLES = {
    "votes": f"votes of {K} nearest people, released descriptor",
    "shipped": f"{DEFAULT_READER}, as shipped",
    "fused": f"{DEFAULT_READER}, were one eye told by the fusion",
    "regression": "logistic regression, released descriptor",
}
MEAN = f"mean of {DEFAULT_READER} and the logistic regression"
CHOSEN = ("final", "macro-F1", "exact match")  # with the thresholds of the validation people
Arrays = dict[str, NDArray[np.float64]]


def main() -> None:
    """Train what is missing, judge, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--row", action="append", default=[], help="only these")
    parser.add_argument("--beside", action="store_true", help="only what is shipped")
    parser.add_argument("--once", action="append", default=[], help="with the first seed alone")
    parser.add_argument("--card", action="store_true", help="write the shipped reader's card")
    arguments = parser.parse_args()
    rows = read_rows(arguments.rows, ReadingConfig)
    names = {row.name for row in rows}
    if unknown := {*arguments.row, *arguments.once} - names:
        parser.error(f"{arguments.rows} has no row {', '.join(sorted(unknown))}; it has {', '.join(sorted(names))}")
    wanted = [] if arguments.beside else arguments.row or names
    said: dict[str, list[Arrays]] = {}
    for seed in range(arguments.seeds):  # all rows once, then again: a table is there early
        for row in rows:
            if row.name in wanted and not (seed and row.name in arguments.once):
                folder = arguments.out / row.name / f"seed-{seed}"
                said.setdefault(row.title, []).append(kept(row, seed, arguments.rows.parent, folder))
    if arguments.card:
        alone_again(rows[0].config.data, arguments.rows.parent, arguments.out / "beside")
        (arguments.out / "shipped.npz").unlink(missing_ok=True)
    beside = kept_beside(rows[0].config.data, arguments.rows.parent, arguments.out)
    said |= {TITLES[name]: [run] for name, run in beside.items()}
    said[MEAN] = [mean(beside["shipped"], beside["regression"])]
    print(piped(compared(said)), "\n")
    print(piped(views(said)), "\n")
    count, one, two = single(rows[0].config.data, arguments.rows.parent, arguments.out / "beside")
    print(f"{OTHER}: {one:.0%} of the {count} people with one photograph, {two:.0%} of others\n")
    for name in ("shipped", "fused"):
        print(f"{TITLES[name]}:\n\n{piped(by_label(judged(beside[name])))}\n")
    if arguments.card:
        write_card(beside["shipped"])


def kept(row: Row[ReadingConfig], seed: int, base: Path, folder: Path) -> Arrays:
    """What a run said, trained for where it is not there."""
    path = folder / "said.npz"
    if not path.exists():
        print(f"{row.name}, seed {seed}", flush=True)
        run = train_reader(replace(row.config, seed=row.config.seed + seed), base, folder)
        partial = folder / "said.partial.npz"
        np.savez(partial, **spoken(run))
        partial.rename(path)
    with np.load(path) as found:
        return dict(found)


def kept_beside(data: PeopleConfig, base: Path, out: Path) -> dict[str, Arrays]:
    """What is shipped says, asked where it is not there."""
    paths = {name: out / f"{name}.npz" for name in TITLES}
    if not all(path.exists() for path in paths.values()):
        made = by_descriptor(data, base, out / "beside")
        made |= shipped(data, base, out / "beside")
        for name, values in made.items():
            np.savez(paths[name], **values)
    found = {}
    for name, path in paths.items():
        with np.load(path) as kept_values:
            found[name] = dict(kept_values)
    return found


def mean(one: Arrays, other: Arrays) -> Arrays:
    """Of two readers of the same people, probabilities and thresholds averaged."""
    averaged = ("both", "left", "right", "exchanged", "thresholds")
    return one | {name: (one[name] + other[name]) / 2 for name in averaged}


def spoken(run: ReaderRun) -> Arrays:
    """Truth and probabilities of the people held back, both eyes seen and otherwise."""
    people = run.prepared.part(HELD)
    pairs = people.photographs
    missing = np.full(len(pairs), -1)
    seen = {
        "both": pairs,
        "left": np.column_stack([pairs[:, 0], missing]),
        "right": np.column_stack([missing, pairs[:, 1]]),
        "exchanged": pairs[:, ::-1],
    }
    found = {name: run.say(replace(people, photographs=of)).probabilities for name, of in seen.items()}
    return found | {
        "truth": people.truth,
        "present": people.present,
        "thresholds": run.thresholds,
        "validation": run.validation.probabilities,
        "validation_truth": run.validation.people.truth,
    }


def judged(
    run: Arrays, view: str = "both", rows: NDArray[np.bool_] | None = None, bootstrap: int = 1000
) -> ReadingEvaluation:
    """A run's figures, of some of the people."""
    of = slice(None) if rows is None else rows
    return evaluate_reading(run["truth"][of] > 0, run[view][of], labels=ODIR, bootstrap=bootstrap)


def compared(said: dict[str, list[Arrays]]) -> list[list[str]]:
    """A line for each row, then what is reached without looking."""
    table = [["reader", *FIGURES, *(f"{name}, chosen thresholds" for name in CHOSEN)]]
    for title, runs in said.items():
        plain = [judged(run, bootstrap=0) for run in runs]
        chosen = [
            evaluate_reading(run["truth"] > 0, run["both"], thresholds=run["thresholds"], bootstrap=0) for run in runs
        ]
        cells = [spread([e.overall[name].value for e in plain], 3) for name in FIGURES]
        cells += [spread([e.overall[name].value for e in chosen], 3) for name in CHOSEN]
        table.append([title, *cells])
    first = judged(next(iter(said.values()))[0], bootstrap=0)
    for name, values in first.baselines.items():
        cells = [f"{values[key]:.3f}" if key in values else "" for key in FIGURES]
        table.append([name, *cells, "", f"{values['macro-F1']:.3f}", ""])
    return table


def views(said: dict[str, list[Arrays]]) -> list[list[str]]:
    """Of people who have both eyes: with both, one, and the two exchanged."""
    names = {"both": "both eyes", "left": "left alone", "right": "right alone", "exchanged": "exchanged"}
    head = [f"{name}: {figure}" for name in names.values() for figure in ("final", "macro-AUC")]
    table = [["reader", *head, "exchanging moves a probability by"]]
    for title, runs in said.items():
        cells = []
        pairs = [run["present"].all(axis=1) for run in runs]
        for view in names:
            of = [judged(run, view, at, 0).overall for run, at in zip(runs, pairs, strict=True)]
            cells += [spread([e[figure].value for e in of], 3) for figure in ("final", "macro-AUC")]
        moved = [np.abs(run["both"] - run["exchanged"])[at].mean() for run, at in zip(runs, pairs, strict=True)]
        table.append([title, *cells, spread(moved, 3)])
    return table


def by_label(found: ReadingEvaluation) -> list[list[str]]:
    """Figures of each label with their intervals over people."""
    table = [["label", "people", "AUC", "AP", "kappa", "F1", "sensitivity", "specificity"]]
    for label, rates in found.by_label.items():
        cells = [f"{r.value:.3f} ({r.low:.3f} to {r.high:.3f})" for r in rates.values()]
        table.append([label, str(found.positive[label]), *cells])
    overall = [f"{name} {r.value:.3f} ({r.low:.3f} to {r.high:.3f})" for name, r in found.overall.items()]
    return [*table, ["all", str(found.rows), "; ".join(overall), *[""] * 5]]


if __name__ == "__main__":
    main()

"""The comparison of methods on real photographs, from training to tables.

    python benchmarks/evidence.py recipes/evidence.toml runs/evidence [--folds 3] [--table-only]

Trains what is not there yet, row by row on three of five folds of subjects; each fold's people
ask, the other people of the same data set are the gallery, and each fold has a seed of its own.
Then judges all by macro mAP@10 of the grades, with 95 % intervals by resampling people, and
writes evidence.md, .json and .png into the folder; `--table-only` trains nothing and takes the
rows that are complete, `--page` puts the tables into docs/explanation/comparison.md.
"""

import argparse
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from camera_like import features, groups
from derived import DERIVED, Fold
from evidence_docs import forest, put_between
from sides import held_and_rest

from foveola.datasets.manifest import Manifest
from foveola.metrics import evaluate_retrieval
from foveola.metrics.estimates import Metric, QueryMetrics, paired, pooled, summarise
from foveola.metrics.inputs import Settings
from foveola.records import Case
from foveola.training.evidence import Row, folder_of, read_descriptors, read_entries, read_rows, train_rows

METRIC = "mAP@10"
SETTINGS = Settings((10,), "subject", False, 1000, 0.95, 0)
CAMERA = "camera"  # the row of camera-like features
PAIRS = (
    ("mirror-fine", "triplet"),
    ("mirror-fine", "self"),
    ("mirror-fine", "cbam"),
    ("mirror-encode", "mirror-fine"),
    ("mirror-triplet", "triplet"),
    ("fine-triplet", "triplet"),
    ("ada-triplet", "triplet"),
    ("classifier-320", "classifier"),
    ("classifier-labels", "classifier"),
)


class RankedQueries(NamedTuple):
    """A row, judged: its queries by data set, then all of them with a cell a set and grade."""

    title: str
    sets: dict[str, QueryMetrics]
    every: QueryMetrics
    folds: list[QueryMetrics]  # as `every`, fold by fold
    unseen: dict[str, QueryMetrics]  # as `sets`, but the gallery is held out too
    every_unseen: QueryMetrics


def known_cases(rows: Sequence[Row], base: Path) -> dict[tuple[str, str], Case]:
    """Every case of the manifests, by collection and image."""
    found = {}
    for name in rows[0].config.data.manifests:
        path = base / name
        for case in Manifest.read(path, collection=path.resolve().parent.name).cases():
            found[case.collection, case.image] = case
    return found


def fold_of(folder: Path, known: dict[tuple[str, str], Case], camera: np.ndarray) -> Fold:
    entries = read_entries(folder)
    number = {key: i for i, key in enumerate(known)}
    return Fold(
        [known[collection, image] for collection, image, _ in entries],
        np.array([held for *_, held in entries]),
        camera[[number[collection, image] for collection, image, _ in entries]],
    )


def judge(title: str, descriptors: Sequence[np.ndarray], folds: Sequence[Fold]) -> RankedQueries:
    """Each fold's people asked of the other people of their data set, and of one another."""
    pairs = list(zip(descriptors, folds, strict=True))
    parts = [by_set(rows, fold) for rows, fold in pairs]
    apart = [by_set(rows, fold, unseen=True) for rows, fold in pairs]
    sets = {name: pooled([part[name] for part in parts]) for name in parts[0]}
    unseen = {name: pooled([part[name] for part in apart]) for name in apart[0]}
    folded = [together(part) for part in parts]
    return RankedQueries(title, sets, together(sets), folded, unseen, together(unseen))


def by_set(rows: np.ndarray, fold: Fold, *, unseen: bool = False) -> dict[str, QueryMetrics]:
    """The held-out people of each data set ask its training part, or one another."""
    found = {}
    for name in dict.fromkeys(case.collection for case in fold.cases):
        of = np.array([c.collection == name and c.grade is not None for c in fold.cases])
        cases = [fold.cases[i] for i in np.flatnonzero(of)]
        sides = held_and_rest(rows[of], cases, fold.held[of], "grade")
        asked = evaluate_retrieval(*(sides[:1] if unseen else sides), ks=(10,), bootstrap=0)
        found[name] = asked.per_query
    return found


def together(sets: dict[str, QueryMetrics]) -> QueryMetrics:
    """All data sets in one table, with a label value for each set and grade."""
    names = tuple(f"{of} {name}" for of, table in sets.items() for name in table.names)
    wide, start = [], 0
    for table in sets.values():
        members = np.zeros((len(table.members), len(names)), bool)
        members[:, start : start + len(table.names)] = table.members
        start += len(table.names)
        wide.append(QueryMetrics(table.values, table.chance, table.subjects, members, names))
    return pooled(wide)


@cache
def metric(table: QueryMetrics) -> Metric:
    """Resampled once, however many tables show it."""
    return summarise(table, SETTINGS)[METRIC]


def cell(m: Metric, sign: str = "") -> str:
    return f"{m.value.macro:{sign}.3f} ({m.low.macro:{sign}.3f} to {m.high.macro:{sign}.3f})"


def main_table(judged: Sequence[RankedQueries], *, unseen: bool = False) -> list[str]:
    def tables(row: RankedQueries) -> list[QueryMetrics]:
        if unseen:
            return [*row.unseen.values(), row.every_unseen]
        return [*row.sets.values(), row.every]

    names = list(judged[0].sets)
    lines = [f"| descriptor | {' | '.join(names)} | all |", "|---" * (len(names) + 2) + "|"]
    for row in judged:
        cells = [cell(metric(table)) for table in tables(row)]
        lines.append(f"| {row.title} | {' | '.join(cells)} |")
    chance = [metric(t).chance.macro for t in tables(judged[0])]
    return [*lines, f"| chance | {' | '.join(f'{c:.3f}' for c in chance)} |"]


def grade_table(judged: Sequence[RankedQueries]) -> list[str]:
    """Mean over the data sets for each grade."""
    grades = list(judged[0].sets["odir"].names)
    lines = [f"| descriptor | {' | '.join(f'grade {g}' for g in grades)} |"]
    lines.append("|---" * (len(grades) + 1) + "|")

    def means(row: RankedQueries, chance: bool) -> list[str]:
        found = [metric(t) for t in row.sets.values()]
        of = [(m.chance if chance else m.value).per_label for m in found]
        return [f"{np.mean([p[g] for p in of if g in p]):.3f}" for g in grades]

    lines += [f"| {row.title} | {' | '.join(means(row, False))} |" for row in judged]
    return [*lines, f"| chance | {' | '.join(means(judged[0], True))} |"]


def fold_table(judged: Sequence[RankedQueries]) -> list[str]:
    """All sets together, for each fold and its seed, with the standard error of their mean."""
    count = len(judged[0].folds)
    lines = [f"| descriptor | {' | '.join(f'fold {i}' for i in range(count))} | mean |"]
    lines.append("|---" * (count + 2) + "|")
    for row in judged:
        values = np.array([metric(table).value.macro for table in row.folds])
        error = f" ± {values.std(ddof=1) / count**0.5:.3f}" if count > 1 else ""
        cells = " | ".join(f"{value:.3f}" for value in values)
        lines.append(f"| {row.title} | {cells} | {values.mean():.3f}{error} |")
    return lines


def pair_table(judged: dict[str, RankedQueries]) -> list[str]:
    names = list(next(iter(judged.values())).sets)
    lines = [f"| difference | {' | '.join(names)} | all |", "|---" * (len(names) + 2) + "|"]
    for one, other in PAIRS:
        if one in judged and other in judged:
            a, b = judged[one], judged[other]
            tables = [paired(b.sets[n], a.sets[n]) for n in names] + [paired(b.every, a.every)]
            cells = " | ".join(cell(metric(table), "+") for table in tables)
            lines.append(f"| {a.title} less {b.title} | {cells} |")
    return lines


def camera_table(judged: Sequence[RankedQueries], folds: Sequence[Fold]) -> list[str]:
    """ODIR by camera-like group of the query."""
    asked = np.concatenate(
        [fold.group[[i for i, c in enumerate(fold.cases) if fold.held[i] and c.collection == "odir"]] for fold in folds]
    )
    kept = [g for g in np.unique(asked) if (asked == g).sum() >= 30]
    counts = [f"group {g + 1} ({(asked == g).sum()} queries)" for g in kept]
    lines = [f"| descriptor | {' | '.join(counts)} |", "|---" * (len(kept) + 1) + "|"]
    for row in judged:
        table = row.sets["odir"]
        cells = [cell(metric(table.of(asked == g))) for g in kept]
        lines.append(f"| {row.title} | {' | '.join(cells)} |")
    chance = [metric(judged[0].sets["odir"].of(asked == g)).chance.macro for g in kept]
    return [*lines, f"| chance | {' | '.join(f'{c:.3f}' for c in chance)} |"]


def as_json(judged: dict[str, RankedQueries]) -> dict[str, object]:
    return {
        name: {
            "title": row.title,
            "sets": {of: metric(t).to_dict("per_grade") for of, t in row.sets.items()},
            "all": metric(row.every).to_dict("per_cell"),
            "unseen": {of: metric(t).to_dict("per_grade") for of, t in row.unseen.items()},
            "all_unseen": metric(row.every_unseen).to_dict("per_cell"),
        }
        for name, row in judged.items()
    }


def complete(rows: Sequence[Row], out: Path, folds: int) -> list[Row]:
    return [row for row in rows if all((folder_of(out, row, f) / "descriptors.npy").exists() for f in range(folds))]


def loaded(out: Path, row: Row, first: Row, count: int) -> list[np.ndarray]:
    """Its descriptors, fold by fold, in the order of the first row."""
    return [read_descriptors(folder_of(out, row, f), read_entries(folder_of(out, first, f))) for f in range(count)]


def write(rows: Sequence[Row], base: Path, out: Path, count: int, page: Path | None = None) -> None:
    rows = complete(rows, out, count)
    known = known_cases(rows, base)
    seen = features(list(known.values()))
    of = np.array([case.collection for case in known.values()])
    camera = np.zeros(len(of), int)
    for name in np.unique(of):
        camera[of == name] = groups(seen[of == name])
    folds = [fold_of(folder_of(out, rows[0], f), known, camera) for f in range(count)]
    number = {key: i for i, key in enumerate(known)}
    judged = {
        CAMERA: judge(
            "camera-like features alone (8 numbers)",
            [seen[[number[c.collection, c.image] for c in fold.cases]] for fold in folds],
            folds,
        )
    }
    made = {row.name: loaded(out, row, rows[0], count) for row in rows}
    for row in rows:
        judged[row.name] = judge(row.title, made[row.name], folds)
    for name, of_row, what, change in DERIVED:
        if of_row in made:
            changed = [change(d, fold) for d, fold in zip(made[of_row], folds, strict=True)]
            judged[name] = judge(f"{judged[of_row].title} + {what}", changed, folds)
    every = list(judged.values())
    ends = [judged[n] for n in (CAMERA, "untrained", "frozen", "classifier") if n in judged]
    ends += [max(every, key=lambda row: metric(row.every).value.macro)]
    parts = {
        "Gallery: the people it was trained on": main_table(every),
        "Gallery: people it never saw": main_table(every, unseen=True),
        "By grade, mean over the data sets": grade_table(every),
        "Paired differences": pair_table(judged),
        "Each fold has a seed of its own": fold_table(every),
        "ODIR by camera-like group of the query": camera_table(ends, folds),
    }
    text = "\n\n".join(f"### {name}\n\n" + "\n".join(lines) for name, lines in parts.items())
    (out / "evidence.md").write_text(text + "\n", encoding="utf-8")
    values = as_json(judged)
    (out / "evidence.json").write_text(json.dumps(values, indent=1), encoding="utf-8")
    forest(out / "evidence.png", values, list(every[0].sets))
    print(text)
    if page is not None:
        put_between(page, text)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--table-only", action="store_true")
    parser.add_argument("--page", type=Path, help="Markdown with the marks of evidence_docs.py")
    options = parser.parse_args()
    rows = read_rows(options.rows)
    if not options.table_only:
        for _ in train_rows(options.rows, options.out, options.folds):
            pass
    write(rows, options.rows.parent, options.out, options.folds, options.page)


if __name__ == "__main__":
    main()

"""Does marking hits improve the rest of the answer?

    python benchmarks/feedback.py recipes/fundus-similarity-3.toml WORK

Of the people whom the shipped encoder was not trained on, one half is the archive (kept in WORK),
the other half asks. Of the first 20 hits the first 3 that share the query's label are marked
"more", and, in other rows, the first 3 that do not "less", as somebody would who looks down the
page. RankedQueries is precision at 10 of what remains: without the marked cases, in the order before and
after. Labels are findings where they are known, else grades. Paired differences with 95 %
intervals over the people who ask; queries with fewer right hits than 3 among 20 are counted and
left out, as there is nothing to mark. Markdown.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from foveola.archive import Archive
from foveola.config import load_config
from foveola.encoders.encoder import Encoded, Encoder
from foveola.indexing import add_missing
from foveola.notebook import piped
from foveola.records import Case
from foveola.retrieval.results import LESS, MORE, moved
from foveola.training.config import TrainConfig
from foveola.training.prepared import HELD, parted_cases

SEEN, MARKED, K = 20, 3, 10
ROWS = (  # how many are marked more and less, and the weights of their means
    (MARKED, 0, 0.75, 0.0),
    (MARKED, 0, MORE, 0.0),
    (MARKED, 0, 5.0, 0.0),
    (1, 0, MORE, 0.0),
    (0, MARKED, 0.0, LESS),
    (0, MARKED, 0.0, 0.75),
    (MARKED, MARKED, 0.75, 0.15),
    (MARKED, MARKED, MORE, LESS),
    (MARKED, MARKED, MORE, 0.75),
)


def main() -> None:
    """Index, ask, mark, ask again, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("recipe", type=Path)
    parser.add_argument("work", type=Path)
    arguments = parser.parse_args()
    config = load_config(arguments.recipe, TrainConfig)
    gallery, asking = people(config, arguments.recipe.parent)
    add_missing(arguments.work / "new", gallery, config.name)
    encoder = Encoder.load(config.name)
    queries = [e for e in encoder.encode_cases(asking) if isinstance(e, Encoded)]
    with Archive.open(arguments.work / "new", read_only=True) as archive:
        _, matrix = archive.vectors()
        cases = [case for _, case in archive.cases()]
    answers = [answer for query in queries if (answer := ask(query, matrix, cases)) is not None]
    print(
        f"{len(queries):,} photographs ask {len(cases):,}; {len(answers):,} of them have "
        f"{MARKED} right hits and {MARKED} wrong ones among {SEEN}\n"
    )
    whose = [who for who, _ in answers]
    rows = [["marked +, weight", "marked -, weight", f"P@{K} before", f"P@{K} after", "difference"]]
    for place, (many, few, towards, away) in enumerate(ROWS):
        before, after = np.array([found[place] for _, found in answers]).T
        marked = [f"{n}, {weight:g}" if n else "" for n, weight in ((many, towards), (few, away))]
        rows.append([*marked, f"{before.mean():.3f}", f"{after.mean():.3f}", difference(after - before, whose)])
    print(piped(rows))


def people(config: TrainConfig, base: Path) -> tuple[list[Case], list[Case]]:
    """The archive's cases, and those that ask."""
    with tempfile.TemporaryDirectory() as away:
        every = [parts for _, parts in parted_cases(config.data, base, Path(away))]
    held = [case for parts in every for case in parts[HELD]]
    whose = sorted({case.identity for case in held})
    drawn = np.random.default_rng(0).permutation(len(whose))
    first = {whose[i] for i in drawn[: len(whose) // 2]}
    return ([case for case in held if case.identity in first], [case for case in held if case.identity not in first])


def ask(query: Encoded, matrix: np.ndarray, cases: list[Case]) -> tuple[object, list[tuple[float, float]]] | None:
    """Of each row precision before and after; None where there is too little to mark."""
    right = np.array([agree(query.case, case) for case in cases])
    order = np.argsort(-(matrix @ query.descriptor), kind="stable")
    good = [i for i in order[:SEEN] if right[i]][:MARKED]
    bad = [i for i in order[:SEEN] if not right[i]][:MARKED]
    if len(good) < MARKED or len(bad) < MARKED:
        return None
    found = []
    for many, few, towards, away in ROWS:
        marked = [*good[:many], *bad[:few]]
        again = moved(query.descriptor, matrix[good[:many]], matrix[bad[:few]], towards=towards, away=away)
        new = np.argsort(-(matrix @ again), kind="stable")
        found.append((precision(order, right, marked), precision(new, right, marked)))
    return query.case.identity, found


def precision(order: np.ndarray, right: np.ndarray, marked: list[int]) -> float:
    """Share of right ones among the first K that are not marked."""
    left = order[~np.isin(order, marked)][:K]
    return float(right[left].mean())


def agree(one: Case, other: Case) -> bool:
    """Whether two cases share a finding; by their grades where findings are not known."""
    first, second = findings(one), findings(other)
    if first is not None and second is not None:
        return bool(first & second) or first == second
    return one.grade is not None and one.grade == other.grade


def findings(case: Case) -> frozenset[str] | None:
    """Of disease: EyePACS has the quality of its photographs in this column."""
    known = case.findings
    return None if known is None or known & {"good", "usable", "reject"} else known


def difference(each: np.ndarray, whose: list[object], draws: int = 2000) -> str:
    """Mean with a 95 % interval, people drawn anew."""
    codes = {who: i for i, who in enumerate(dict.fromkeys(whose))}
    of = np.array([codes[who] for who in whose])
    sums, sizes = np.bincount(of, each), np.bincount(of)
    drawn = np.random.default_rng(0).integers(0, len(codes), (draws, len(codes)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{each.mean():+.3f} ({low:+.3f} to {high:+.3f})"


if __name__ == "__main__":
    main()

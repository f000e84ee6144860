"""Whether what Foveola says of a hit holds: on people whom neither archive nor encoder knows.

    python benchmarks/trust.py recipes/fundus-similarity-5.toml WORK [--plot FILE]
                               [--archive new|known|mixed ...]

People whom the recipe held back from the encoder's training are divided in two. One half, of all
data sets, becomes the archive WORK/new; the other half asks. Then the same people ask WORK/known,
an archive of photographs the encoder was trained on, and WORK/mixed, of these and the first half
together; of that also what would be said if the encoder did not tell what it was trained on.
Prints, as Markdown,

    suggestion  of 100 photographs like the query, how many were said to have a label value and how
                many had it; and how often the share that was right lies in the interval said
    agreement   by looks alone: the chance said that a hit has the query's label, and how often it
                had
    percentile  of pairs of one label, how often the share said was reached
    rejected    how many of the people asking were told that no case is sufficiently alike

with 95 % intervals over the people who asked. Archives are kept in WORK.
"""

import argparse
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from foveola.answers import Share
from foveola.archive import Archive
from foveola.config import load_config
from foveola.encoders.encoder import Encoded, Encoder
from foveola.indexing import add_missing
from foveola.learned import load_learned
from foveola.metrics.drawing import save_reliability
from foveola.notebook import piped
from foveola.records import Case
from foveola.relevance.calibrate import percentile, share_of
from foveola.relevance.labels import LabelTable, codes_of
from foveola.relevance.order import Relevance
from foveola.training.config import TrainConfig
from foveola.training.prepared import HELD, TRAINED, parted_cases
from foveola.trust import SEEN, Calibration, calibrate, load
from foveola.trust.calibration import label_of, label_values

K = 10
STEPS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True)
class Told:
    """What was said of hits, and what was true.

    Attributes:
        said: (H,) chance of agreement.
        true: (H,) whether the labels agree.
        asker: (H,) who asked.
        same: (P,) percentile of each pair of one label among those of the archive.
        pair: (P,) who asked.
        near: (Q,) whether a sufficient case was found.
        who: (Q,) who asked.
    """

    said: np.ndarray
    true: np.ndarray
    asker: np.ndarray
    same: np.ndarray
    pair: np.ndarray
    near: np.ndarray
    who: np.ndarray


def main() -> None:
    """Index, ask, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("recipe", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--archive", action="append", choices=TITLES, help="only these")
    arguments = parser.parse_args()
    config = load_config(arguments.recipe, TrainConfig)
    galleries, queries = people(config, arguments.recipe.parent)
    described = [e for e in Encoder.load(config.name).encode_cases(queries) if isinstance(e, Encoded)]
    told = {}
    for name in arguments.archive or galleries:
        cases = galleries[name]
        add_missing(arguments.work / name, cases, config.name)
        with Archive.open(arguments.work / name, read_only=True) as archive:
            learned = load_learned(archive)
            for label in learned.labels if learned else ():
                print(f"\n### {name}: what the archive suggests of {label}\n")
                print(piped(suggested(learned.labels[label], described)))
            ways = {name: load(archive)}
            if name == "mixed":
                ways["mixed, were it not told what was trained on"] = blind(archive)
            for title, made in ways.items():
                assert made is not None
                told[title] = ask(archive, made, described)
                show(title, made, told[title])
    if arguments.plot:
        for name, each in told.items():
            if name in TITLES:
                path = arguments.plot.with_stem(f"{arguments.plot.stem}-{name}")
                save_reliability(
                    each.true[:, None],
                    {"said of hits": each.said[:, None]},
                    path,
                    note=f"archive of photographs {TITLES[name]}",
                )


TITLES = {
    "new": "the encoder has not seen",
    "known": "the encoder was trained on",
    "mixed": "the encoder was trained on, and others",
}


def blind(archive: Archive) -> Calibration | None:
    """What the archive would learn if its encoder kept no marks of its training."""
    marks = archive.encoder_folder / SEEN
    kept = marks.read_bytes()
    marks.unlink()
    try:
        return calibrate(archive)
    finally:
        marks.write_bytes(kept)


def show(title: str, made: Calibration, told: Told) -> None:
    """Print what was said, and what was true."""
    trained = "unknown how many" if made.trained is None else f"{made.trained:.0%}"
    new = "new " if made.new and made.trained else ""
    print(
        f"\n### {title}: {made.cases:,} photographs, {trained} trained on; {made.people:,} {new}"
        f"people asked about, label {made.label}\n"
    )
    print(piped(agreement(told)), "\n")
    print(piped(percentiles(told)), "\n")
    rejected = share_of(~told.near, told.who)
    print(f"no sufficiently similar case: {interval(rejected)} of {len(told.near):,}")


def people(config: TrainConfig, base: Path) -> tuple[dict[str, list[Case]], list[Case]]:
    """The archives' cases, and those that ask."""
    with tempfile.TemporaryDirectory() as away:
        every = [parts for _, parts in parted_cases(config.data, base, Path(away))]
    held = [case for parts in every for case in parts[HELD]]
    whose = sorted({case.identity for case in held})
    drawn = np.random.default_rng(0).permutation(len(whose))
    first = {whose[i] for i in drawn[: len(whose) // 2]}
    known = [case for parts in every for case in parts[TRAINED]]
    new = [case for case in held if case.identity in first]
    galleries = {"new": new, "known": known, "mixed": known + new}
    return galleries, [case for case in held if case.identity not in first]


def ask(archive: Archive, made: Calibration, described: list[Encoded]) -> Told:
    """Every query's first hits, one a person, and its pairs with cases of its own label."""
    ids, matrix = archive.vectors()
    cases = [case for _, case in archive.cases()]
    assert len(cases) == len(ids)
    assert made.label is not None
    labels = [label_of(case, made.label) for case in cases]
    codes = {who: i for i, who in enumerate(sorted({e.case.identity for e in described}))}
    hits, pairs, near = [], [], []
    for each in described:
        own, who = label_of(each.case, made.label), codes[each.case.identity]
        cosines = matrix @ each.descriptor
        order = np.argsort(-cosines, kind="stable")
        near.append((cosines[order[0]] >= made.threshold, who))
        if own is None:
            continue
        first: dict[object, int] = {}
        for row in order.tolist():
            first.setdefault(cases[row].identity, row)
            if len(first) == K:
                break
        for row in first.values():
            share = made.hit(float(cosines[row]), cases[row]).agreement
            if share is not None:
                hits.append((share.value, agree(own, labels[row]), who))
        same = [row for row in order.tolist() if agree(own, labels[row])]
        some = np.random.default_rng(len(pairs)).permutation(same)[:50]
        pairs += [(percentile(float(cosines[row]), made.same), who) for row in some]
    said, true, asker = (np.array(column) for column in zip(*hits, strict=True))
    same_as, pair = (np.array(column) for column in zip(*pairs, strict=True))
    found, who_asked = (np.array(column) for column in zip(*near, strict=True))
    return Told(said, true.astype(bool), asker, same_as, pair, found.astype(bool), who_asked)


def suggested(of: Relevance, described: list[Encoded]) -> list[list[str]]:
    """How many photographs had a label value, by how many were said to."""
    asked = [e for e in described if label_values(e.case, of.label) is not None]
    table = LabelTable.of(of.label, [label_values(e.case, of.label) for e in asked])
    truth = table.of_values(of.values).members
    who = codes_of([e.case.identity for e in asked])
    said = of.shares(of.logits(np.stack([e.descriptor for e in asked])))
    lows, highs = np.empty_like(said), np.empty_like(said)
    for place, value in np.ndenumerate(said):
        share = of.calibrated.share(float(value))
        assert share is not None
        lows[place], highs[place] = share.low, share.high
    rows = [["of 100, said", "told so", "mean said", "interval said", "had it"]]
    for low, high in pairwise((0.0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)):
        within = (said >= low) & ((said < high) | (high == 1))
        if within.any():
            people = np.broadcast_to(who[:, None], said.shape)[within]
            rows.append(
                [
                    f"{100 * low:.0f} to {100 * high:.0f}",
                    f"{within.sum():,}",
                    f"{100 * said[within].mean():.1f}",
                    f"{100 * lows[within].mean():.1f} to {100 * highs[within].mean():.1f}",
                    interval(share_of(truth[within], people), 100),
                ]
            )
    return rows


def agree(one: str, other: str | None) -> bool:
    """Whether two labels share a value."""
    return bool(set(one.split(";")) & set((other or "-").split(";")))


def agreement(told: Told) -> list[list[str]]:
    """How often hits agree, by what was said of them."""
    table = [["chance said", "hits", "mean said", "agreed"]]
    for low, high in pairwise(STEPS):
        rows = (told.said >= low) & ((told.said < high) | (high == 1))
        if rows.any():
            found = interval(share_of(told.true[rows], told.asker[rows]))
            cells = [f"{rows.sum():,}", f"{told.said[rows].mean():.3f}", found]
            table.append([f"{low:.1f} to {high:.1f}", *cells])
    every = interval(share_of(told.true, told.asker))
    return [*table, ["all", f"{len(told.said):,}", f"{told.said.mean():.3f}", every]]


def percentiles(told: Told) -> list[list[str]]:
    """Of pairs of one label: how many were at most as alike as a share said."""
    table = [["percentile said", "pairs of one label below it"]]
    return table + [[f"{q:.2f}", interval(share_of(told.same <= q, told.pair))] for q in QUANTILES]


def interval(share: Share, of: int = 1) -> str:
    """With three decimals, or of 100 with one."""
    value, low, high = (of * end for end in (share.value, share.low, share.high))
    digits = 3 if of == 1 else 1
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


if __name__ == "__main__":
    main()

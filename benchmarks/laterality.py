"""Left or right, told from photographs of people that nothing was trained on.

    python benchmarks/laterality.py recipes/fundus-matching-1.toml DATA [--encoder FOLDER] [--write]

The recipe is the matching encoder's, which says who was held out of its training. The rule is
fitted to the people it was trained on; those held out ask, and so do tvhl and chase_db1 of DATA,
which it never saw at all. Prints the estimated share of photographs that are upside down, the share
whose side is right, with and without allowing for those, with a 95 % interval over people, and
the share among photographs of which the rule is sure (probability .9 or more). A second table has
both eyes of each person as every door judges two photographs: how many true pairs are refused or
called exchanged, and how many are called so when they are. Markdown. --write keeps the rule beside
the encoder and the first table in its card.
"""

import argparse
import csv
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from foveola.config import load_config
from foveola.datasets.manifest import Manifest
from foveola.encoders.encoder import Encoder
from foveola.encoders.release import MATCHER
from foveola.errors import PairError
from foveola.laterality import LATERALITY, SURE, Laterality, Side, check_sides, read_views
from foveola.matching.calibrate import learn_sides
from foveola.metrics.estimates import means, subject_bootstrap
from foveola.notebook import piped
from foveola.people import pair_eyes
from foveola.records import Case
from foveola.training.config import TrainConfig
from foveola.training.prepared import HELD, parted_cases
from matching import write_card

CAPTION = (
    "Left or right, on people it was not trained on (`python benchmarks/laterality.py "
    "recipes/fundus-matching-1.toml DATA`; 95 % intervals over people). upside down: the estimated "
    "share of such visits; right if none is: what would be said without allowing for it; sure: the "
    "share told with a probability of .9 or more."
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("recipe", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--encoder", default=MATCHER)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    encoder = Encoder.load(arguments.encoder)
    known, held = parted(arguments.recipe)
    rule = learn_sides(encoder, known)
    print(f"fitted to {rule.photographs:,} photographs\n")
    head = ["data set", "photographs", "upside down", "right if none is", "right", "sure"]
    rows = [[*head, "right of these"]]
    for name in ("tvhl", "chase_db1"):
        path = arguments.data / name / "labels.csv"
        held[name] = list(Manifest.read(path, collection=name).cases())
    both = [["data set", "pairs", "refused", "called exchanged", "of exchanged ones called so"]]
    for name, cases in held.items():
        cases, views = looked_at(cases, encoder)
        rows.append(row(cases, views, name, rule))
        both.append(pairs(cases, views, name, rule))
    one = one_eye(arguments.data / "tvhl", encoder, rule)
    print(piped(rows), piped(both), one, sep="\n\n")
    if arguments.write:
        rule.save(encoder.release.folder / LATERALITY)
        write_card(encoder.release, CAPTION, rows)


def parted(recipe: Path) -> tuple[list[Case], dict[str, list[Case]]]:
    """The cases of people trained on (the few that chose the epoch too), and others by data set."""
    data = load_config(recipe, TrainConfig).data
    known: list[Case] = []
    held: dict[str, list[Case]] = {}
    with tempfile.TemporaryDirectory() as away:
        every = dict(parted_cases(data, recipe.parent, Path(away)))
        for name, parts in sorted(every.items()):
            held[name] = parts.pop(HELD)
            known += [case for part in parts.values() for case in part]
    return known, held


def looked_at(found: list[Case], encoder: Encoder) -> tuple[list[Case], np.ndarray]:
    """The photographs whose eye is known and that can be read, and their views (N, 4, D)."""
    known = [case for case in found if case.eye is not None]
    with ThreadPoolExecutor() as pool:
        seen = list(pool.map(lambda case: read_views(encoder, Path(case.path)), known))
    cases = [case for case, view in zip(known, seen, strict=True) if view is not None]
    return cases, np.stack([view for view in seen if view is not None])


def row(cases: list[Case], views: np.ndarray, name: str, rule: Laterality) -> list[str]:
    """One data set."""
    people = np.unique([str(c.identity) for c in cases], return_inverse=True)[1]
    visits = [(case.identity, case.visit) for case in cases]
    share = rule.share_upside_down(views, visits)
    plain, _ = judged(rule.of(views), cases)
    right, sure = judged(rule.of(views, share, visits), cases)
    return [
        name,
        f"{len(cases):,}",
        f"{share:.3f}",
        interval(plain, people),
        interval(right, people),
        f"{sure.mean():.3f}",
        f"{right[sure].mean():.4f}" if sure.any() else "-",
    ]


def pairs(cases: list[Case], views: np.ndarray, name: str, rule: Laterality) -> list[str]:
    """What is said of both eyes of each person of a data set."""
    two = pair_eyes(((case.identity, case.visit), case.eye) for case in cases)
    refused = exchanged = called = 0
    two = two[(two >= 0).all(axis=1)]
    for left, right in two.tolist():
        one, other = (side(views[i], rule) for i in (left, right))
        refused += is_refused(one, other)
        if not is_refused(one, other):
            exchanged += bool(check_sides({"left": one, "right": other}))
            called += bool(check_sides({"left": other, "right": one}))
    return [name, *map(str, (len(two), refused, exchanged, called))]


def side(views: np.ndarray, rule: Laterality) -> Side:
    """Which eye a photograph seems to show, by its views (4, D), as `Sides.of` tells it."""
    return replace(rule.of_upright(views[:2]), descriptor=views[0])


def is_refused(one: Side, other: Side) -> bool:
    """Whether two photographs are refused as left and right."""
    try:
        check_sides({"left": one, "right": other})
    except PairError:
        return True
    return False


def one_eye(folder: Path, encoder: Encoder, rule: Laterality) -> str:
    """How many of the verified pairs of one eye of tvhl are refused."""
    with (folder / "same_eye_pairs.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["verified"] == "1"]
    refused = 0
    for row in rows:
        seen = [read_views(encoder, folder / row[name]) for name in ("image1", "image2")]
        refused += is_refused(*(side(views, rule) for views in seen if views is not None))
    return f"of {len(rows)} pairs of one eye of tvhl {refused} are refused"


def judged(sides: list[Side], cases: list[Case]) -> tuple[np.ndarray, np.ndarray]:
    """Whether each side is right, and whether it is sure."""
    right = [side.eye == case.eye for side, case in zip(sides, cases, strict=True)]
    return np.array(right, float), np.array([side.probability >= SURE for side in sides])


def interval(right: np.ndarray, people: np.ndarray) -> str:
    """The mean with a 95 % interval over people."""
    everyone = np.empty((len(right), 0), bool)
    low, high = subject_bootstrap(right[:, None], everyone, people).micro[0]
    return f"{means(right[:, None], everyone).micro[0]:.4f} ({low:.4f} to {high:.4f})"


if __name__ == "__main__":
    main()

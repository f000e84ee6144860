"""Is it better to search with both eyes of a person, and how are two people best compared?

    python benchmarks/patient_search.py DATA [--recipe recipes/fundus-similarity-3.toml]

DATA is a folder with odir, srahim and eyepacs. The people whom the shipped encoder was never
trained on (split as its recipe says) ask; the gallery is the training people, then the other
held-out people. Right is a person who shares an official label (ODIR: `subject_findings`; SRahim
and EyePACS: the grade of the worse eye). The rules were chosen on ODIR; the other two sets had
no say. Prints Markdown.
"""

import argparse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from foveola.config import load_config
from foveola.datasets.manifest import Manifest
from foveola.encoders.encoder import Encoder
from foveola.images.decode import decode
from foveola.metrics import Metric, QueryMetrics, chance, metrics
from foveola.metrics.estimates import summarise_named
from foveola.metrics.ranking import Gains, rank
from foveola.notebook import number, piped, ranged
from foveola.people import grade_of, people_of
from foveola.people_search import person_similarity
from foveola.records import Case
from foveola.training.config import TrainConfig
from foveola.training.prepared import held_back

ODIR, OTHERS = "odir", {"srahim": "SRahim", "eyepacs": "EyePACS"}
LABELS = {"odir": tuple("NDGCAHMO"), "srahim": tuple("01234"), "eyepacs": tuple("01234")}
NAMES = ("mAP@10", "mAP@R", "nDCG@10")
DRAWS = 5  # of the eyes that are taken away
Rule = Callable[[np.ndarray, np.ndarray], list[np.ndarray]]


class Persons(NamedTuple):
    """P people with both eyes: descriptors (P, 2, D), also when mirrored; labels (P, L)."""

    rows: np.ndarray
    mirrored: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]

    def of(self, chosen: np.ndarray) -> "Persons":
        """Some of them."""
        return Persons(self.rows[chosen], self.mirrored[chosen], self.labels[chosen], self.names)

    def cosines(self, gallery: "Persons", *, mirrored: bool = False) -> np.ndarray:
        """(2, 2, Q, P): eye of the query, which may be mirrored, and eye of the other."""
        return np.einsum("qid,pjd->ijqp", self.mirrored if mirrored else self.rows, gallery.rows)


def read(data: Path, name: str, config: TrainConfig, encoder: Encoder) -> tuple[Persons, Persons]:
    """Held-out people and the others, those with both eyes and a label."""
    manifest = Manifest.read(data / name / "labels.csv", collection=name)
    cases, held = list(manifest.cases()), held_back(manifest, config.data)
    people = people_of(cases, LABELS[name])
    labels = people.truth > 0 if name == ODIR else by_grade(cases, people.photographs)
    chosen = people.present.all(axis=1) & labels.any(axis=1)
    places = people.photographs[chosen]
    rows = np.full((len(cases), 2, encoder.dimension), np.nan, np.float32)
    with ThreadPoolExecutor() as pool:
        rows[places.ravel()] = list(pool.map(lambda i: both_ways(encoder, cases[i]), places.ravel()))
    every = Persons(rows[places, 0], rows[places, 1], labels[chosen], LABELS[name])
    asked = held[places[:, 0]]
    return every.of(asked), every.of(~asked)


def by_grade(cases: list[Case], photographs: np.ndarray) -> np.ndarray:
    grades = [grade_of([cases[i] for i in pair if i >= 0]) for pair in photographs.tolist()]
    return np.array(grades, float)[:, None] == np.arange(5)  # None is NaN and equals nothing


def both_ways(encoder: Encoder, case: Case) -> np.ndarray:
    """(2, D): the photograph and its mirror image."""
    pixels = decode(Path(case.path), min_side=encoder.contract.min_side)
    flipped = np.ascontiguousarray(pixels[:, ::-1])
    return np.stack([encoder.encode_photograph(image, case.eye) for image in (pixels, flipped)])


def straight(c: np.ndarray) -> np.ndarray:
    return (c[0, 0] + c[1, 1]) / 2


def crossed(c: np.ndarray) -> np.ndarray:
    return (c[0, 1] + c[1, 0]) / 2


ONE = "one photograph, as foveola search has it"
BASE, SHIPPED = "both eyes, each with its own side", "both eyes, the better pairing (shipped)"
# Cosines (2, 2, Q, P) plain and with the query mirrored -> scores, one for each way to ask.
RULES: dict[str, Rule] = {
    ONE: lambda c, _m: [c[0].max(0), c[1].max(0)],
    "one eye, the same eye of the other": lambda c, _m: [c[0, 0], c[1, 1]],
    "the eye that is more alike": lambda c, _m: [np.maximum(c[0, 0], c[1, 1])],
    "the eye that is less alike": lambda c, _m: [np.minimum(c[0, 0], c[1, 1])],
    "the most alike of the four pairs": lambda c, _m: [c.max((0, 1))],
    "the mean of the four pairs": lambda c, _m: [c.mean((0, 1))],
    BASE: lambda c, _m: [straight(c)],
    "both eyes, crosswise": lambda c, _m: [crossed(c)],
    "both eyes, crosswise, the query mirrored": lambda _c, m: [crossed(m)],
    "both eyes, the better pairing, crosswise mirrored": lambda c, m: [np.maximum(straight(c), crossed(m))],
    SHIPPED: lambda c, _m: [person_similarity(c)],
}


def judge(scores: list[np.ndarray], asked: Persons, gallery: Persons, apart: bool) -> QueryMetrics:
    """The mean over the ways to ask; with apart the asked are the gallery and leave themselves."""
    own = np.eye(len(asked.labels), dtype=bool)
    out = own if apart else np.zeros((len(asked.labels), len(gallery.labels)), bool)
    right = (asked.labels.astype(int) @ gallery.labels.T.astype(int) > 0) & ~out
    R, N = right.sum(axis=1), (~out).sum(axis=1)
    label = "grade" if asked.names[0] == "0" else "findings"
    gains = Gains(asked.labels, gallery.labels, asked.names, label)
    values = []
    for score in scores:
        found = rank(score.astype(np.float64), right, out, first=10)
        gained = gains.of_block(slice(0, len(right)), found.first, out)
        values.append(
            [
                metrics.average_precision_author(found.relevance, 10),
                metrics.average_precision_at_r(found.relevance, R),
                metrics.ndcg(gained.first, gained.ideal, 10),
            ]
        )
    expected = [
        chance.expected_average_precision_author(R, N, 10),
        chance.expected_average_precision_at_r(R, N),
        chance.expected_ndcg(gained.mean, N, gained.ideal, 10),
    ]
    table = np.mean(values, axis=0).T
    return QueryMetrics(table, np.array(expected).T, np.arange(len(R)), asked.labels, asked.names)


def summary(table: QueryMetrics) -> dict[str, Metric]:
    return summarise_named(NAMES, table, resamples=1000, confidence=0.95, seed=0)


def cells(table: QueryMetrics) -> list[str]:
    """Macro means with intervals."""
    found = summary(table).values()
    return [f"{number(m.value.macro)} ({ranged((m.low.macro, m.high.macro))})" for m in found]


def gained(table: QueryMetrics, base: QueryMetrics) -> str:
    """Paired difference of macro mAP@R."""
    m = summary(replace(table, values=table.values - base.values))["mAP@R"]
    ends = ranged((m.low.macro, m.high.macro), sign=True)
    return f"{number(m.value.macro, sign=True)} ({ends})"


def compare(title: str, asked: Persons, gallery: Persons, rules: list[str], apart: bool) -> None:
    c, m = asked.cosines(gallery), asked.cosines(gallery, mirrored=True)
    judged = {name: judge(RULES[name](c, m), asked, gallery, apart) for name in rules}
    head = ["people compared by", *NAMES, "mAP@R beyond one photograph", "beyond its own side"]
    rows = [
        [name, *cells(t), *("" if name == than else gained(t, judged[than]) for than in (ONE, BASE))]
        for name, t in judged.items()
    ]
    by_chance = [number(m.chance.macro) for m in summary(judged[BASE]).values()]
    count = f"{len(asked.labels)} people ask {len(gallery.labels) - apart}"
    print(f"### {title}\n\n{count}.\n\n{piped([head, *rows, ['chance', *by_chance, '', '']])}\n")


BETTER, MEAN = "the better of the other's eyes", "the mean of the other's eyes (shipped)"
LACKING: dict[str, Rule] = {
    "the same side alone": lambda _both, one: [one[2]],
    "the better of the query's eyes": lambda _both, one: [one[:2].max(0)],
    "the better of the query's eyes, less .05": lambda _both, one: [one[:2].max(0) - 0.05],
    "the same side, drawn to the query's mean by a fifth": lambda both, one: [shrunk(one[2], both, 0.8)],
    "the mean of the query's eyes (shipped)": lambda _both, one: [one[:2].mean(0)],
}


def shrunk(one: np.ndarray, both: np.ndarray, by: float) -> np.ndarray:
    middle = one.mean(axis=1, keepdims=True)
    return both.mean(axis=1, keepdims=True) + by * (one - middle)


def take_eyes(c: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Who of the gallery lacks an eye, which is left, and the query's eyes' cosines to it."""
    rng = np.random.default_rng(seed)
    count = c.shape[-1]
    lacks, side = rng.random(count) < 0.5, rng.integers(0, 2, count)
    return lacks, side, np.where(side == 0, c[:, 0], c[:, 1])


def without_some_eyes(title: str, asked: Persons, gallery: Persons, apart: bool) -> None:
    """Half of the gallery loses an eye, either of the two."""
    c = asked.cosines(gallery)
    both = person_similarity(c)
    whole = judge([both], asked, gallery, apart)
    rows = [["nobody lacks an eye", *cells(whole), "", ""]]
    for name, rule in LACKING.items():
        tables, shares = [], []
        for seed in range(DRAWS):
            lacks, side, eyes = take_eyes(c, seed)
            one = np.stack([*eyes, np.where(side == 0, eyes[0], eyes[1])])
            score = np.where(lacks, rule(both, one)[0], both)
            tables.append(judge([score], asked, gallery, apart))
            shares.append(among_first(score, lacks, apart))
        table = replace(whole, values=np.mean([t.values for t in tables], axis=0))
        rows.append([name, *cells(table), gained(table, whole), f"{np.mean(shares):.2f}"])
    head = ["one-eyed people compared by", *NAMES, "mAP@R beyond nobody", "share in the first ten"]
    print(f"### {title}: half of the gallery lacks an eye\n\n{piped([head, *rows])}\n")


def among_first(score: np.ndarray, lacks: np.ndarray, apart: bool) -> float:
    """Share of one-eyed people among the first ten, over their share of all: 1 is even-handed."""
    kept = score - 9.0 * np.eye(*score.shape) if apart else score
    first = np.argsort(-kept, axis=1)[:, :10]
    return float(lacks[first].mean() / lacks.mean())


def by_one_eye(title: str, asked: Persons, gallery: Persons, apart: bool) -> None:
    """The query has one eye, left or right, and everybody else both."""
    c = asked.cosines(gallery)
    rules = {
        "the same side alone": [c[0, 0], c[1, 1]],
        BETTER: [c[0].max(0), c[1].max(0)],
        MEAN: [c[0].mean(0), c[1].mean(0)],
    }
    judged = {name: judge(scores, asked, gallery, apart) for name, scores in rules.items()}
    base = next(iter(judged.values()))
    rows = [
        [name, *cells(t), "" if t is base else gained(t, base), "" if t is base else even_handed(c, rules[name], apart)]
        for name, t in judged.items()
    ]
    head = ["compared by", *NAMES, "mAP@R beyond the same side", "share of one-eyed people"]
    print(f"### {title}: the query has one eye\n\n{piped([head, *rows])}\n")


def even_handed(c: np.ndarray, scores: list[np.ndarray], apart: bool) -> str:
    """Where half of the gallery lacks an eye: their share of the first ten over that of all."""
    shares = []
    for seed in range(DRAWS):
        lacks, _, eyes = take_eyes(c, seed)
        shares += [
            among_first(np.where(lacks, eye, score), lacks, apart) for eye, score in zip(eyes, scores, strict=True)
        ]
    return f"{np.mean(shares):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--recipe", type=Path, default=Path("recipes/fundus-similarity-3.toml"))
    options = parser.parse_args()
    config, encoder = load_config(options.recipe, TrainConfig), Encoder.load()
    held, trained = read(options.data, ODIR, config, encoder)
    sides = (("ODIR, training people", trained, False), ("ODIR, people never seen", held, True))
    for title, gallery, apart in sides:
        compare(title, held, gallery, [*RULES], apart)
    for title, gallery, apart in sides:
        without_some_eyes(title, held, gallery, apart)
        by_one_eye(title, held, gallery, apart)
    few = [ONE, "the mean of the four pairs", BASE, SHIPPED]
    for name, title in OTHERS.items():
        held, trained = read(options.data, name, config, encoder)
        compare(f"{title}, training people", held, trained, few, apart=False)
        compare(f"{title}, people never seen", held, held, few, apart=True)


if __name__ == "__main__":
    main()

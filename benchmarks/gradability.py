"""How well a photograph's gradability is told, on people that the rule was not fitted to.

    python benchmarks/gradability.py DATA [--write] [--sheets FOLDER] [--no-probe]

Labels are EyeQ's of the photographs in DATA/eyepacs; reject is not gradable. A tenth of the fit
weighs copies of photographs of IDRiD, SRahim and CHASE_DB1 spoilt until nobody could grade them, a
fifth these photographs as they are: EyeQ alone knows few cameras and no evenly blurred
photograph. EyeQ is judged by cross-validation over people; each of the three sets by a rule fitted
without it; ODIR and TVHL are never fitted to. Beside it a linear probe on the descriptor of the
shipped encoder, on the same folds. Prints Markdown. --write keeps the rule fitted to all.
--sheets writes a picture of the lowest-rated photographs of each set.
"""

import argparse
import math
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from foveola.datasets.manifest import Manifest
from foveola.encoders.encoder import Encoder
from foveola.images.decode import decode
from foveola.images.fundus import Contract, prepare
from foveola.images.gradability import MEASURES, WARN_BELOW, WEIGHTS, Rule, measure
from foveola.metrics.estimates import percentiles, subject_weights
from foveola.metrics.probabilities import auc, sensitivity
from foveola.metrics.verification import Rate
from foveola.notebook import piped
from foveola.records import Case
from foveola.relevance.linear import logistic

SOUND = ("idrid", "srahim", "chase_db1")  # fitted to as gradable, and spoilt
OTHERS = ("odir", "tvhl")
SPOILT_SHARE, SOUND_SHARE = 0.1, 0.2  # of the fit
PENALTY = 0.03  # on the squared weights of the standardised measures, of the mean loss
PROBE_PENALTY = 0.3
FOLDS = 10
COPIES = 100  # of each set, spoilt in each way
DATA_TERMS = (
    "EyeQ quality labels (Fu et al., MICCAI 2019) of EyePACS photographs (Kaggle 2015; research "
    "use under the competition's terms); IDRiD (CC BY 4.0), SRahim (Rahim 2025; academic use with "
    "attribution), CHASE_DB1 (CC BY 4.0)"
)

Spoiler = Callable[[np.ndarray, np.random.Generator], np.ndarray]
SPOILERS: dict[str, Spoiler] = {  # (S, S, 3) float on 0 to 255
    "blurred": lambda x, r: cv2.GaussianBlur(x, (0, 0), len(x) * r.uniform(0.013, 0.026)),
    "dark": lambda x, r: x * r.uniform(0.06, 0.15),
    "hazy": lambda x, r: mixed(x, r.uniform(0.12, 0.25), r.uniform(100, 190)),
    "overexposed": lambda x, r: x * r.uniform(3, 6) + 60,
    "half in shade": lambda x, r: x * shade(len(x), r),
}


def mixed(x: np.ndarray, share: float, grey: float) -> np.ndarray:
    return x * share + grey * (1 - share)


def shade(size: int, r: np.random.Generator) -> np.ndarray:
    """(S, S, 1): dark beyond a soft edge through the middle, in any direction."""
    y, x = (np.mgrid[:size, :size] - size / 2) / (size / 2)
    angle = r.uniform(0, 2 * np.pi)
    far = x * np.cos(angle) + y * np.sin(angle) - r.uniform(-0.3, 0.1)
    return (0.08 + 0.92 / (1 + np.exp(8 * far)))[..., None]


class Set:
    """A data set: its cases with measures, and its people."""

    def __init__(self, data: Path, name: str) -> None:
        self.name = name
        self.cases = list(Manifest.read(data / name / "labels.csv", collection=name).cases())
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            self.measures = np.stack(list(pool.map(of_case, self.cases)))
        self.people = people(self.cases)

    def spoilt(self, seed: int = 0) -> dict[str, np.ndarray]:
        """(N, 6) measures of spoilt copies, by what was done."""
        r = np.random.default_rng(seed)
        chosen = r.permutation(len(self.cases))[:COPIES]
        squares = [square(self.cases[i]) for i in chosen]
        return {how: np.stack([known(spoil(x, do, r)) for x in squares]) for how, do in SPOILERS.items()}


def people(cases: list[Case]) -> np.ndarray:
    return np.unique([str(c.identity) for c in cases], return_inverse=True)[1]


def of_case(case: Case) -> np.ndarray:
    return known(decode(Path(case.path), min_side=320))


def known(pixels: np.ndarray) -> np.ndarray:
    """(6,), NaN where there is no field in colour."""
    found = measure(pixels)
    return np.full(len(MEASURES), np.nan) if found is None else found


def square(case: Case) -> np.ndarray:
    return prepare(decode(Path(case.path), min_side=320), Contract(size=320))


def spoil(image: np.ndarray, do: Spoiler, r: np.random.Generator) -> np.ndarray:
    field = image.max(axis=2, keepdims=True) > 0
    return (np.clip(do(image.astype(np.float32), r), 0, 255) * field).astype(np.uint8)


class Part:
    """Examples of one kind and how much they weigh together."""

    def __init__(self, measures: np.ndarray, bad: np.ndarray | float, share: float) -> None:
        sound = ~np.isnan(measures[:, 0])
        self.x = measures[sound]
        self.y = np.broadcast_to(np.asarray(bad, float), len(measures))[sound]
        self.share = np.full(len(self.x), share / max(len(self.x), 1))


def fit(eyeq: tuple[np.ndarray, np.ndarray], sound: np.ndarray, spoilt: np.ndarray) -> Rule:
    """A rule from EyeQ's measures and labels, and the measures of the others."""
    parts = [
        Part(*eyeq, 1 - SPOILT_SHARE - SOUND_SHARE),
        Part(sound, 0.0, SOUND_SHARE),
        Part(spoilt, 1.0, SPOILT_SHARE),
    ]
    low = parts[0].x.min(axis=0)
    # More of one than is usual does not make up for another.
    high = np.median(parts[0].x[parts[0].y == 0], axis=0)
    seen = np.clip(parts[0].x, low, high)
    mean, deviation = seen.mean(axis=0), seen.std(axis=0)
    x, y, share = (np.concatenate([getattr(p, n) for p in parts]) for n in ("x", "y", "share"))
    x = np.c_[np.ones(len(x)), (np.clip(x, low, high) - mean) / deviation]
    found = logistic(x, 1 - y, share, np.r_[0, np.full(len(MEASURES), PENALTY)])
    row = [tuple(np.round(v, 4).tolist()) for v in (found[1:], mean, deviation, low, high)]
    return Rule(
        constant=round(float(found[0]), 4),
        weights=row[0],
        mean=row[1],
        deviation=row[2],
        low=row[3],
        high=row[4],
        data=DATA_TERMS,
        command="python benchmarks/gradability.py DATA --write",
    )


def rated(rule: Rule, measures: np.ndarray) -> np.ndarray:
    return np.nan_to_num(rule.chance(measures))  # NaN: no field, so not gradable


def folds(of: np.ndarray, seed: int = 0) -> np.ndarray:
    """(N,) the fold of each person."""
    return (np.random.default_rng(seed).permutation(of.max() + 1) % FOLDS)[of]


def probe(descriptors: np.ndarray, bad: np.ndarray, of: np.ndarray) -> np.ndarray:
    """(N,) chance of gradable from the descriptor, each by a fit to other people."""
    result = np.zeros(len(bad))
    for k in range(FOLDS):
        here, there = folds(of) == k, folds(of) != k
        mean, deviation = descriptors[there].mean(axis=0), descriptors[there].std(axis=0) + 1e-9
        x = np.c_[np.ones(len(bad)), (descriptors - mean) / deviation]
        penalty = np.r_[0, np.full(x.shape[1] - 1, PROBE_PENALTY)]
        weights = logistic(x[there], 1.0 - bad[there], 1 / there.sum(), penalty)
        result[here] = 1 / (1 + np.exp(-x[here] @ weights))
    return result


def rate(of: Callable[[np.ndarray], np.ndarray], who: np.ndarray) -> Rate:
    """A figure with its 95 % interval over people. of: weights (B, N) -> (B,)."""
    weights = subject_weights(np.random.default_rng(0), 1000, int(who.max()) + 1)[:, who]
    low, high = percentiles(of(weights), 0.95)
    return Rate(float(of(np.ones((1, len(who))))[0]), float(low), float(high))


def mean(values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    return lambda weights: (weights @ values) / np.maximum(weights.sum(axis=1), 1e-9)


def told(found: Rate, digits: int = 3) -> str:
    if math.isnan(found.low):
        return f"{found.value:.{digits}f}"
    return f"{found.value:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})"


class Study:
    """All sets, and the rule that leaves out some people of EyeQ or one of the sound sets."""

    def __init__(self, data: Path) -> None:
        self.sets = {name: Set(data, name) for name in ("eyepacs", *SOUND, *OTHERS)}
        self.spoilt = {name: self.sets[name].spoilt() for name in (*SOUND, *OTHERS)}
        eyeq, all_ = self.sets["eyepacs"], self.sets["eyepacs"].cases
        quality = [next(iter(c.findings or ()), "").removeprefix("quality:") for c in all_]
        labelled = np.array([bool(q) for q in quality])
        self.quality = np.array(quality)[labelled]
        self.bad = self.quality == "reject"
        self.cases = [c for c, known_ in zip(all_, labelled, strict=True) if known_]
        self.measures = eyeq.measures[labelled]
        self.people = people(self.cases)

    def fit(self, train: np.ndarray | None = None, without: str = "") -> Rule:
        """train: bool (N,) of the labelled photographs of EyeQ."""
        train = np.ones(len(self.bad), bool) if train is None else train
        names = [name for name in SOUND if name != without]
        return fit(
            (self.measures[train], self.bad[train]),
            np.concatenate([self.sets[name].measures for name in names]),
            np.concatenate([x for name in names for x in self.spoilt[name].values()]),
        )

    def held_out(self) -> np.ndarray:
        """(N,) gradability of EyeQ's, each by a rule fitted to other people."""
        result = np.zeros(len(self.bad))
        for k in range(FOLDS):
            here = folds(self.people) == k
            result[here] = rated(self.fit(~here), self.measures[here])
        return result


def eyeq_table(study: Study, encoder: Encoder | None) -> str:
    """How well EyeQ's rejects are told, by the rule and by the probe."""
    rows = [["", "AUC, reject or not", "rejects warned of", "usable", "good"]]
    answers = {"six measures": study.held_out()}
    if encoder:
        seen = [decode(Path(c.path), min_side=encoder.contract.min_side) for c in study.cases]
        descriptors = np.stack([encoder.encode_photograph(image) for image in seen])
        answers["probe on the descriptor"] = probe(descriptors, study.bad, study.people)
    for name, value in answers.items():
        low = value < WARN_BELOW
        cells = [rate(lambda w, v=value: auc(-v, study.bad, w), study.people)]
        cells.append(rate(lambda w, a=low: sensitivity(a, study.bad, w), study.people))
        for kind in ("usable", "good"):
            cells.append(rate(lambda w, a=low, k=study.quality == kind: sensitivity(a, k, w), study.people))
        rows.append([name, *map(told, cells)])
    if len(answers) == 2:
        a, b = answers.values()
        gap = rate(lambda w: auc(-b, study.bad, w) - auc(-a, study.bad, w), study.people)
        rows.append(["probe less measures", told(gap), "", "", ""])
    return piped(rows)


def others_table(study: Study) -> str:
    """Which photographs of other sets are warned of, as they are and spoilt."""
    rows = [["data set", "photographs", "warned of", *(f"{how}" for how in SPOILERS)]]
    for name in (*SOUND, *OTHERS):
        one, rule = study.sets[name], study.fit(without=name)
        warned = (rated(rule, one.measures) < WARN_BELOW).astype(float)
        spoilt = [np.mean(rated(rule, x) < WARN_BELOW) for x in study.spoilt[name].values()]
        rows.append([name, f"{len(warned):,}", told(rate(mean(warned), one.people)), *(f"{x:.2f}" for x in spoilt)])
    return piped(rows)


def keywords_table(study: Study, rule: Rule) -> str:
    """ODIR's photographs by what their readers noted."""
    odir = study.sets["odir"]
    words = np.array([str(c.extra.get("keywords", "")) for c in odir.cases])
    value, normal = rated(rule, odir.measures), words == "normal fundus"
    rows = [["ODIR's readers noted", "photographs", "warned of", "AUC against normal fundus"]]
    for word in ("normal fundus", "refractive media opacity", "cataract", "lens dust"):
        here = np.array([word in each for each in words]) if word != "normal fundus" else normal
        warned = rate(mean((value[here] < WARN_BELOW).astype(float)), renumbered(odir.people[here]))
        both = here | normal
        against = rate(lambda w, b=both, h=here: auc(-value[b], h[b], w), renumbered(odir.people[both]))
        last = "" if word == "normal fundus" else told(against)
        rows.append([word, f"{here.sum():,}", told(warned), last])
    return piped(rows)


def renumbered(of: np.ndarray) -> np.ndarray:
    return np.unique(of, return_inverse=True)[1]


def milliseconds(study: Study) -> float:
    """A photograph on one core, decoded already: median of 200."""
    cv2.setNumThreads(1)
    seen = [decode(Path(c.path), min_side=320) for c in study.sets["odir"].cases[:200]]
    taken = []
    for image in seen:
        start = time.perf_counter()
        measure(image)
        taken.append((time.perf_counter() - start) * 1000)
    return float(np.median(taken))


def sheet(one: Set, value: np.ndarray, path: Path, count: int = 48, side: int = 150) -> None:
    """The lowest-rated photographs with their values; for eyes here, never to be committed."""
    tiles = []
    for i in np.argsort(value, kind="stable")[:count]:
        image = decode(Path(one.cases[i].path), min_side=side)
        tile = prepare(image, Contract(size=side, mask=False)).copy()
        cv2.putText(tile, f"{value[i]:.2f}", (3, 13), 0, 0.4, (255, 255, 255), 1)
        tiles.append(tile)
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % 12)
    rows = [np.hstack(tiles[k : k + 12]) for k in range(0, len(tiles), 12)]
    cv2.imwrite(str(path), np.vstack(rows)[..., ::-1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--sheets", type=Path)
    parser.add_argument("--no-probe", action="store_true")
    arguments = parser.parse_args()
    study = Study(arguments.data)
    rule = study.fit()
    if arguments.write:
        rule.save(WEIGHTS)
    counts = ", ".join(f"{(study.quality == k).sum()} {k}" for k in ("good", "usable", "reject"))
    print(f"EyeQ: {counts}; {study.people.max() + 1} people; warned of below {WARN_BELOW}\n")
    print(eyeq_table(study, None if arguments.no_probe else Encoder.load()), end="\n\n")
    print(others_table(study), end="\n\n")
    print(keywords_table(study, rule), end="\n\n")
    weights = zip(MEASURES, rule.weights, strict=True)
    print("weights: " + ", ".join(f"{name} {w:+.2f}" for name, w in weights))
    print(f"{milliseconds(study):.1f} ms a photograph on one core, decoded already")
    for name, one in study.sets.items() if arguments.sheets else ():
        sheet(one, rated(rule, one.measures), arguments.sheets / f"gradability-{name}.png")


if __name__ == "__main__":
    main()

"""Same-eye verification on photographs that no encoder was trained on.

    python benchmarks/matching.py DATA [--encoder NAME ...]

DATA is a folder with tvhl/labels.csv (docs/how-to/matching.md). Two protocols:

    easy   each photograph whose eye was photographed twice asks all others; the eye's other
           photographs were taken minutes apart
    hard   a hard second visit (foveola.matching.calibrate) of each of these asks all photographs but the
           one it was made of

Rows: each encoder alone, local features alone, and both by a calibration that is fitted on one
half of the subjects and used on the other. Prints Markdown.
"""

import argparse
import functools
import multiprocessing
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from foveola.datasets.manifest import Manifest
from foveola.duplicates.registration import agree
from foveola.encoders.card import render_card
from foveola.encoders.encoder import Encoder
from foveola.encoders.release import DEFAULT, MATCHER, Release, write_release
from foveola.matching.calibrate import Views, look
from foveola.matching.pair import Evidence, compared, fit
from foveola.metrics.identification import Identification, IdentityData, identify
from foveola.notebook import piped

CAPTION = (
    "Same eye on TVHL, never trained on (`python benchmarks/matching.py DATA`; 95 % intervals over "
    "people). easy: the eye's other photographs were taken minutes apart; hard: a second visit "
    "made of a photograph, 60 % of the field, other light, lesions painted in."
)
HEAD = ("by", "AUC", "EER, %", "FNMR at FMR 0.1 %", "rank-1")  # `cells` fills the last four
SCALE = 60  # log ratios lie well within, and similarities between -1 and 1


compares: "Pairs"  # of a process of `evidence`
square: Callable[[int], np.ndarray]  # of these, kept: a tenth of all pairs look at their pixels


class Pairs:
    """All pairs of a protocol: queries (rows), gallery (columns), and what is left out."""

    def __init__(self, views: Views, hard: bool) -> None:
        count = len(views.cases)
        often = {i for i in views.identities if views.identities.count(i) > 1}
        self.views, self.hard = views, hard
        self.asked = [i for i in range(count) if views.identities[i] in often]
        self.row_of = {i: row for row, i in enumerate(self.asked)}
        self.queries = [count + i for i in self.asked] if hard else self.asked
        self.identities = [views.identities[i] for i in self.asked]
        self.subjects = [views.cases[i].identity for i in self.asked]
        people = sorted({case.identity for case in views.cases})
        self.fold = np.array([people.index(s) % 2 for s in self.subjects])
        self.same = np.array([[a == b for b in views.identities] for a in self.identities])
        self.self = np.array(self.asked)[:, None] == np.arange(count)

    def cosines(self, views: Views) -> np.ndarray:
        """(Q, N) of these views of the photographs."""
        return np.stack([views.descriptor(i) for i in self.queries]) @ views.plain.T

    def judge(self, similarity: np.ndarray) -> Identification:
        """Each query against all photographs but its own."""
        shape = np.ones((len(self.asked), 2), np.float32)
        everyone = np.ones((len(self.views.cases), 2), np.float32)
        queries = IdentityData(shape, self.identities, self.subjects, visits=self.asked)
        gallery = IdentityData(everyone, self.views.identities, visits=range(len(everyone)))
        return identify(queries, gallery, similarity=lambda part: similarity[part])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--encoder", action="append", help="to compare; the last one is combined")
    parser.add_argument("--card", action="store_true", help="write the table into its card")
    arguments = parser.parse_args()
    names = arguments.encoder or [DEFAULT, MATCHER]
    encoders = [Encoder.load(name) for name in names]
    cv2.setNumThreads(1)
    cases = list(Manifest.read(arguments.data / "tvhl/labels.csv", collection="tvhl").cases())
    with tempfile.TemporaryDirectory() as folder:
        views = look(encoders[-1], cases, np.arange(len(cases)), Path(folder))
        # an encoder describes each photograph and its hard visit once, for both protocols
        seen_by = {e.name: described(e, views) for e in encoders[:-1]}
        seen_by[encoders[-1].name] = views
        sides = {name: Pairs(views, name == "hard") for name in ("easy", "hard")}
        seen = {name: evidence(pairs) for name, pairs in sides.items()}
    rows = [["protocol", *HEAD]]
    both = cross_fitted(sides, seen, encoders[-1].fingerprint)
    for protocol, pairs in sides.items():
        ways = {name: pairs.cosines(of) for name, of in seen_by.items()}
        ways |= {"features": np.stack([by_features(line) for line in seen[protocol]]), "both": both[protocol]}
        rows += [[protocol, way, *cells(pairs.judge(x))] for way, x in ways.items()]
        reached = among_first(pairs, pairs.cosines(views))
        print(f"{protocol}: the eye is among the first {reached} by {encoders[-1].name}")
    first = sides["easy"].judge(both["easy"]).verification
    said = f"{len(cases)} photographs, {first.genuine // 2} pairs of one eye."
    print(f"{said}\n\n{piped(rows)}")
    if arguments.card:
        write_card(encoders[-1].release, f"{CAPTION} {said}", rows)


def write_card(release: Release, caption: str, rows: list[list[str]]) -> None:
    """Put a table into the encoder's card; a table of the same beginning is replaced."""
    kept = [t for t in release.card.get("tables", []) if t["caption"][:20] != caption[:20]]
    card = dict(release.card) | {"tables": [*kept, {"caption": caption, "rows": rows}]}
    made = write_release(
        release.folder, name=release.name, dimension=release.dimension, contract=release.contract, card=card
    )
    (release.folder / "CARD.md").write_text(render_card(made), encoding="utf-8")


def described(encoder: Encoder, views: Views) -> Views:
    """The same photographs by another encoder; without features."""
    with tempfile.TemporaryDirectory() as folder:
        every = np.arange(len(views.cases))
        return look(encoder, views.cases, every, Path(folder), features=False)


def evidence(pairs: Pairs) -> list[list[Evidence]]:
    """Of every pair, (Q, N).

    By processes, as threads wait for each other here: a comparison is a hundred short calls.
    """
    forked = multiprocessing.get_context("fork")  # they share the features as they are
    with ProcessPoolExecutor(mp_context=forked, initializer=alone, initargs=(pairs,)) as pool:
        table = list(pool.map(row, range(len(pairs.queries)), chunksize=4))
    if not pairs.hard:
        for r, i in enumerate(pairs.asked):
            for j in pairs.asked[:r]:
                table[r][j] = table[pairs.row_of[j]][i]
    return table


def alone(pairs: Pairs) -> None:
    """Begin a process of `evidence`: these pairs, on one core."""
    global compares, square
    compares, square = pairs, functools.cache(pairs.views.square)
    threadpool_limits(1)


def row(r: int) -> list[Evidence]:
    """Of one query and all photographs."""
    pairs = compares
    views, i = pairs.views, pairs.queries[r]
    own, line = views.features.get(i), []
    for j, cosine in enumerate((views.plain @ views.descriptor(i)).tolist()):
        if pairs.self[r, j] or (not pairs.hard and pairs.row_of.get(j, r) < r):  # see `evidence`
            line.append(Evidence(cosine))
            continue
        agreed = agree(own, views.features.get(j))
        line.append(compared(cosine, agreed, lambda j=j: (square(i), square(j))))
    return line


def among_first(pairs: Pairs, cosines: np.ndarray) -> str:
    """Share of the queries whose eye is among the candidates that `match` would compare."""
    ranked = np.argsort(-np.where(pairs.self, -2, cosines), axis=1)
    right = np.take_along_axis(pairs.same & ~pairs.self, ranked, axis=1)
    asked = right[right.any(axis=1)]
    found = [f"{count}: {asked[:, :count].any(axis=1).mean():.3f}" for count in (20, 50, 100)]
    return ", ".join(found)


def cross_fitted(sides: dict[str, Pairs], seen: dict[str, list[list[Evidence]]], encoder: str) -> dict[str, np.ndarray]:
    """Similarity by both kinds of evidence, fitted on the other half of the subjects."""
    scores = {name: np.zeros(pairs.same.shape) for name, pairs in sides.items()}
    for fold in (0, 1):
        known, truth = [], []
        for name, pairs in sides.items():
            for r in np.flatnonzero(pairs.fold != fold):
                kept = ~pairs.self[r]
                known += [e for e, keep in zip(seen[name][r], kept, strict=True) if keep]
                truth += pairs.same[r][kept].tolist()
        made = fit(known, truth, encoder)
        for name, pairs in sides.items():
            for r in np.flatnonzero(pairs.fold == fold):
                scores[name][r] = np.clip(made.score(seen[name][r]) / SCALE, -1, 1)
    return scores


def by_features(found: Sequence[Evidence]) -> np.ndarray:
    """Similarity by the number of features that agree, and where it is the same by the pixels under their map."""
    return np.log1p([e.inliers + max(e.correlation, 0) for e in found]) / 10


def cells(found: Identification) -> list[str]:
    """AUC, EER, FNMR and rank-1 with intervals."""
    seen, first = found.verification, found.metrics["rank-1"]
    eer = [100 * x for x in (seen.eer.value, *seen.eer.interval)]
    fnmr = seen.fnmr[1e-3]
    return [
        f"{seen.auc.value:.4f} ({seen.auc.low:.4f} to {seen.auc.high:.4f})",
        f"{eer[0]:.2f} ({eer[1]:.2f} to {eer[2]:.2f})",
        f"{fnmr.value:.3f} ({fnmr.low:.3f} to {fnmr.high:.3f})",
        f"{first.value.micro:.3f} ({first.low.micro:.3f} to {first.high.micro:.3f})",
    ]


if __name__ == "__main__":
    main()

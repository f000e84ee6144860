"""What is probably filed wrong in an archive: a worklist, the surest first, each with evidence.

    one eye, two subjects    photographs of one eye under two pseudonyms
    two eyes, one id         photographs under one subject and eye that show different eyes
    wrong side               left filed as right, or one eye filed as both
    copy                     one photograph twice: the same bytes or pixels, or altered
    two splits               a subject, an eye or a photograph on both sides of a split
    label                    a grade or finding that the most similar cases speak against

Nothing is changed: a person decides, and what was decided is not raised again (`decisions`).
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveola.duplicates import find_duplicates
from foveola.duplicates.find import Pair
from foveola.duplicates.registration import agree
from foveola.encoders.encoder import Encoder
from foveola.laterality import Laterality, Side, read_views
from foveola.matching.pair import Calibration, Evidence, compared, local_features, read_square
from foveola.matching.saved_audit import KINDS, Audit, Finding, Kind
from foveola.metrics.ranking import query_blocks, unit_rows
from foveola.records import Case
from foveola.relevance.linear import logistic

Vectors = NDArray[np.float32]
COPIES = ("file", "pixels", "photograph")

ERRORS = 0.02  # share of records taken to be wrong before looking, for "two eyes" and "side"
ASKED = 0.12  # probability from which two eyes under one id, or a side, are raised (docs/how-to/audit.md)
MOST_LABELS = 100  # doubts about grades, and about findings, that are raised: the worst


def audit(
    cases: Sequence[Case],
    matching: Vectors,
    similarity: Vectors | None,
    encoder: Encoder,
    calibration: Calibration,
    laterality: Laterality,
    *,
    progress: Callable[[int], None] | None = None,
) -> Audit:
    """Look for what is filed wrong.

    Args:
        cases: N photographs.
        matching: (N, D) descriptors of the matching encoder; a row of zeros where there is none.
        similarity: (N, D) descriptors of the similarity encoder, for labels; None leaves them out.
        encoder: the matching encoder.
        calibration: of that encoder.
        laterality: of that encoder.
        progress: called with the number of photographs just dealt with, twice for each.
    """
    found = find_duplicates(cases, matching, progress=progress)
    findings = list(_of_pairs(cases, found.pairs))
    checked = {"photographs": len(cases) - len(found.failed), "pairs": found.candidates}
    eyes = list(_of_one_id(cases, found.pairs))
    findings += _two_eyes(cases, matching, eyes, calibration)
    sides = [i for i, case in enumerate(cases) if case.eye is not None and matching[i].any()]
    findings += _wrong_side(cases, sides, encoder, laterality, progress)
    findings += _split_records(cases)
    if similarity is not None:
        findings += _labels(cases, similarity)
    checked |= {"pairs under one subject and eye": len(eyes), "sides": len(sides)}
    findings.sort(key=lambda f: (KINDS.index(f.kind), -f.score, f.cases))
    return Audit(tuple(findings), checked, found.failed)


def _of_pairs(cases: Sequence[Case], pairs: Sequence[Pair]) -> Iterator[Finding]:
    """What is wrong about photographs that show one eye."""
    for pair in pairs:
        a, b = cases[pair.first], cases[pair.second]
        copied = pair.kind in COPIES
        found: list[tuple[Kind, str]] = []
        if a.identity != b.identity:
            what = "are copies of one photograph" if copied else "show one eye"
            found.append(("one eye, two subjects", f"Both {what}, and are filed under two subjects."))
        elif a.eye and b.eye and (a.eye == b.eye) == pair.mirrored:
            turned = "mirror images of each other" if pair.mirrored else "of one eye"
            found.append(("wrong side", f"Both are {turned}, and are filed as {a.eye} and {b.eye}."))
        if copied:
            found.append(("copy", _COPIED[pair.kind]))
        one, other = a.extra.get("split"), b.extra.get("split")
        if one and other and one != other:
            found.append(("two splits", f"Both show one eye, and lie in the splits {one} and {other}."))
        evidence: dict[str, str | int | float] = {"pair": pair.kind}
        if pair.inliers >= 0:
            evidence |= {
                "features that agree": pair.inliers,
                "correlation of vessels": round(pair.correlation, 3),
                "difference of light": round(pair.light, 3),
                "overlap": round(pair.overlap, 3),
            }
        if pair.mirrored:
            evidence["mirrored"] = "yes"
        score = 1.0 if pair.inliers < 0 else min(1.0, pair.inliers / 60 + pair.correlation / 2)
        for kind, sentence in found:
            yield Finding(kind=kind, cases=(pair.first, pair.second), score=score, evidence=evidence, said=sentence)


_COPIED = {
    "file": "Both files have the same bytes.",
    "pixels": "Both have the same pixels in other bytes.",
    "photograph": "One is an altered copy of the other: vessels and light agree.",
}


def _of_one_id(cases: Sequence[Case], pairs: Sequence[Pair]) -> Iterator[tuple[int, int]]:
    """Pairs under one subject and eye that were not shown to be one eye."""
    shown = {(pair.first, pair.second) for pair in pairs}
    eyes: dict[tuple[object, str], list[int]] = defaultdict(list)
    for i, case in enumerate(cases):
        if case.subject is not None and case.eye is not None:
            eyes[(case.identity, case.eye)].append(i)
    for members in eyes.values():
        yield from (pair for pair in combinations(members, 2) if pair not in shown)


def _two_eyes(
    cases: Sequence[Case], matching: Vectors, pairs: Sequence[tuple[int, int]], calibration: Calibration
) -> Iterator[Finding]:
    """Pairs under one subject and eye whose evidence speaks for two eyes."""

    def look(pair: tuple[int, int]) -> Evidence | None:
        squares = [read_square(Path(cases[i].path)) for i in pair]
        first, second = squares
        if first is None or second is None:
            return None
        agreed = agree(local_features(first), local_features(second))
        cosine = float(matching[pair[0]] @ matching[pair[1]])
        return compared(cosine, agreed, lambda: (first, second))

    with ThreadPoolExecutor() as pool:
        evidence = list(pool.map(look, pairs))
    for pair, seen in zip(pairs, evidence, strict=True):
        if seen is None:
            continue
        wrong = _wrong(float(np.exp(calibration.log_ratio([seen])[0])))
        if wrong >= ASKED:
            yield Finding(
                kind="two eyes, one id",
                cases=pair,
                score=wrong,
                said="Both are filed under one subject and eye, and show different eyes.",
                evidence={
                    "probability": round(wrong, 4),
                    "cosine": round(seen.cosine, 3),
                    "features that agree": seen.inliers,
                },
            )


def _wrong_side(
    cases: Sequence[Case],
    places: Sequence[int],
    encoder: Encoder,
    laterality: Laterality,
    progress: Callable[[int], None] | None,
) -> Iterator[Finding]:
    """Photographs that look like the other eye than the one they are filed as."""
    for i, side in _sides(cases, places, encoder, laterality, progress):
        if side.eye == cases[i].eye:
            continue
        wrong = _wrong(max(1 - side.probability, 1e-6) / side.probability)
        if wrong >= ASKED:
            yield Finding(
                kind="wrong side",
                cases=(i,),
                score=wrong,
                said=f"It is filed as {cases[i].eye}, and looks like a {side.eye} eye.",
                evidence={
                    "probability": round(wrong, 4),
                    "looks like": side.eye,
                    "probability of being upside down": round(side.upside_down, 4),
                },
            )


def _sides(
    cases: Sequence[Case],
    places: Sequence[int],
    encoder: Encoder,
    laterality: Laterality,
    progress: Callable[[int], None] | None,
) -> Iterator[tuple[int, Side]]:
    """Which eye each shows, where cameras that turn the retina upside down are a set's own."""
    sets: dict[str, dict[int, Vectors]] = defaultdict(dict)
    with ThreadPoolExecutor() as pool:
        read = pool.map(lambda i: read_views(encoder, Path(cases[i].path)), places)
        for i, views in zip(places, read, strict=True):
            if progress:
                progress(1)
            if views is not None:
                sets[cases[i].collection][i] = views
    for members in sets.values():
        stacked = np.stack(list(members.values()))
        visits = [(cases[i].identity, cases[i].visit) for i in members]
        share = laterality.share_upside_down(stacked, visits)
        yield from zip(members, laterality.of(stacked, share, visits), strict=True)


def _wrong(ratio: float) -> float:
    """Probability that a record is wrong; `ratio` is how many times likelier evidence is if not."""
    return ERRORS / (ERRORS + (1 - ERRORS) * ratio)


def _split_records(cases: Sequence[Case]) -> Iterator[Finding]:
    """Subjects whose records lie in more than one split."""
    people: dict[object, dict[str, int]] = defaultdict(dict)
    for i, case in enumerate(cases):
        split = case.extra.get("split")
        if split and case.subject is not None:
            people[case.identity].setdefault(str(split), i)
    for splits in people.values():
        if len(splits) > 1:
            names = sorted(splits)
            yield Finding(
                kind="two splits",
                cases=tuple(splits[name] for name in names),
                score=1.0,
                said=f"One subject lies in the splits {' and '.join(names)}.",
                evidence={"by": "record"},
            )


def _labels(cases: Sequence[Case], similarity: Vectors) -> Iterator[Finding]:
    """The worst doubts of each column."""
    every = doubts(similarity, cases)
    for column in ("grade", "findings"):
        for doubt in [d for d in every if d.column == column][:MOST_LABELS]:
            word = "is missing" if doubt.missing else "is doubtful"
            instead = f"; {doubt.instead} is likelier" if doubt.instead else ""
            yield Finding(
                kind="label",
                cases=(doubt.case, *doubt.neighbours[:3]),
                score=doubt.score,
                said=f"{doubt.value} {word}: its probability by the cases of other people is "
                f"{100 * doubt.probability:.0f} %{instead}.",
                evidence={
                    "value": f"{'no ' if doubt.missing else ''}{doubt.value}",
                    "probability": round(doubt.probability, 3),
                    "share of the most similar cases that carry it": round(doubt.share, 3),
                },
            )


# --- labels: grades and findings that other people's cases speak against ---
#
# A label is judged by a classifier that has not seen the person: logistic regression on the
# descriptors, for one tenth of the people at a time fitted to all others. A grade is ordinal, so
# there is one question for each step (is it more than g?), and it is doubted where a grade two or
# more steps away is likelier than itself: neighbouring grades are where graders differ. A finding
# has lines of its own, those of confident learning (Northcutt et al., JAIR 2021): with t1 and t0 the
# mean probability among the cases that carry it and those that do not, it is doubted at no more than
# t0 and missed at t1 or more, and the order is by how far it lies from the usual, t1 - p or p - t0: a
# finding that the classifier never recognises is not doubted for being rare. The nearest cases are
# named beside, as what a person can look at.
#
# Letters: N cases, K neighbours.


Unit = NDArray[np.float64]
Floats = NDArray[np.float64]

NEIGHBOURS = 15
_LEAST = 5  # cases that must carry a value, and must not, before it is judged
_FOLDS = 10
_PENALTY = 1e-4  # on the squared weights of unit descriptors, of the mean loss
_FAR = 2  # steps between grades that are more than a matter of opinion


@dataclass(frozen=True)
class Doubt:
    """A label that the neighbours speak against.

    Attributes:
        case: its place among the cases.
        column: "grade" or "findings".
        value: what is doubted ("grade 2") or missed.
        missing: whether the value is missed rather than doubted.
        probability: of the value, by the classifier that has not seen the person.
        instead: the likeliest value, for a grade.
        score: from 0 to 1, for the order within a column: of a grade how much likelier it is two
            or more steps away than right; of a finding how far it lies from what is usual.
        share: of the nearest cases of other people that carry the value.
        neighbours: places of these, best first.
    """

    case: int
    column: str
    value: str
    missing: bool
    probability: float
    instead: str
    score: float
    share: float
    neighbours: tuple[int, ...]


def doubts(descriptors: Vectors, cases: Sequence[Case], *, neighbours: int = NEIGHBOURS) -> list[Doubt]:
    """Find labels that disagree with those of other people, worst first.

    Args:
        descriptors: (N, D) of the similarity encoder; a row of zeros where there is none.
        cases: N.
        neighbours: K, of other people and with a label of that column.
    """
    unit = unit_rows(np.asarray(descriptors))
    found = _grades(unit, cases, neighbours) + _findings(unit, cases, neighbours)
    return sorted(found, key=lambda doubt: (-doubt.score, doubt.case, doubt.value))


def _grades(unit: Unit, cases: Sequence[Case], k: int) -> list[Doubt]:
    seen = _described(unit)
    rows = [i for i, case in enumerate(cases) if case.grade is not None and i in seen]
    grades = np.array([cases[i].grade for i in rows], dtype=np.int64)
    values, counts = np.unique(grades, return_counts=True)
    if (counts >= _LEAST).sum() < 2:
        return []
    more = np.stack([grades > value for value in values[:-1]], axis=1)
    chances = _of_steps(_out_of_fold(unit[rows], more, _people(cases, rows)))
    own = chances[np.arange(len(rows)), np.searchsorted(values, grades)]
    far = (chances * (np.abs(values - grades[:, None]) >= _FAR)).sum(axis=1)
    carried = np.stack([grades == value for value in values], axis=1)
    near, shares = _shares(unit, cases, rows, carried, k)
    found = []
    for r in np.flatnonzero(far > own).tolist():
        mine = int(np.searchsorted(values, grades[r]))
        found.append(
            Doubt(
                rows[r],
                "grade",
                f"grade {grades[r]}",
                False,
                float(own[r]),
                f"grade {values[chances[r].argmax()]}",
                float(far[r] - own[r]),
                float(shares[r, mine]),
                tuple(near[r]),
            )
        )
    return found


def _of_steps(more: Floats) -> Floats:
    """(N, G) probability of each grade from (N, G - 1) that it is more than each but the last."""
    edges = np.concatenate([np.ones((len(more), 1)), more, np.zeros((len(more), 1))], axis=1)
    steps = np.maximum(edges[:, :-1] - edges[:, 1:], 0)
    return np.asarray(steps / np.maximum(steps.sum(axis=1, keepdims=True), 1e-12))


def _findings(unit: Unit, cases: Sequence[Case], k: int) -> list[Doubt]:
    told: dict[str, set[str]] = {}
    for case in cases:
        told.setdefault(case.collection, set()).update(case.findings or ())
    seen = _described(unit)
    found = []
    for name in sorted(set().union(*told.values()) if told else ()):
        if name.startswith("quality:"):
            continue
        # a data set that never names a finding says nothing of it
        rows = [i for i, c in enumerate(cases) if c.findings is not None and name in told[c.collection] and i in seen]
        own = np.array([name in (cases[i].findings or ()) for i in rows], bool)
        if min(own.sum(), (~own).sum()) < _LEAST:
            continue
        chance = _out_of_fold(unit[rows], own[:, None], _people(cases, rows))[:, 0]
        usual, absent = float(chance[own].mean()), float(chance[~own].mean())
        doubted = np.where(own, chance <= absent, chance >= usual)
        near, shares = _shares(unit, cases, rows, own[:, None], k)
        for r in np.flatnonzero(doubted).tolist():
            has, p = bool(own[r]), float(chance[r])
            found.append(
                Doubt(
                    rows[r],
                    "findings",
                    name,
                    not has,
                    p,
                    "",
                    max(0.0, usual - p if has else p - absent),
                    float(shares[r, 0]),
                    tuple(near[r]),
                )
            )
    return found


def _described(unit: Unit) -> set[int]:
    """Places of cases that have a descriptor."""
    return set(np.flatnonzero((unit != 0).any(axis=1)).tolist())


def _people(cases: Sequence[Case], rows: Sequence[int]) -> NDArray[np.int64]:
    """(N,) a number for each person."""
    codes: dict[object, int] = {}
    return np.array([codes.setdefault(cases[i].identity, len(codes)) for i in rows])


def _out_of_fold(x: Unit, y: NDArray[np.bool_], people: NDArray[np.int64]) -> Floats:
    """(N, L) probabilities of L yes-or-no questions, each by classifiers without that person."""
    columns = np.column_stack([np.ones(len(x)), x]).astype(np.float64)
    penalty = np.r_[0.0, np.full(x.shape[1], _PENALTY)]
    chances = np.empty(y.shape)
    for fold in range(_FOLDS):
        asked = people % _FOLDS == fold
        for question in range(y.shape[1]):
            known = y[~asked, question].astype(np.float64)
            weights = logistic(columns[~asked], known, 1 / max(1, len(known)), penalty)
            odds = np.clip(columns[asked] @ weights, -50, 50)
            chances[asked, question] = 1 / (1 + np.exp(-odds))
    return chances


def _shares(
    every: Unit, cases: Sequence[Case], rows: Sequence[int], own: NDArray[np.bool_], k: int
) -> tuple[list[list[int]], Floats]:
    """Nearest cases of other people among rows, and the share of each value among them."""
    unit, people = every[list(rows)], _people(cases, rows)
    near: list[list[int]] = []
    shares = np.full(own.shape, np.nan)
    for part in query_blocks(len(rows), len(rows)):
        similar = unit[part] @ unit.T
        similar[people[part, None] == people] = -np.inf
        first = np.argsort(-similar, axis=1, kind="stable")[:, :k]
        for r, line in enumerate(first, start=part.start):
            kept = line[np.isfinite(similar[r - part.start, line])]
            near.append([rows[j] for j in kept])
            if len(kept):
                shares[r] = own[kept].mean(axis=0)
    return near, shares

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
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveola.duplicates import find_duplicates
from foveola.duplicates.find import Pair
from foveola.duplicates.registration import agree
from foveola.encoders.encoder import Encoder
from foveola.laterality import Laterality, Side, read_views
from foveola.matching.label_errors import doubts
from foveola.matching.pair import compared, local_features, read_square
from foveola.matching.probability import Calibration, Evidence
from foveola.matching.saved_audit import KINDS, Audit, Finding, Kind
from foveola.records import Case

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

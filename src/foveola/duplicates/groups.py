"""From pairs to what a person should look at: groups, the worst first, and a summary.

A group is everything that pairs connect. What makes it bad, worst first: copies that
contradict each other or lie on two sides of a split; one eye under two subjects; the rest.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from foveola.duplicates.find import KINDS, Found, Kind, Pair
from foveola.plain import plain
from foveola.records import Case

WORDS: dict[Kind, str] = {
    "file": "same file",
    "pixels": "same pixels",
    "photograph": "same photograph",
    "eye": "same eye",
}


@dataclass(frozen=True)
class Group:
    """Photographs that pairs connect.

    Attributes:
        members: places among the cases, in order.
        pairs: what connects them, the strongest first.
        kind: of the closest pair.
        contradictions: what copies disagree on: "eye", "findings", "grade".
        across_splits: whether copies or photographs of one eye lie in two splits.
        across_subjects: whether two known subjects of one collection are in it.
        unknown_subjects: whether the subject of any is unknown, so that a split may part them.
        across_collections: whether two collections are in it.
    """

    members: tuple[int, ...]
    pairs: tuple[Pair, ...]
    kind: Kind
    contradictions: tuple[str, ...]
    across_splits: bool
    across_subjects: bool
    unknown_subjects: bool
    across_collections: bool

    @property
    def expected(self) -> bool:
        """Return whether these are photographs of one eye of one subject, as of a second visit."""
        apart = self.across_splits or self.across_subjects or self.across_collections
        flaw = apart or self.unknown_subjects or self.contradictions
        return self.kind == "eye" and not flaw

    @property
    def order(self) -> tuple[int, int, int, int]:
        """Return what sorts the worst first."""
        doubt = 2 * self.across_splits + bool(self.contradictions)
        wide = self.across_subjects + self.unknown_subjects + self.across_collections
        return -doubt, KINDS.index(self.kind), -wide, -self.pairs[0].inliers


def group(cases: Sequence[Case], pairs: Sequence[Pair]) -> list[Group]:
    """Group the pairs by what connects them, the worst first; ties keep the order of the cases."""
    from scipy.sparse import coo_array  # takes .1 s, which a match need not wait for
    from scipy.sparse.csgraph import connected_components

    ends = np.array([(pair.first, pair.second) for pair in pairs], np.int32).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), ends.T), shape=(len(cases), len(cases)))
    part = connected_components(graph, directed=False)[1]
    together: dict[int, list[Pair]] = defaultdict(list)
    for pair in pairs:
        together[part[pair.first]].append(pair)
    groups = [_group(cases, found) for found in together.values()]
    return sorted(groups, key=lambda one: (one.order, one.members))


def summary(cases: Sequence[Case], groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Count pairs by two collections and kind, and how many contradict, cross subjects or splits."""
    counts: dict[tuple[str, str, Kind], Counter[str]] = defaultdict(Counter)
    for pair in (pair for one in groups for pair in one.pairs):
        a, b = cases[pair.first], cases[pair.second]
        names = sorted((a.collection, b.collection))
        counts[names[0], names[1], pair.kind] += Counter(
            pairs=1,
            contradicting=any(_contradictions(a, b, pair)),
            across_subjects=_other_subject(a, b),
            across_splits=_other_split(a, b),
        )
    order = sorted(counts, key=lambda key: (key[:2], KINDS.index(key[2])))
    columns = ("pairs", "contradicting", "across_subjects", "across_splits")
    return [
        {"collections": [a, b], "kind": kind, **{c: counts[a, b, kind][c] for c in columns}} for a, b, kind in order
    ]


def to_dict(cases: Sequence[Case], found: Found) -> dict[str, Any]:
    """Return everything found as plain values. Images by name and collection, never a subject."""
    groups = group(cases, found.pairs)
    return {
        "images": len(cases),
        "candidates": found.candidates,
        "summary": summary(cases, groups),
        "groups": [_group_json(cases, one) for one in groups],
    }


def _group_json(cases: Sequence[Case], one: Group) -> dict[str, Any]:
    names = [{"collection": cases[i].collection, "image": cases[i].image} for i in one.members]
    place = {i: n for n, i in enumerate(one.members)}
    pairs = []
    for pair in one.pairs:
        values = asdict(pair) | {"first": place[pair.first], "second": place[pair.second]}
        if pair.inliers < 0:  # identical: nothing was compared
            values |= {"inliers": None}
        pairs.append({k: round(v, 4) if isinstance(v, float) else v for k, v in values.items()})
    return {
        "kind": one.kind,
        "contradictions": list(one.contradictions),
        "across_splits": one.across_splits,
        "across_subjects": one.across_subjects,
        "unknown_subjects": one.unknown_subjects,
        "across_collections": one.across_collections,
        "expected": one.expected,
        "images": names,
        "pairs": pairs,
    }


def to_text(cases: Sequence[Case], found: Found, *, show: int, expected: bool = False) -> str:
    """Return the summary and the worst groups, for people.

    Args:
        cases: the photographs.
        found: what was found among them.
        show: groups written out before the rest is only counted.
        expected: also those that are only several photographs of one subject's eye.
    """
    groups = group(cases, found.pairs)
    listed = [one for one in groups if expected or not one.expected]
    lines = [*_table(summary(cases, groups))] if groups else ["no duplicates found"]
    for number, one in enumerate(listed[:show], start=1):
        lines += ["", *_lines(cases, number, one)]
    if len(listed) > show:
        lines += ["", f"and {len(listed) - show} more groups (--show, or --json for all)"]
    if hidden := len(groups) - len(listed):
        lines += ["", f"{hidden} groups are photographs of one eye of one subject (--expected)"]
    return "\n".join(lines)


def _table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    names = [" / ".join(dict.fromkeys(name or "-" for name in row["collections"])) for row in rows]
    wide = max(len("data sets"), *map(len, names))
    heads = ("pairs", "contradicting", "other subject", "across splits")
    yield f"{'data sets':{wide}}  {'kind':15}  " + "  ".join(heads)
    for name, row in zip(names, rows, strict=True):
        values = row["pairs"], row["contradicting"], row["across_subjects"], row["across_splits"]
        cells = "  ".join(f"{v:>{len(h)}}" for v, h in zip(values, heads, strict=True))
        yield f"{name:{wide}}  {WORDS[row['kind']]:15}  {cells}"


def _lines(cases: Sequence[Case], number: int, one: Group) -> Iterator[str]:
    flaws = [f"labels contradict ({', '.join(one.contradictions)})"] if one.contradictions else []
    flaws += ["across splits"] if one.across_splits else []
    flaws += ["other subject"] if one.across_subjects else []
    flaws += ["subject unknown"] if one.unknown_subjects else []
    flaws += ["other data set"] if one.across_collections else []
    yield f"{number}. {'; '.join([WORDS[one.kind], *flaws])}"
    for i in one.members:
        case = cases[i]
        name = f"{case.collection + ': ' if case.collection else ''}{case.image}{_labels(case)}"
        yield f"   {plain(name)}"
    strongest = one.pairs[0]
    if strongest.inliers >= 0:
        mirror = ", mirrored" if strongest.mirrored else ""
        yield (
            f"   {strongest.inliers} features agree, correlation {strongest.correlation:.2f}, "
            f"light {strongest.light:.2f}{mirror}"
        )


def _labels(case: Case) -> str:
    known: list[str] = [case.eye] if case.eye else []
    known += [f"grade {case.grade}"] if case.grade is not None else []
    known += [";".join(sorted(case.findings)) or "no finding"] if case.findings is not None else []
    known += [f"split {case.extra['split']}"] if case.extra.get("split") else []
    return f"  ({', '.join(known)})" if known else ""


def _group(cases: Sequence[Case], found: Sequence[Pair]) -> Group:
    pairs = sorted(found, key=lambda pair: (KINDS.index(pair.kind), -pair.inliers))
    sides = [(cases[pair.first], cases[pair.second]) for pair in pairs]
    flaws = {flaw for (a, b), pair in zip(sides, pairs, strict=True) for flaw in _contradictions(a, b, pair)}
    return Group(
        members=tuple(sorted({i for pair in pairs for i in (pair.first, pair.second)})),
        pairs=tuple(pairs),
        kind=pairs[0].kind,
        contradictions=tuple(sorted(flaws)),
        across_splits=any(_other_split(a, b) for a, b in sides),
        across_subjects=any(_other_subject(a, b) for a, b in sides),
        unknown_subjects=any(a.subject is None or b.subject is None for a, b in sides),
        across_collections=any(a.collection != b.collection for a, b in sides),
    )


def _contradictions(a: Case, b: Case, pair: Pair) -> Iterator[str]:
    """What two records of one photograph disagree on.

    Another photograph of the same eye may be of another visit, so only its eye can be wrong.
    Data sets name findings each in their own way; grades mean the same in all.
    """
    if a.eye and b.eye and a.eye != b.eye:
        yield "eye"
    if pair.kind == "eye":
        return
    if a.grade is not None and b.grade is not None and a.grade != b.grade:
        yield "grade"
    known = a.findings is not None and b.findings is not None
    if known and a.collection == b.collection and a.findings != b.findings:
        yield "findings"


def _other_subject(a: Case, b: Case) -> bool:
    """Two pseudonyms of one collection; those of two collections can't be compared."""
    known = a.subject is not None and b.subject is not None
    return known and a.collection == b.collection and a.subject != b.subject


def _other_split(a: Case, b: Case) -> bool:
    one, other = a.extra.get("split"), b.extra.get("split")
    return one is not None and other is not None and one != other

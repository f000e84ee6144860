"""An archive asked about its own photographs.

Letters: N photographs, Q of them asked about, L label values, K neighbours.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveola.answers import Label
from foveola.archive.state import State
from foveola.relevance.calibrate import Curve, fit_curve
from foveola.relevance.labels import Bools, Ids, codes_of

Vectors = NDArray[np.float32]

NEIGHBOURS = 10  # people a query's agreement is learnt from: what a page of hits shows
PAIRS = 100  # of each kind that a query gives to the distributions
OWN = 300  # neighbours with one label from which it has a curve of its own
ENOUGH = 100  # people whom the encoder does not know; of fewer, known ones are asked about, too
REST = "*"  # stands for the labels without one
_PRODUCT = 1 << 24  # similarities held at once


@dataclass(frozen=True, eq=False)
class Labels:
    """What is known of N photographs.

    Attributes:
        kind: grade or findings; None where neither is known of any.
        members: bool (N, L), which label values a photograph has.
        known: bool (N,).
        keys: (N,) the values of a photograph as one text.
    """

    kind: Label | None
    members: Bools
    known: Bools
    keys: NDArray[np.str_]

    def agree(self, query: int, rows: Ids) -> Bools:
        """Return (n,) whether the query shares a label value with these."""
        return np.asarray((self.members[rows] & self.members[query]).any(axis=1))


@dataclass(frozen=True, eq=False)
class Sample:
    """What was learnt of an archive.

    Attributes:
        cases: in the archive.
        people: asked about.
        new: whether the encoder was trained on no photograph of theirs, as far as is known.
        label: compared.
        nearest: (Q,) similarity to the nearest other person.
        own: (at most Q,) similarity to the nearest other photograph of the same eye.
        same, other: similarities of pairs that share a label value, and that don't.
        similarity, agree, key, asker: of neighbours: how alike, whether they share the query's
            label, the neighbour's label, and who asked.
    """

    cases: int
    people: int
    new: bool
    label: Label | None
    nearest: Vectors
    own: Vectors
    same: Vectors
    other: Vectors
    similarity: Vectors
    agree: Bools
    key: NDArray[np.str_]
    asker: Ids

    def curves(self) -> dict[str, Curve]:
        """Fit a curve for each label that is common among neighbours, and one, REST, for the others."""
        names, counts = np.unique(self.key, return_counts=True)
        common = [str(name) for name, count in zip(names, counts, strict=True) if count >= OWN]
        chosen = {name: self.key == name for name in common}
        chosen[REST] = np.ones(len(self.key), bool)
        fitted = {name: self._curve(rows) for name, rows in chosen.items()}
        return {name: curve for name, curve in fitted.items() if curve is not None}

    def _curve(self, rows: Bools) -> Curve | None:
        similarity = self.similarity[rows].astype(np.float64)
        return fit_curve(similarity, self.agree[rows], self.asker[rows])


def draw(state: State, queries: int, seed: int, trained: Bools | None = None) -> Sample:
    """Ask about some photographs, one a person, leaving that person out.

    Args:
        state: of the archive.
        queries: at most.
        seed: of their choice.
        trained: (N,) photographs that the encoder was trained on. People who have one are not asked
            about where there are ENOUGH others, of whom a label is known if any is.
    """
    rng = np.random.default_rng(seed)
    people = state.people()
    labels = _labels(state)
    new = np.ones(len(people), bool) if trained is None else ~np.isin(people, people[trained])
    few = len(np.unique(people[new & (labels.known | (labels.kind is None))])) < ENOUGH
    asked = _one_a_person(people, labels, queries, rng, new | few)
    found, eyes = _Found(), _eyes(state)
    for part, similarity in _similarities(state.matrix, asked):
        for query, row in zip(part, similarity, strict=True):
            found.own_eye(int(query), row, eyes)
            row[people == people[query]] = -2  # below any cosine
            found.add(int(query), row, people, labels, rng)
    return found.sample(len(people), len(asked), labels.kind, bool(new[asked].all()))


class _Found:
    """Collects what the queries say."""

    def __init__(self) -> None:
        self.nearest: list[float] = []
        self.own: list[float] = []
        self.same: list[Vectors] = []
        self.other: list[Vectors] = []
        self.near: list[tuple[Vectors, Bools, NDArray[np.str_], Ids]] = []

    def own_eye(self, query: int, row: Vectors, eyes: Ids) -> None:
        """One query; row: (N,) its similarities; eyes: (N,) whose eye each shows, -1 unknown."""
        again = eyes == eyes[query]
        again[query] = False
        if eyes[query] >= 0 and again.any():
            self.own.append(float(row[again].max()))

    def add(self, query: int, row: Vectors, people: Ids, labels: Labels, rng: np.random.Generator) -> None:
        """One query; row: (N,) its similarities, -2 of its own person."""
        best = float(row.max())
        if best >= -1:  # there is another person
            self.nearest.append(best)
        if labels.kind is None or not labels.known[query]:
            return
        rows = np.flatnonzero(labels.known & (row >= -1))
        agree = labels.agree(query, rows)
        for kind, chosen in ((self.same, rows[agree]), (self.other, rows[~agree])):
            kind.append(row[rng.permutation(chosen)[:PAIRS]])
        near = _nearest_people(row, rows, people)
        asker = np.full(len(near), people[query])
        self.near.append((row[near], labels.agree(query, near), labels.keys[near], asker))

    def sample(self, cases: int, people: int, label: Label | None, new: bool) -> Sample:
        """Everything together."""
        empty = np.empty(0, np.float32)
        nothing = (empty, np.empty(0, bool), np.empty(0, str), np.empty(0, np.int64))
        near = [np.concatenate(column) for column in zip(nothing, *self.near, strict=True)]
        return Sample(
            cases,
            people,
            new,
            label,
            np.array(self.nearest, np.float32),
            np.array(self.own, np.float32),
            np.concatenate([empty, *self.same]),
            np.concatenate([empty, *self.other]),
            *near,
        )


def _eyes(state: State) -> Ids:
    """(N,) a number for each eye of a known person; -1 where person or side is unknown."""
    shown = state.photographed()
    known = [None not in (one.subject, one.eye) for one in shown]
    codes = codes_of([(one.collection, one.subject, one.eye) for one in shown])
    return np.where(known, codes, -1)


def _nearest_people(row: Vectors, rows: Ids, people: Ids) -> Ids:
    """Of `rows`, the photograph of each of the NEIGHBOURS nearest people, nearest first."""
    wanted = min(len(rows), 8 * NEIGHBOURS)  # a person may have several
    while True:
        near = rows[np.argpartition(-row[rows], wanted - 1)[:wanted]] if wanted else rows
        near = near[np.argsort(-row[near], kind="stable")]
        _, first = np.unique(people[near], return_index=True)
        if len(first) >= NEIGHBOURS or wanted == len(rows):
            return np.asarray(near[np.sort(first)[:NEIGHBOURS]])
        wanted = min(len(rows), 4 * wanted)


def _similarities(matrix: Vectors, asked: Ids) -> Iterator[tuple[Ids, Vectors]]:
    """Some queries at a time and their cosines with all, (q, N)."""
    step = max(1, _PRODUCT // max(1, len(matrix)))
    for start in range(0, len(asked), step):
        part = asked[start : start + step]
        yield part, matrix[part] @ matrix.T


def _labels(state: State) -> Labels:
    """The grade, or the findings where more photographs have these."""
    said = state.labelled()
    graded = [None if grade is None else {str(grade)} for grade, _ in said]
    found = [findings for _, findings in said]
    known = {"grade": len(said) - graded.count(None), "findings": len(said) - found.count(None)}
    if not any(known.values()):
        nothing = np.zeros(len(said), bool)
        return Labels(None, np.zeros((len(said), 0), bool), nothing, np.full(len(said), ""))
    if known["grade"] >= known["findings"]:
        return _coded("grade", graded)
    return _coded("findings", found)


def _coded(kind: Label, values: "list[set[str] | None] | list[frozenset[str] | None]") -> Labels:
    names = sorted({name for each in values for name in each or ()})
    at = {name: i for i, name in enumerate(names)}
    members = np.zeros((len(values), len(names)), bool)
    for row, each in enumerate(values):
        members[row, [at[name] for name in each or ()]] = True
    known = np.array([each is not None for each in values], bool)
    keys = np.array([";".join(sorted(each or ())) for each in values], str)
    return Labels(kind, members, known, keys)


def _one_a_person(people: Ids, labels: Labels, most: int, rng: np.random.Generator, allowed: Bools) -> Ids:
    """Rows of some people, those with a known label first; in ascending order."""
    order = rng.permutation(len(people))
    order = order[allowed[order]]
    order = order[np.argsort(~labels.known[order], kind="stable")]
    _, first = np.unique(people[order], return_index=True)
    return np.sort(order[np.sort(first)[:most]])

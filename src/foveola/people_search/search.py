"""Which people are most alike: one person's two eyes against those of each person of an archive.

A person is a subject at one visit. The similarity of two people is the mean cosine of their
eyes, each compared with one of the other's. With both eyes on both sides, the eyes are paired the
way that gives more: left with left and right with right, or crosswise, as what ails one's left
eye may ail another's right. Where an eye is missing on either side, every photograph of the one
is compared with every one of the other, and the mean taken. Why: docs/how-to/patient-search.md.

Letters: P people, N photographs, D dimensions.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveola.archive import Archive, Photographed, State
from foveola.archive.search import candidates, check_count, unit
from foveola.errors import ArchiveError
from foveola.people import EYES, findings_of, grade_of, pair_eyes
from foveola.people_search.results import EyePair, FoundPeople, PersonHit
from foveola.records import Eye

Bools = NDArray[np.bool_]
Vectors = NDArray[np.float32]
Query = Mapping[Eye, Vectors]
Pairs = NDArray[np.int64]  # (P, 2), rows of the left and the right photograph, -1 for none
Cosines = NDArray[np.float64]  # [eye of the query, eye of the other], NaN where there is none
_STRAIGHT, _CROSSED = ((0, 0), (1, 1)), ((0, 1), (1, 0))
_CHUNK = 4096  # people scored again at once


def person_similarity(cosines: Cosines) -> NDArray[np.float64]:
    """How alike one person and P others are, (2, 2, P) -> (P,); at least one cosine is known."""
    straight, crossed = (np.mean([cosines[i, j] for i, j in way], axis=0) for way in (_STRAIGHT, _CROSSED))
    similarity: Cosines = np.maximum(straight, crossed)  # NaN where either is
    lacking = np.isnan(similarity)
    similarity[lacking] = np.nanmean(cosines[:, :, lacking], axis=(0, 1))
    return similarity


class PeopleSearch:
    """The people of an archive, paired once and again only when the archive has changed.

    Args:
        archive: opened.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._ids: NDArray[np.int64] | None = None  # of the state that was paired
        self._pairs = np.empty((0, 2), np.int64)
        self._unassigned = 0

    def search(
        self,
        query: Query,
        k: int,
        *,
        where: str | None = None,
        exclude_identity: tuple[str, str] | None = None,
        exclude_ids: Collection[int] = (),
        alike: float | None = None,
    ) -> FoundPeople:
        """Find the k people most like one. Exact, and the same on every run.

        Args:
            query: (D,) unit descriptor of the left eye, the right eye, or both.
            k: how many, at least 1; fewer are found where fewer are considered.
            where: a condition that a photograph of either eye must meet.
            exclude_identity: a `Case.identity` whose visits are left out and counted.
            exclude_ids: photographs whose people are left out first, without being counted.
            alike: cosine to a photograph of the query from which on people are left out and
                counted as that identity.

        Raises:
            ArchiveError: no photograph of the archive has both a subject and an eye.
            FilterError: the condition can't be understood.
            ValueError: no descriptor, one that does not fit, or k is less than 1.
        """
        if not query:
            raise ValueError("expected the descriptor of one eye or of both")
        check_count(k)
        asked = {eye: unit(row, self._archive.dimension) for eye, row in query.items()}
        with self._archive.state() as state:
            self._pair(state)
            chosen = self._either(state.matching(where))
            chosen &= ~self._either(state.of_ids(exclude_ids))
            near = state.alike([*asked.values()], alike)
            own = chosen & self._either(state.of_identity(exclude_identity) | near)
            people = np.flatnonzero(chosen & ~own)
            best = _rank(asked, state.matrix, self._pairs[people], k)
            hits = tuple(self._hit(state, asked, rank, people[i]) for rank, i in enumerate(best, 1))
        return FoundPeople(
            hits=hits, excluded_same_subject=int(own.sum()), considered=len(people), unassigned=self._unassigned
        )

    def _pair(self, state: State) -> None:
        if self._ids is state.ids:
            return
        shown = state.photographed()
        known = [one.subject is not None and one.eye is not None for one in shown]
        if not any(known):
            raise ArchiveError(_nobody(self._archive.folder, shown))
        keys = (((one.subject, one.collection, one.visit), one.eye) for one in shown)
        whose = ((key, eye if ok else None) for (key, eye), ok in zip(keys, known, strict=True))
        self._pairs = pair_eyes(whose)
        self._unassigned = len(known) - sum(known)
        self._ids = state.ids

    def _either(self, photographs: Bools) -> Bools:
        """(N,) -> (P,): whose left or right photograph is among them."""
        padded = np.append(photographs, False)  # the place -1
        return np.asarray(padded[self._pairs].any(axis=1))

    def _hit(self, state: State, query: Query, rank: int, person: int) -> PersonHit:
        pair = self._pairs[person]
        eyes = [eye for eye, row in zip(EYES, pair, strict=True) if row >= 0]
        rows = pair[pair >= 0]
        cases = dict(zip(eyes, state.cases(rows), strict=True))
        cosines = _exact(query, state.matrix, pair[None])
        return PersonHit(
            rank=rank,
            similarity=float(np.float32(person_similarity(cosines)[0])),
            pairs=_compared(cosines[:, :, 0]),
            cases=cases,
            ids=dict(zip(eyes, state.ids[rows].tolist(), strict=True)),
            grade=grade_of([*cases.values()]),
            findings=findings_of([*cases.values()]),
        )


def _nobody(folder: Path, shown: Sequence[Photographed]) -> str:
    """Why no photograph belongs to anybody."""
    lacks = [
        word
        for word, known in (
            ("subject", any(one.subject is not None for one in shown)),
            ("eye", any(one.eye is not None for one in shown)),
        )
        if not known
    ]
    what = " and no ".join(lacks) or "subject and eye of the same photograph"
    return (
        f"{folder} records no {what}, so people can't be compared; index a manifest that has "
        "the columns subject and eye, or search with one photograph"
    )


def _rank(query: Query, matrix: Vectors, pairs: Pairs, k: int) -> Pairs:
    """Places of the k best of P pairs, best first, equal ones in their order."""
    if not len(pairs):
        return np.empty(0, np.int64)
    k = min(k, len(pairs))
    rough = person_similarity(_rough(query, matrix, pairs)).astype(np.float32)
    some = candidates(rough, k, matrix.shape[1])
    parts = [some[start : start + _CHUNK] for start in range(0, len(some), _CHUNK)]
    found = [person_similarity(_exact(query, matrix, pairs[part])) for part in parts]
    # Ranked by the float32 that is given back, so that what looks equal is in order.
    exact = np.concatenate(found).astype(np.float32)
    return some[np.lexsort((some, -exact))[:k]]


def _rough(query: Query, matrix: Vectors, pairs: Pairs) -> Cosines:
    """(2, 2, P), good to about D units in the last place of float32."""
    cosines = np.full((2, 2, len(pairs)), np.nan)
    for eye, row in query.items():
        # not matrix @ row: BLAS's threads wait for cores (100 000 x 139 on two busy ones 24 ms, 7)
        scores = np.append(np.einsum("nd,d->n", matrix, row), np.nan)  # the place -1
        cosines[EYES.index(eye)] = scores[pairs.T]
    return cosines


def _exact(query: Query, matrix: Vectors, pairs: Pairs) -> Cosines:
    """(2, 2, P), each row by itself in float64, so that equal photographs are equally alike."""
    cosines = np.full((2, 2, len(pairs)), np.nan)
    for eye, row in query.items():
        wide = row.astype(np.float64)
        for side, rows in enumerate(pairs.T):
            there = rows >= 0
            products = matrix[rows[there]].astype(np.float64) * wide
            cosines[EYES.index(eye), side, there] = np.clip(products.sum(axis=1), -1, 1)
    return cosines


def _compared(cosines: Cosines) -> tuple[EyePair, ...]:
    """(2, 2) -> the pairs whose mean is the similarity."""
    every = [(i, j) for i in (0, 1) for j in (0, 1) if not np.isnan(cosines[i, j])]
    straight, crossed = (sum(cosines[place] for place in way) for way in (_STRAIGHT, _CROSSED))
    way = every if len(every) < 4 else _STRAIGHT if straight >= crossed else _CROSSED
    return tuple(EyePair(EYES[i], EYES[j], float(np.float32(cosines[i, j]))) for i, j in way)

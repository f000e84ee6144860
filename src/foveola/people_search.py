"""Which people are most alike: one person's two eyes against those of each person of an archive.

A person is a subject at one visit. The similarity of two people is the mean cosine of their
eyes, each compared with one of the other's. With both eyes on both sides, the eyes are paired the
way that gives more: left with left and right with right, or crosswise, as what ails one's left
eye may ail another's right. Where an eye is missing on either side, every photograph of the one
is compared with every one of the other, and the mean taken. Why: docs/how-to/patient-search.md.

Letters: P people, N photographs, D dimensions.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from foveola.answers import EyePair, LocalPeople, Person, Show, local_case
from foveola.archive import Archive, Photographed, State
from foveola.archive.search import candidates, check_count, unit
from foveola.errors import ArchiveError
from foveola.images.pictures import thumbnail
from foveola.labels import record_words
from foveola.notebook import HitList, Picture, Rows, to_frame
from foveola.people import EYES, findings_of, grade_of, pair_eyes
from foveola.records import Case, Eye

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = ("rank", "left", "right", "similarity", "grade", "findings")
PICTURE = 160  # pixels a side, in a notebook
Bools = NDArray[np.bool_]
Vectors = NDArray[np.float32]
Query = Mapping[Eye, Vectors]
Pairs = NDArray[np.int64]  # (P, 2), rows of the left and the right photograph, -1 for none
Cosines = NDArray[np.float64]  # [eye of the query, eye of the other], NaN where there is none
_STRAIGHT, _CROSSED = ((0, 0), (1, 1)), ((0, 1), (1, 0))
_CHUNK = 4096  # people scored again at once


@dataclass(frozen=True, kw_only=True, repr=False)
class PersonHit:
    """One similar person, at one visit.

    Attributes:
        rank: 1 is the most similar.
        similarity: mean of `pairs`, in [-1, 1].
        pairs: the eyes that were compared, as many as the one of the two sides with more has.
        cases: the photograph of each eye there is, with its record.
        ids: of these in the archive.
        grade: the worst that is known of either eye.
        findings: of the person, see `foveola.people.findings_of`; None where nobody looked.
    """

    rank: int
    similarity: float
    pairs: tuple[EyePair, ...]
    cases: Mapping[Eye, Case]
    ids: Mapping[Eye, int]
    grade: int | None
    findings: frozenset[str] | None

    def __repr__(self) -> str:
        grade, findings = record_words(self.grade, self.findings)
        return (
            f"PersonHit(rank={self.rank}, ids={dict(self.ids)}, "
            f"similarity={self.similarity:.4f}, grade={grade!r}, findings={findings!r})"
        )

    @property
    def subject(self) -> str | None:
        """Return the pseudonym of the person."""
        return next(iter(self.cases.values())).subject

    @property
    def visit(self) -> float | str | None:
        """Return when the photographs were taken."""
        return next(iter(self.cases.values())).visit

    @property
    def crossed(self) -> bool:
        """Return whether both eyes were compared crosswise, left with right."""
        return len(self.pairs) == 2 and all(pair.query != pair.eye for pair in self.pairs)

    def answer(self, show: Show) -> Person:
        """Return what is answered, each photograph as `show` makes it of its id and record."""
        shown = {eye: show(self.ids[eye], case) for eye, case in self.cases.items()}
        subject = next(iter(shown.values())).subject  # as this one shows it
        return Person.from_object(self, subject=subject, left=shown.get("left"), right=shown.get("right"))


@dataclass(frozen=True, kw_only=True)
class FoundPeople:
    """What a search for people gives.

    Attributes:
        hits: best first; equal similarities in the order of the archive.
        excluded_same_subject: visits of the query's own subject that were left out.
        considered: people compared, after filter and exclusions.
        unassigned: photographs of the archive, before any filter, that belong to nobody because
            subject or eye is not known.
    """

    hits: tuple[PersonHit, ...]
    excluded_same_subject: int
    considered: int
    unassigned: int


@dataclass(frozen=True, kw_only=True, repr=False)
class PersonResult(HitList[PersonHit]):
    """What a search for people found, and what it left out: a sequence of hits, best first.

    What is printed, shown in a notebook or made a DataFrame of names no person and no file.

    Attributes:
        query: the photograph of each eye asked about, one or two; its record is the archive's if
            it is in there.
        in_archive: the eyes whose very file the archive holds.
        hits: best first.
        excluded_same_subject: visits of the query's own subject that were left out.
        considered: people compared, after filter and exclusions; a person is a subject at one
            visit.
        unassigned: photographs of the archive whose subject or eye is not known, which no
            search for people compares.
        where: the filter as given.
        encoder: name of the encoder.
        fingerprint: of the encoder.
        milliseconds: from reading the files to the hits.
        gradability: of the query's photographs, from 0 to 1, see `foveola.images.gradability`.
        refused: why an eye of the query was not compared; no retina is seen in its photograph.
        sides: that the two seem to be exchanged.
        doubts: what is to be known of an eye's photograph, to follow its name.
    """

    query: Mapping[Eye, Case]
    in_archive: tuple[Eye, ...]
    hits: tuple[PersonHit, ...]
    excluded_same_subject: int | None
    considered: int | None
    unassigned: int
    where: str | None
    encoder: str
    fingerprint: str
    milliseconds: float
    gradability: Mapping[Eye, float]
    refused: Mapping[Eye, str] = field(default_factory=dict)
    sides: tuple[str, ...] = ()
    doubts: Mapping[Eye, str] = field(default_factory=dict)

    @property
    def judged_by(self) -> tuple[Eye, ...]:
        """Return the eyes of the query: both, or the one it has that shows a retina."""
        return tuple(eye for eye in self.query if eye not in self.refused)

    @property
    def subject_known(self) -> bool:
        """Return whether it is known whose photographs were asked about."""
        return any(case.subject is not None for case in self.query.values())

    def doubt(self, eye: Eye) -> str | None:
        """Say what is to be known of an eye of the query, to follow its name; None if all is well."""
        why = self.refused.get(eye)
        return self.doubts.get(eye) if why is None else f"{why} and was left out"

    @property
    def warnings(self) -> tuple[str, ...]:
        """Say what a user must know before trusting it; empty where there is nothing."""
        doubts = ((eye, self.doubt(eye)) for eye in self.query)
        of_eyes = (f"the photograph of the {eye} eye {words}" for eye, words in doubts if words)
        return (*self.sides, *of_eyes)

    @property
    def sentences(self) -> list[str]:
        """Say what a user must know of the answer."""
        said = [f"{each[:1].upper()}{each[1:]}." for each in self.warnings]
        if self.considered is not None:
            said.append(f"{self.considered:,} people compared.")
        return said

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, as `foveola search --json` prints them; with names of files."""
        hits = tuple(hit.answer(local_case) for hit in self.hits)
        return LocalPeople.from_object(self, query={eye: self.query.get(eye) for eye in EYES}, hits=hits).to_dict()

    def to_frame(self) -> "DataFrame":
        """Return a DataFrame with a row for each hit: rank, ids of both eyes, similarity, labels.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        return to_frame(map(_row, self.hits), COLUMNS)

    def _rows(self) -> Rows:
        return [
            list(COLUMNS),
            *(
                [
                    str(hit.rank),
                    *(str(hit.ids.get(eye, "-")) for eye in EYES),
                    f"{hit.similarity:+.4f}",
                    *record_words(hit.grade, hit.findings),
                ]
                for hit in self.hits
            ),
        ]

    def _pictures(self, hit: PersonHit) -> list[Picture]:
        cases = (hit.cases.get(eye) for eye in EYES)
        return [Picture(None if case is None else thumbnail(Path(case.path), PICTURE, mask=True)) for case in cases]


def _row(hit: PersonHit) -> dict[str, object]:
    found = None if hit.findings is None else ";".join(sorted(hit.findings))
    return {
        "rank": hit.rank,
        **{eye: hit.ids.get(eye) for eye in EYES},
        "similarity": hit.similarity,
        "grade": hit.grade,
        "findings": found,
    }


def person_similarity(cosines: Cosines) -> NDArray[np.float64]:
    """Return how alike one person and P others are, (2, 2, P) -> (P,); at least one cosine is known."""
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

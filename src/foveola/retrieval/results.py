"""What is asked, and what a search gives.

What is printed, shown in a notebook or made a DataFrame of names no person and no file: cases
have their ids, grades and findings. `hit.case` has the record.

A query may be moved by what somebody marked among its hits, more like these, less like that:

    q' = q + MORE mean(more) - LESS mean(less),   of length 1

This is Rocchio's formula for relevance feedback (in Salton, The SMART Retrieval System, 1971) on
unit descriptors. The weights are our proposal, by what benchmarks/feedback.py measured: .75, usual
for texts, hardly moves a descriptor whose neighbours are all near (docs/how-to/feedback.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foveola import answers
from foveola.answers import LocalSearch, Order, SearchAnswer, Show, local_case
from foveola.errors import PairError
from foveola.images.fingerprint import same_picture
from foveola.images.pictures import thumbnail
from foveola.labels import record_words
from foveola.laterality import TWICE, Side
from foveola.notebook import HitList, Picture, Rows, to_frame
from foveola.records import RESERVED, Case, Eye
from foveola.trust import HitTrust, Looks, QueryTrust
from foveola.trust.sentences import of_hit, of_order, of_person, of_quality, of_query

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = ("rank", "id", "similarity", "score", "grade", "findings")
PICTURE = 160  # pixels a side, in a notebook
Vectors = NDArray[np.float32]
MORE = 1.5  # weight of the mean of what the query should be more like
LESS = 0.15  # of what it should be less like: more than that spoils the answer, as measured


@dataclass(frozen=True, repr=False)
class Hit:
    """One similar case.

    Attributes:
        rank: 1 is the first.
        similarity: cosine of the descriptors, in [-1, 1].
        score: by which the hits are ordered, in [-1, 1]; the similarity in the order by looks.
        case: the photograph and its record.
        id: of the case in its archive.
        trust: how far to trust it; None where the archive has too few people to say.
    """

    rank: int
    similarity: float
    score: float
    case: Case
    id: int
    trust: HitTrust | None = None

    def __repr__(self) -> str:
        grade, findings = record_words(self.case.grade, self.case.findings)
        return (
            f"Hit(rank={self.rank}, id={self.id}, similarity={self.similarity:.4f}, "
            f"grade={grade!r}, findings={findings!r})"
        )


@dataclass(frozen=True, kw_only=True, repr=False)
class SearchResult(HitList[Hit]):
    """What a search found, and what it left out: a sequence of hits, best first.

    Attributes:
        query: the photograph asked about; its record is the archive's if it is in there.
        in_archive: whether the archive holds this very file. A service says neither this nor the
            two counts to who may not match people: None.
        hits: best first.
        excluded_same_subject: images of the query's own subject that were left out, and of who may
            be the same.
        considered: cases compared, after filter and exclusions.
        order: of the hits: "learned" from the archive's labels, by "looks", or by "both".
        label: that is learnt of; None where the archive learnt none.
        recorded: of how many hits this label is recorded; None without a label.
        where: the filter as given.
        encoder: name of the encoder.
        fingerprint: of the encoder.
        milliseconds: from reading the file to the hits.
        gradability: of the query, from 0 to 1, see `foveola.images.gradability`.
        trust: how far to trust the answer, and whether the query is a fundus photograph.
    """

    query: Case
    in_archive: bool | None
    hits: tuple[Hit, ...]
    excluded_same_subject: int | None
    considered: int | None
    order: Order
    label: str | None
    recorded: int | None
    where: str | None
    encoder: str
    fingerprint: str
    milliseconds: float
    gradability: float
    trust: QueryTrust

    @property
    def sentences(self) -> list[str]:
        """Say all that a user must know of the answer, the most important first."""
        left_out = of_person(self.query.subject is not None, self.excluded_same_subject)
        doubt = of_quality(self.trust.looks, self.gradability)
        said = of_query(self.trust, [hit.case for hit in self.hits])
        return [*said, *([] if doubt is None else [doubt]), f"Same person: {left_out}."]

    def answer(self, show: Show) -> SearchAnswer:
        """Return what is answered, each case as `show` makes it of its id and record."""
        hits = tuple(answers.Hit.from_object(hit, case=show(hit.id, hit.case)) for hit in self.hits)
        return SearchAnswer.from_object(self, hits=hits)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, as `foveola search --json` prints them; with names of files."""
        return LocalSearch.from_object(self.answer(local_case), query=self.query).to_dict()

    def to_frame(self, *, records: bool = False) -> "DataFrame":
        """Return a DataFrame with a row for each hit: rank, id, similarity, score and labels.

        Args:
            records: add the whole record of each case, its subject and file too.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        rows = [_row(hit) for hit in self.hits]
        further: list[str] = []
        if records:
            rows = [
                {**hit.case.extra, **{name: getattr(hit.case, name) for name in RESERVED}, **row}
                for hit, row in zip(self.hits, rows, strict=True)
            ]
            every = dict.fromkeys([*RESERVED, *sorted({name for row in rows for name in row})])
            further = [name for name in every if name not in COLUMNS]
        return to_frame(rows, [*COLUMNS, *further])

    def __repr__(self) -> str:
        return f"{super().__repr__()}\n{self._compared()}"

    def _repr_html_(self) -> str:
        return f"{super()._repr_html_()}<p>{self._compared()}</p>"

    def _compared(self) -> str:
        count = "" if self.considered is None else f"{self.considered:,} cases compared; "
        return f"{count}ordered {of_order(self.order, self.label)}."

    def _rows(self) -> Rows:
        head = ["rank", "id", "similarity", "grade", "findings", "how far to trust it"]
        return [
            head,
            *(
                [
                    str(hit.rank),
                    str(hit.id),
                    f"{hit.similarity:+.4f}",
                    *record_words(hit.case.grade, hit.case.findings),
                    of_hit(hit.trust) or "",
                ]
                for hit in self.hits
            ),
        ]

    def _pictures(self, hit: Hit) -> list[Picture]:
        return [Picture(thumbnail(Path(hit.case.path), PICTURE, mask=True))]


def _row(hit: Hit) -> dict[str, object]:
    found = hit.case.findings
    return {
        "rank": hit.rank,
        "id": hit.id,
        "similarity": hit.similarity,
        "score": hit.score,
        "grade": hit.case.grade,
        "findings": None if found is None else ";".join(sorted(found)),
    }


class Query(NamedTuple):
    """A photograph that was read and encoded once, to be asked about any number of times.

    Attributes:
        case: its record; the archive's if it is in there.
        id: of the case where the archive holds this very file.
        digest: blake2b of the file, 16 bytes.
        descriptor: (D,) float32 of unit length.
        gradability: from 0 to 1, see `foveola.images.gradability`.
        looks: whether it is a fundus photograph.
        mark: by which one picture in two files is told, see `foveola.images.fingerprint`.
        side: which eye it seems to show, or does by the archive's record; None where there is no
            other to be taken for.
    """

    case: Case
    id: int | None
    digest: bytes
    descriptor: NDArray[np.float32]
    gradability: float
    looks: Looks
    mark: NDArray[np.float32]
    side: Side | None = None


class Marks(NamedTuple):
    """Cases that somebody marked.

    Attributes:
        more: ids of cases to be more like.
        less: ids of cases to be less like; one that is in both counts in neither.
    """

    more: tuple[int, ...] = ()
    less: tuple[int, ...] = ()

    @property
    def all(self) -> frozenset[int]:
        """Return every id."""
        return frozenset(self.more) | frozenset(self.less)

    @property
    def plain(self) -> "Marks":
        """Return the marks without those that are in both, each once and in order."""
        more, less = set(self.more), set(self.less)
        return Marks(tuple(sorted(more - less)), tuple(sorted(less - more)))


def moved(query: Vectors, more: Vectors, less: Vectors, *, towards: float = MORE, away: float = LESS) -> Vectors:
    """Move a query to more of some cases and less of others.

    Args:
        query: (D,) unit vector.
        more: (M, D) unit vectors; M may be 0.
        less: (L, D) likewise.
        towards: weight of the mean of `more`, at least 0.
        away: of the mean of `less`, likewise.

    Returns:
        (D,) float32 unit vector; the query itself where nothing is left of the sum.
    """
    if towards < 0 or away < 0:
        raise ValueError(f"expected weights of at least 0, got {towards} and {away}")
    summed = query.astype(np.float64)
    if len(more):
        summed = summed + towards * more.mean(axis=0, dtype=np.float64)
    if len(less):
        summed = summed - away * less.mean(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(summed))
    return query if length < 1e-6 else (summed / length).astype(np.float32)


def check_two(one: Query, other: Query) -> None:
    """Refuse one picture twice, in one file or two, and two photographs of one known eye.

    Raises:
        PairError: they can't be the two eyes of one person.
    """
    if one.digest == other.digest or same_picture(one.mark, other.mark):
        raise PairError(TWICE)
    if one.case.eye is not None and one.case.eye == other.case.eye:
        raise PairError(f"both photographs are of a {one.case.eye} eye; give one of each eye")


def check_person(asked: Mapping[Eye, Query]) -> None:
    """Refuse two photographs that the archive knows to be no left and right eye of one person."""
    for eye, one in asked.items():
        if one.id is not None and one.case.eye not in (None, eye):
            raise PairError(
                f"the photograph given as the {eye} eye is case {one.id} of the archive, which "
                f"knows it as the {one.case.eye} one; exchange the two, or correct the archive"
            )
    known = [one.case for one in asked.values() if one.id is not None and one.case.subject]
    subjects = {case.identity for case in known}
    if len(subjects) > 1:
        raise PairError("the archive knows the two photographs as those of two subjects; give the eyes of one")

"""What a search for people gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from foveola.images.pictures import thumbnail
from foveola.labels import record_words
from foveola.notebook import HitList, Picture, Rows, to_frame
from foveola.people import EYES
from foveola.records import Case, Eye

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = ("rank", "left", "right", "similarity", "grade", "findings")
PICTURE = 160  # pixels a side, in a notebook


@dataclass(frozen=True)
class EyePair:
    """An eye of the query beside an eye of the person found.

    Attributes:
        query: the query's eye.
        eye: the other's.
        similarity: cosine of the two descriptors, in [-1, 1].
    """

    query: Eye
    eye: Eye
    similarity: float


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
        """Pseudonym of the person."""
        return next(iter(self.cases.values())).subject

    @property
    def visit(self) -> float | str | None:
        """When the photographs were taken."""
        return next(iter(self.cases.values())).visit

    @property
    def crossed(self) -> bool:
        """Whether both eyes were compared crosswise, left with right."""
        return len(self.pairs) == 2 and all(pair.query != pair.eye for pair in self.pairs)


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
        """The eyes of the query: both, or the one it has that shows a retina."""
        return tuple(eye for eye in self.query if eye not in self.refused)

    @property
    def subject_known(self) -> bool:
        """Whether it is known whose photographs were asked about."""
        return any(case.subject is not None for case in self.query.values())

    def doubt(self, eye: Eye) -> str | None:
        """What is to be known of an eye of the query, to follow its name; None if all is well."""
        why = self.refused.get(eye)
        return self.doubts.get(eye) if why is None else f"{why} and was left out"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user must know before trusting it; empty where there is nothing."""
        doubts = ((eye, self.doubt(eye)) for eye in self.query)
        of_eyes = (f"the photograph of the {eye} eye {words}" for eye, words in doubts if words)
        return (*self.sides, *of_eyes)

    @property
    def sentences(self) -> list[str]:
        """What a user must know of the answer."""
        said = [f"{each[:1].upper()}{each[1:]}." for each in self.warnings]
        if self.considered is not None:
            said.append(f"{self.considered:,} people compared.")
        return said

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

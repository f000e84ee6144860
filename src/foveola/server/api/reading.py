"""POST /api/v1/read: both eyes of a person in, probabilities of findings out."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, HTTPException
from fastapi import UploadFile as Upload
from pydantic import BaseModel, Field

from foveola.errors import ArchiveError, ImageError, PairError
from foveola.labels import NO_DIAGNOSIS
from foveola.people_search import PersonHit, PersonResult
from foveola.reading import EyeReading, Reading
from foveola.records import Eye
from foveola.server.api.search import FAULTS, CaseOut
from foveola.server.auth.context import may_match
from foveola.server.dependencies import OnService, Whose

router = APIRouter(prefix="/api/v1", responses=FAULTS)
Shares = dict[str, float]


class EyeOut(BaseModel):
    """What is said of one eye by itself."""

    probabilities: Shares = Field(description="by label, from 0 to 1")
    gradability: float = Field(description="of its photograph, from 0 to 1")

    @classmethod
    def of(cls, labels: tuple[str, ...], eye: EyeReading) -> "EyeOut":
        """An eye of a reading."""
        return cls(probabilities=_shares(labels, eye.probabilities), gradability=round(eye.gradability, 4))


class PairOut(BaseModel):
    """An eye of the query beside an eye of the person found."""

    query: Literal["left", "right"]
    eye: Literal["left", "right"]
    similarity: float = Field(description="cosine, from -1 to 1")


class PersonOut(BaseModel):
    """A similar person, at one visit."""

    rank: int = Field(description="1 is the most similar")
    similarity: float = Field(description="mean cosine of the pairs, from -1 to 1")
    pairs: list[PairOut]
    subject: str | None
    visit: float | str | None = Field(description="months since the first visit, or an ISO date")
    grade: int | None = Field(description="the worst that is known of either eye, ICDR 0 to 4")
    findings: list[str] | None = Field(description="of the person; null where nobody looked")
    left: CaseOut | None
    right: CaseOut | None

    @classmethod
    def of(cls, hit: PersonHit) -> "PersonOut":
        """A hit of a search for people."""
        cases = {eye: CaseOut.of(hit.ids[eye], case) for eye, case in hit.cases.items()}
        pairs = [PairOut(query=p.query, eye=p.eye, similarity=round(p.similarity, 6)) for p in hit.pairs]
        return cls(
            rank=hit.rank,
            similarity=round(hit.similarity, 6),
            pairs=pairs,
            subject=hit.subject if may_match() else None,
            visit=hit.visit,
            grade=hit.grade,
            left=cases.get("left"),
            right=cases.get("right"),
            findings=None if hit.findings is None else sorted(hit.findings),
        )


class ReadOut(BaseModel):
    """What a reader says of a person, with all that limits it."""

    probabilities: Shares = Field(
        description="of the person, by label, from 0 to 1, or of the one eye that was sent; "
        "calibrated by a temperature on people for validation: where a finding is rarer than "
        "among them, it is too high"
    )
    thresholds: Shares = Field(description="above which a label counts as found")
    found: list[str] = Field(description="labels above their thresholds")
    eyes: dict[Literal["left", "right"], EyeOut] = Field(description="of each eye that was read")
    refused: dict[Literal["left", "right"], str] = Field(
        description="why nothing is said of an eye that was sent; no retina is seen in it"
    )
    warnings: list[str] = Field(description="what a user must know before trusting it")
    similar: list[PersonOut] = Field(description="people of the archive, the most similar first")
    similar_missing: str | None = Field(description="why there are none, where the archive can't say")
    reader: str
    fingerprint: str = Field(description="of the reader")
    milliseconds: float
    note: str = NO_DIAGNOSIS

    @classmethod
    def of(cls, said: Reading, alike: PersonResult | None, missing: str | None) -> "ReadOut":
        """A reading, and the people found."""
        return cls(
            probabilities=_shares(said.labels, said.probabilities),
            thresholds=_shares(said.labels, said.thresholds),
            found=list(said.found),
            eyes={eye: EyeOut.of(said.labels, of) for eye, of in said.eyes.items()},
            refused=dict(said.refused),
            warnings=list(said.warnings),
            similar=[] if alike is None else [PersonOut.of(hit) for hit in alike.hits],
            similar_missing=missing,
            reader=said.reader,
            fingerprint=said.fingerprint,
            milliseconds=round(said.milliseconds, 2),
        )


def _shares(labels: tuple[str, ...], values: Any) -> Shares:
    return {label: round(float(p), 6) for label, p in zip(labels, values, strict=True)}


@router.post("/read")
def read(
    service: OnService,
    whose: Whose,
    left: Annotated[Upload | None, File(description="photograph of the left eye")] = None,
    right: Annotated[Upload | None, File(description="photograph of the right eye")] = None,
    k: Annotated[int, Form(ge=0, le=100, description="similar people wanted")] = 5,
    where: Annotated[str | None, Form(description="condition on these")] = None,
) -> ReadOut:
    """Say how probable each finding is, from the photographs of a person's eyes or of one.

    The photographs are not kept.
    """
    given: dict[Eye, Upload | None] = {"left": left, "right": right}
    sent = {eye: upload.file.read() for eye, upload in given.items() if upload is not None}
    if not sent:
        raise HTTPException(422, "no photograph came; send left, right, or both")
    said = service.models.read(sent)
    if k == 0:
        return ReadOut.of(said, None, None)
    try:
        return ReadOut.of(said, service.models.similar(sent, k, where, **whose._asdict()), None)
    except ArchiveError:
        missing = "the archive does not know which photographs are whose, and of which eye"
        return ReadOut.of(said, None, missing)
    except PairError:
        raise  # and so is the reading refused, which took them for two eyes
    except ImageError as error:  # by the archive's own encoder
        return ReadOut.of(said, None, str(error))

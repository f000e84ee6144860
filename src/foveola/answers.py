"""What Foveola answers, one dataclass each: `--json` prints it, REST sends it, the client gives it.

Probabilities, shares and similarities have 6 decimals in JSON, gradability has 4, and null is
unknown. What knows where files lie is called Local; a service never sends it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from foveola.labels import NO_DIAGNOSIS
from foveola.records import Case, Eye, Scalar
from foveola.serial import Answer, Decimals

Probability = Annotated[float, Decimals(6)]
Similarity = Annotated[float, Decimals(6)]
Gradability = Annotated[float, Decimals(4)]
Milliseconds = Annotated[float, Decimals(2)]
Order = Literal["learned", "looks", "both"]
Label = str  # "grade", "findings", or the name of a further column
JobKind = Literal["index", "remove", "settle"]
JobState = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]


# A case and what it is worth


@dataclass(frozen=True)
class StoredCase(Answer):
    """Describe a case of the archive, without the name of a file, as that may name a person.

    Attributes:
        id: of the case in its archive.
        subject: pseudonym; a service says it to those who may match people.
        collection: name space of the pseudonym.
        eye: left or right.
        visit: months since the first visit, or an ISO date.
        grade: ICDR, 0 to 4.
        findings: labels; null where nobody looked.
        extra: further columns.
    """

    id: int
    subject: str | None
    collection: str
    eye: Eye | None
    visit: float | str | None
    grade: int | None
    findings: frozenset[str] | None
    extra: Mapping[str, Scalar]


@dataclass(frozen=True)
class LocalCase(StoredCase):
    """Describe a case of the archive, with its file.

    Attributes:
        image: name of the photograph.
        path: where its file lies.
    """

    image: str
    path: str


Show = Callable[[int, Case], StoredCase]  # how a case is shown to whoever asks


def local_case(id_: int, case: Case) -> LocalCase:
    """Return a case as whoever has the archive's files sees it."""
    return LocalCase.from_object(case, id=id_)


@dataclass(frozen=True)
class Share(Answer):
    """Give a share from 0 to 1 with its 95 % interval over people."""

    value: Probability
    low: Probability
    high: Probability


@dataclass(frozen=True)
class LabelShare(Answer):
    """Say how many of 100 photographs like the query have a label value.

    Attributes:
        value: of the label.
        share: from 0 to 1, with its 95 % interval.
    """

    value: str
    share: Share


@dataclass(frozen=True)
class Suggestion(Answer):
    """Say what an archive suggests of a photograph: how many of 100 like it have a label value.

    Attributes:
        label: "grade", "findings", or the name of a further column.
        shares: of every value that was learnt, most first.
        several: whether a photograph may have several of them, as findings, so that the shares
            need not sum to 1.
        people: it was calibrated on; none of them was in the fit that judged them.
        new: whether the encoder was trained on no photograph of theirs, as far as is known.
        unlearnt: values that too few people have to be learnt; the shares leave them out.
    """

    label: str
    shares: tuple[LabelShare, ...]
    several: bool
    people: int
    new: bool
    unlearnt: tuple[str, ...] = ()

    def of(self, values: frozenset[str]) -> Share | None:
        """Return the share of photographs like the query that have one of these values or more.

        Findings are taken as independent of each other. None where no value is among those learnt.
        """
        found = [each.share for each in self.shares if each.value in values]
        if not found or not values <= {each.value for each in self.shares}:
            return None
        lines = zip(*((s.value, s.low, s.high) for s in found), strict=True)
        return Share(*(1 - math.prod(1 - p for p in line) for line in lines))


@dataclass(frozen=True)
class HitTrust(Answer):
    """Say how far one hit can be trusted. Every share is of this archive's own photographs.

    Attributes:
        label: which is compared: grade, or findings, of which one shared is enough.
        same: share, from 0 to 1, of the pairs with the same label that are less alike than query
            and hit; null where too few pairs are known.
        other: likewise of the pairs with different labels.
        agreement: the chance that the labels agree: how many of 100 photographs like the query
            have the hit's label, where the archive learnt that; else, of hits that are this alike
            and have the hit's label. Null where the hit's label is unknown, too few are known, or
            the query can't be compared.
        sufficient: whether it is as alike as the nearest case nearly always is.
    """

    label: str | None
    same: Probability | None
    other: Probability | None
    agreement: Share | None
    sufficient: bool


@dataclass(frozen=True)
class Looks(Answer):
    """Say whether a picture is a photograph of the retina, as far as that can be told.

    Attributes:
        unlike: share, from 0 to 1, of fundus photographs that are less unlike what the encoder
            knows; null where the encoder can't say.
        foreign: whether it is taken for something else: it shows no field in colour, or is more
            unlike than nearly every fundus photograph.
        poor: whether too little of the retina can be seen to compare it.
        camera: that took it, where its file says so and the archive, which records cameras, has
            no photograph of that one.
    """

    unlike: Probability | None
    foreign: bool
    poor: bool = False
    camera: str | None = None

    @property
    def comparable(self) -> bool:
        """Return whether anything can be said of the picture."""
        return not self.foreign and not self.poor


@dataclass(frozen=True)
class QueryTrust(Answer):
    """Say how far the answer to one query can be trusted.

    Attributes:
        suggestion: what the archive suggests of the query; null where it has not learnt enough,
            and of a picture that can't be compared or has no sufficiently similar case.
        nearest: share of the archive's own photographs whose nearest case of another person is
            less alike than the query's.
        threshold: similarity below which a case is not sufficiently alike; null where the archive
            has too few people to set one.
        false_reject: share of the archive's own photographs that would have no sufficient case.
        sufficient: whether any hit is; never of a foreign or a poor picture.
        looks: of the query's picture.
        trained: share of the archive's photographs that the encoder was trained on, where what is
            said of hits had to be learnt from these; null where it was not, or is not known.
    """

    suggestion: Suggestion | None
    nearest: Probability | None
    threshold: Similarity | None
    false_reject: Probability
    sufficient: bool
    looks: Looks
    trained: Probability | None = None


# Searches


@dataclass(frozen=True)
class Hit(Answer):
    """Describe a similar case.

    Attributes:
        rank: 1 is the first.
        similarity: cosine of the descriptors, from -1 to 1.
        score: by which the hits are ordered, from -1 to 1; the cosine, by looks.
        case: the photograph's record.
        trust: how far to trust it; null where the archive has too few people to say.
    """

    rank: int
    similarity: Similarity
    score: Similarity
    case: StoredCase
    trust: HitTrust | None


@dataclass(frozen=True, kw_only=True)
class SearchAnswer(Answer):
    """Say what a search found, and how far to trust it.

    Attributes:
        hits: best first.
        order: of the hits; by looks where the photograph can't be compared.
        label: that is learnt of; null where the archive learnt none.
        recorded: of how many hits this label is recorded.
        considered: cases compared, after filter and exclusions; null for accounts that may not
            match people.
        excluded_same_subject: cases left out, of the same subject or so alike that they may be;
            null for accounts that may not match people.
        in_archive: whether the archive holds this very file; null for accounts that may not match
            people.
        gradability: of the photograph sent, from 0 to 1.
        trust: of the whole answer.
        sentences: all that is to be known of the answer, in words.
        where: the condition as it was given.
        encoder: its name.
        fingerprint: of the encoder.
        milliseconds: from reading the file to the hits.
    """

    hits: tuple[Hit, ...]
    order: Order
    label: str | None
    recorded: int | None
    considered: int | None
    excluded_same_subject: int | None
    in_archive: bool | None
    gradability: Gradability
    trust: QueryTrust
    sentences: tuple[str, ...]
    where: str | None
    encoder: str
    fingerprint: str
    milliseconds: Milliseconds


@dataclass(frozen=True, kw_only=True)
class LocalSearch(SearchAnswer):
    """Say what a search found, and what was asked about.

    Attributes:
        query: the photograph; its record is the archive's if it is in there.
    """

    query: Case


@dataclass(frozen=True)
class RegionHit(Answer):
    """Describe a case, and where in it the region is found.

    Attributes:
        rank: 1 is the first.
        similarity: mean cosine of the region with the places of the box, from -1 to 1.
        box: x, y, width and height in shares of the picture.
        case: the photograph's record.
    """

    rank: int
    similarity: Similarity
    box: tuple[Gradability, ...]
    case: StoredCase


@dataclass(frozen=True, kw_only=True)
class RegionAnswer(Answer):
    """Say which cases have a place like one of the photograph.

    Attributes:
        region: what was compared: x, y, width and height in shares of the picture.
        hits: best first.
        itself: similarity of the region with itself.
        typical: half of the cases have a place this alike or more.
        considered: cases compared, after filter and exclusions; null for accounts that may not
            match people.
        excluded_same_subject: cases left out, of the same subject or so alike that they may be;
            null for accounts that may not match people.
        in_archive: whether the archive holds this very file; null for accounts that may not match
            people.
        undescribed: cases whose places are not kept yet.
        sentences: all that is to be known of the answer, in words.
        where: the condition as it was given.
        encoder: its name.
        fingerprint: of the encoder.
        milliseconds: from the places of the photograph to the hits.
    """

    region: tuple[Gradability, ...]
    hits: tuple[RegionHit, ...]
    itself: Similarity
    typical: Similarity | None
    considered: int | None
    excluded_same_subject: int | None
    in_archive: bool | None
    undescribed: int
    sentences: tuple[str, ...]
    where: str | None
    encoder: str
    fingerprint: str
    milliseconds: Milliseconds


@dataclass(frozen=True, kw_only=True)
class LocalRegion(RegionAnswer):
    """Say which cases have a place like one of the photograph, and of which.

    Attributes:
        query: the photograph; its record is the archive's if it is in there.
    """

    query: Case


@dataclass(frozen=True)
class EyePair(Answer):
    """Compare an eye of the query with an eye of the person found.

    Attributes:
        query: the query's eye.
        eye: the other's.
        similarity: cosine of the two descriptors, from -1 to 1.
    """

    query: Eye
    eye: Eye
    similarity: Similarity


@dataclass(frozen=True, kw_only=True)
class Person(Answer):
    """Describe a similar person, at one visit.

    Attributes:
        rank: 1 is the most similar.
        similarity: mean cosine of the pairs, from -1 to 1.
        pairs: the eyes that were compared.
        crossed: whether both eyes were compared crosswise, left with right.
        subject: pseudonym; a service says it to those who may match people.
        visit: months since the first visit, or an ISO date.
        grade: the worst that is known of either eye, ICDR 0 to 4.
        findings: of the person; null where nobody looked.
        left: photograph of the left eye, where there is one.
        right: photograph of the right eye, where there is one.
    """

    rank: int
    similarity: Similarity
    pairs: tuple[EyePair, ...]
    crossed: bool
    subject: str | None
    visit: float | str | None
    grade: int | None
    findings: frozenset[str] | None
    left: StoredCase | None
    right: StoredCase | None


@dataclass(frozen=True, kw_only=True)
class LocalPeople(Answer):
    """Say what a search for people found.

    Attributes:
        query: the photograph of each eye, null where there is none.
        in_archive: the eyes whose very file the archive holds.
        gradability: of each photograph, from 0 to 1.
        judged_by: the eyes that were compared.
        refused: why an eye was not compared.
        warnings: what a user must know before trusting it.
        hits: the most similar first.
        excluded_same_subject: visits of the query's own subject that were left out.
        considered: people compared; a person is a subject at one visit.
        unassigned: photographs whose subject or eye is not known, which are never compared.
        where: the condition as it was given.
        encoder: its name.
        fingerprint: of the encoder.
        milliseconds: from reading the files to the hits.
    """

    query: Mapping[Eye, Case | None]
    in_archive: tuple[Eye, ...]
    gradability: Mapping[Eye, Gradability]
    judged_by: tuple[Eye, ...]
    refused: Mapping[Eye, str]
    warnings: tuple[str, ...]
    hits: tuple[Person, ...]
    excluded_same_subject: int | None
    considered: int | None
    unassigned: int
    where: str | None
    encoder: str
    fingerprint: str
    milliseconds: Milliseconds


# Readings and matches


@dataclass(frozen=True)
class EyeReading(Answer):
    """Say what is read of one eye by itself.

    Attributes:
        probabilities: by label, from 0 to 1.
        gradability: of its photograph, from 0 to 1.
    """

    probabilities: Mapping[str, Probability]
    gradability: Gradability


@dataclass(frozen=True)
class LocalEye(EyeReading):
    """Say what is read of one eye by itself, and of which photograph.

    Attributes:
        image: name of the photograph.
    """

    image: str


@dataclass(frozen=True, kw_only=True)
class ReadAnswer(Answer):
    """Say how probable each finding is, for whoever looks at the photographs; no diagnosis.

    Attributes:
        probabilities: of the person, by label, from 0 to 1, or of the one eye that was sent;
            calibrated by a temperature on people for validation: where a finding is rarer than
            among them, it is too high.
        thresholds: above which a label counts as found.
        found: labels above their thresholds.
        eyes: of each eye that was read.
        refused: why nothing is said of an eye that was sent; no retina is seen in it.
        warnings: what a user must know before trusting it.
        similar: people of the archive, the most similar first.
        similar_missing: why there are none, where the archive can't say.
        reader: name of the reader.
        fingerprint: of the reader.
        milliseconds: from reading the files to the probabilities.
        note: what this is not.
    """

    probabilities: Mapping[str, Probability]
    thresholds: Mapping[str, Probability]
    found: tuple[str, ...]
    eyes: Mapping[Eye, EyeReading]
    refused: Mapping[Eye, str]
    warnings: tuple[str, ...]
    similar: tuple[Person, ...] = ()
    similar_missing: str | None = None
    reader: str
    fingerprint: str
    milliseconds: Milliseconds
    note: str = NO_DIAGNOSIS


@dataclass(frozen=True)
class Evidence(Answer):
    """Say what the probability of a candidate rests on.

    Attributes:
        cosine: of the two descriptors, from -1 to 1.
        features_that_agree: on one map from photograph to photograph.
        correlation: of vessels and lesions under that map.
        overlap: share of the smaller retina that is on both.
    """

    cosine: Annotated[float, Decimals(4)]
    features_that_agree: int
    correlation: Annotated[float, Decimals(4)]
    overlap: Annotated[float, Decimals(4)]


@dataclass(frozen=True)
class Candidate(Answer):
    """Describe a photograph of the archive that may show the eye.

    Attributes:
        rank: 1 is the likeliest.
        probability: that it shows the same eye, from 0 to 1.
        case: the photograph's record.
        months_to_query: from this photograph to the one sent.
        evidence: what the probability rests on.
    """

    rank: int
    probability: Probability
    case: StoredCase
    months_to_query: Annotated[float, Decimals(2)] | None
    evidence: Evidence


@dataclass(frozen=True, kw_only=True)
class MatchAnswer(Answer):
    """Say whether the archive holds other photographs of an eye.

    Attributes:
        match: whether a candidate's probability is at least `accepted_from`.
        verdict: the same in a sentence.
        probability_of_none: that no other photograph shows this eye.
        candidates: compared closely, the likeliest first.
        considered: photographs that were ranked.
        in_archive: whether the archive holds this very file.
        prior: chance, before looking, that there is another.
        most_probable: the most that evidence can show among so many.
        accepted_from: probability from which a candidate is named a match.
        purpose: what matching was allowed for.
        encoder: its name.
    """

    match: bool
    verdict: str
    probability_of_none: Probability
    candidates: tuple[Candidate, ...]
    considered: int
    in_archive: bool
    prior: float
    most_probable: Probability
    accepted_from: float
    purpose: str
    encoder: str


# A service's archive and its work


@dataclass(frozen=True)
class CasePage(Answer):
    """List some cases, in order of their ids.

    Attributes:
        cases: of this page.
        total: cases that meet the condition, on all pages.
        next: give it as `after` for the next page; null on the last.
    """

    cases: tuple[StoredCase, ...]
    total: int
    next: int | None


@dataclass(frozen=True)
class Added(Answer):
    """Describe a case that is in the archive now.

    Attributes:
        case: its record.
        new: false where the archive held the same photograph and record.
        gradability: of the photograph, from 0 to 1, if it is new.
        foreign: whether it does not look like a retina, if it is new.
    """

    case: StoredCase
    new: bool
    gradability: Gradability | None
    foreign: bool | None


@dataclass(frozen=True)
class Job(Answer):
    """Describe a job and how far it is.

    Attributes:
        id: random, 16 hexadecimal digits.
        kind: of work.
        state: "queued", "running", "done", "failed" or "cancelled"; "interrupted" where the service
            ended before the job did: what was stored by then is stored.
        done: photographs dealt with.
        total: photographs to deal with; null where that is unknown.
        sentence: why it failed.
        result: numbers that it ended with; passed_over counts by kind what in a folder was no
            photograph.
        created: ISO date and time.
        ended: likewise; null while it has not.
    """

    id: str
    kind: JobKind
    state: JobState
    done: int
    total: int | None
    sentence: str | None
    result: Mapping[str, int | Mapping[str, int]]
    created: str
    ended: str | None

    @property
    def open(self) -> bool:
        """Return whether it waits or is at work."""
        return self.state in ("queued", "running")

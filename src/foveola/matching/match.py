"""Which photographs of an archive show the eye of a query: candidates, proof, probability.

    with Matcher.open(folder) as matcher:
        result = matcher.match(Path("follow-up.jpg"))
        result.found          # candidates likely enough, best first; often none

descriptor   ranks the whole archive
features     of the first few are compared with the query's: one map that many agree on
calibration  turns both into a probability, among which is "none of these"
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from foveola import answers, report
from foveola.answers import MatchAnswer, Show
from foveola.archive import Archive
from foveola.duplicates import registration
from foveola.duplicates.registration import Features, agree
from foveola.encoders.encoder import Encoder
from foveola.images.decode import Photograph, as_file, decode
from foveola.images.gradability import gradability
from foveola.images.pictures import jpeg, thumbnail
from foveola.labels import is_phantom
from foveola.looks import Looker, check_retina, shipped_looker
from foveola.matching import gallery, permission
from foveola.matching.pair import (
    CALIBRATION,
    PRIOR,
    Calibration,
    Evidence,
    chessboard,
    compared,
    local_features,
    posterior,
    read_square,
)
from foveola.plain import plain
from foveola.records import Case
from foveola.resources import AnyPath, Closing

Pixels = NDArray[np.uint8]

CANDIDATES = 20  # photographs whose features are compared
ACCEPTED = 0.5  # probability from which a candidate is named a match
SHOWN = 5  # candidates on a page


@dataclass(frozen=True)
class Candidate:
    """One photograph of the archive that may show the query's eye.

    Attributes:
        rank: 1 is the likeliest.
        probability: that it shows the same eye.
        evidence: what that rests on.
        case: the photograph and its record.
        id: of the case in the inner archive.
        affine: (2, 3) from this photograph's prepared square to the query's.
        months: from this photograph to the query, negative if that is older; None if unknown.
    """

    rank: int
    probability: float
    evidence: Evidence
    case: Case
    id: int
    affine: NDArray[np.float32]
    months: float | None = None


@dataclass(frozen=True, kw_only=True)
class MatchResult:
    """What a search for the same eye found.

    Attributes:
        query: the photograph.
        in_archive: whether the archive holds this very file.
        candidates: all that were compared, likeliest first; what shows no retina is left out.
        none: probability that the archive holds no other photograph of this eye.
        considered: photographs that were ranked.
        prior: chance, before looking, that there is one.
        most: probability that the strongest evidence would have among so many photographs: the
            calibration rests on so many pairs, and shows no more.
        purpose: what matching was allowed for.
        encoder: name of the matching encoder.
        unread: candidates whose file could not be read for comparison.
    """

    query: Case
    in_archive: bool
    candidates: tuple[Candidate, ...]
    none: float
    considered: int
    prior: float
    most: float
    purpose: str
    encoder: str
    unread: int

    @property
    def found(self) -> tuple[Candidate, ...]:
        """Return the candidates likely enough to be named a match; often none."""
        return tuple(c for c in self.candidates if c.probability >= ACCEPTED)


class Matcher(Closing):
    """An archive opened for matching. A context manager.

    Args:
        folder: the outer archive.
        archive: the inner one, opened for reading.
        encoder: the inner one's.
        calibration: of that encoder.
        allowed: the permission.
        looker: tells whether a photograph shows a retina.
    """

    def __init__(
        self,
        folder: Path,
        archive: Archive,
        encoder: Encoder,
        calibration: Calibration,
        allowed: permission.Permission,
        looker: Looker,
    ) -> None:
        self.folder, self.archive, self.encoder = folder, archive, encoder
        self.calibration, self.allowed, self.looker = calibration, allowed, looker

    @classmethod
    def open(cls, folder: AnyPath, looker: Looker | None = None) -> Self:
        """Open an archive for matching.

        Args:
            folder: the archive.
            looker: tells whether a photograph shows a retina; None takes the shipped one.

        Raises:
            MatchingError: matching is switched off, or its encoder was not calibrated.
            ArchiveError: the archive or its inner one can't be opened.
        """
        folder = Path(folder)
        allowed = permission.permission(folder)
        archive = Archive.open(folder / gallery.FOLDER, read_only=True)
        try:
            encoder = Encoder.load(archive.encoder_folder)
            known = Calibration.load(archive.encoder_folder / CALIBRATION, encoder.fingerprint)
        except BaseException:
            archive.close()
            raise
        return cls(folder, archive, encoder, known, allowed, looker or shipped_looker())

    def close(self) -> None:
        """Close the archive."""
        self.archive.close()

    def match(
        self, image: Photograph, *, candidates: int = CANDIDATES, visit: float | str | None = None, prior: float = PRIOR
    ) -> MatchResult:
        """Look for other photographs of the eye that a photograph shows.

        The use is logged before it is answered.

        Args:
            image: the query: the path of a file, its bytes, or pixels, as in `Retriever.search`.
            candidates: photographs to compare closely.
            visit: when the query was taken, as the archive has visits; for the time between.
            prior: chance, before looking, that the archive holds another photograph of this eye.

        Raises:
            ImageError: the file is no photograph that can be used, or shows no retina.
            MatchingError: the log can't be written.
        """
        data, name, path = as_file(image)
        given = Case(image=name, path=path or f"sent:{name}")
        return self.match_sent(data, given, candidates=candidates, visit=visit, prior=prior)

    def match_sent(
        self,
        data: bytes,
        given: Case,
        *,
        candidates: int = CANDIDATES,
        visit: float | str | None = None,
        prior: float = PRIOR,
        **facts: str,
    ) -> MatchResult:
        """Match a photograph that came over a network; see `match`.

        Args:
            data: the file.
            given: what it is called; the archive's record takes its place if the file is there.
            candidates: as for `match`.
            visit: likewise.
            prior: likewise.
            facts: written into the log beside the use, such as who asked.
        """
        digest = blake2b(data, digest_size=16).digest()
        permission.log_use(self.folder, "match", query=digest.hex()[:16], candidates=candidates, **facts)
        pixels = decode(data, min_side=registration.SIDE, name=given.image)
        check_retina(self.looker.look(pixels)[1])
        gone = gallery.missing(self.folder, self.archive)
        known = self.archive.find(digest=digest)
        if known is not None and known[0] in gone:
            known = None
        query = known[1] if known else given
        visit = query.visit if visit is None else visit
        ranked = self.archive.search(
            self.encoder.encode_photograph(pixels), candidates, exclude_ids=[*gone, known[0]] if known else list(gone)
        )
        own = registration.square(pixels)
        look = _Look(own, local_features(own))
        with ThreadPoolExecutor() as pool:
            looked = pool.map(look, ranked.ids.tolist(), ranked.cases, ranked.similarities.tolist())
            seen = [each for each in looked if each is not None]
        evidence = [each.evidence for each in seen]
        chances, none = posterior(
            self.calibration.log_ratio(evidence), max(ranked.considered, 1), prior, others=self._others(evidence)
        )
        strongest = [math.log(self.calibration.pairs[1])]
        most = posterior(strongest, max(ranked.considered, 1), prior)[0]
        order = np.argsort(-chances, kind="stable").tolist()
        return MatchResult(
            query=query,
            in_archive=known is not None,
            candidates=tuple(
                Candidate(
                    rank,
                    float(chances[i]),
                    evidence[i],
                    seen[i].case,
                    seen[i].id,
                    seen[i].affine,
                    months_between(seen[i].case.visit, visit),
                )
                for rank, i in enumerate(order, start=1)
            ),
            none=none,
            considered=ranked.considered,
            prior=prior,
            most=float(most[0]),
            purpose=self.allowed.purpose,
            encoder=self.encoder.name,
            unread=sum(each.unread for each in seen),
        )

    def _others(self, evidence: Sequence[Evidence]) -> float:
        """Log ratio of what ranks behind all candidates: like the last of them, with no map.

        Never above 0: what was not looked at speaks for nothing.
        """
        if not evidence:
            return 0.0
        last = Evidence(min(each.cosine for each in evidence))
        return min(0.0, float(self.calibration.log_ratio([last])[0]))


class _Seen(NamedTuple):
    """A case that was compared; `unread` where its file could not be."""

    id: int
    case: Case
    evidence: Evidence
    affine: NDArray[np.float32]
    unread: bool


class _Look:
    """Compares photographs with the query; safe to use from several threads."""

    def __init__(self, own: Pixels, features: Features) -> None:
        self._own, self._features = own, features

    def __call__(self, id_: int, case: Case, cosine: float) -> _Seen | None:
        """Compare with a case; None of what shows no field in colour, as a radiograph."""
        other = read_square(Path(case.path))
        if other is None:
            return _Seen(id_, case, Evidence(cosine), np.eye(2, 3, dtype=np.float32), True)
        if gradability(other) == 0:
            return None
        agreed = agree(self._features, local_features(other))
        evidence = compared(cosine, agreed, lambda: (self._own, other))
        return _Seen(id_, case, evidence, agreed.affine, False)


def months_between(earlier: float | str | None, later: float | str | None) -> float | None:
    """Count the months from one visit to another; None if either is unknown or they are of two kinds.

    >>> months_between(12, 36), months_between(12, "2026-01-01")
    (24.0, None)
    """
    if isinstance(earlier, str) and isinstance(later, str):
        try:
            days = (date.fromisoformat(later) - date.fromisoformat(earlier)).days
        except ValueError:
            return None
        return days * 12 / 365.25
    if isinstance(earlier, int | float) and isinstance(later, int | float):
        return float(later) - float(earlier)
    return None


def answer(result: MatchResult, archive: Archive, show: Show) -> MatchAnswer:
    """Return what is answered, each case as `show` makes it of its id and record.

    Args:
        result: of a match.
        archive: whose ids the cases get; what it no longer holds is left out.
        show: makes of an id and a record what is shown of a case.
    """
    found = ((each, archive.find(path=each.case.path)) for each in result.candidates)
    candidates = tuple(
        answers.Candidate.from_object(
            each,
            case=show(known[0], each.case),
            months_to_query=each.months,
            evidence=answers.Evidence.from_object(each.evidence, features_that_agree=each.evidence.inliers),
        )
        for each, known in found
        if known is not None
    )
    return MatchAnswer.from_object(
        result,
        match=bool(result.found),
        verdict=verdict(result),
        probability_of_none=result.none,
        candidates=candidates,
        most_probable=result.most,
        accepted_from=ACCEPTED,
    )


def verdict(result: MatchResult) -> str:
    """Say in one sentence whether there is a match."""
    among = f"{result.considered:,} photographs"
    held = " The archive holds this very file, which is left out." if result.in_archive else ""
    if not result.found:
        return (
            f"No match: {_percent(result.none)} that none of the {among} shows this eye, if one "
            f"in {1 / result.prior:g} such questions has an answer.{held}"
        )
    many = len(result.found)
    return f"{many} of the {among} probably {'shows' if many == 1 else 'show'} the same eye.{held}"


def to_text(result: MatchResult, shown: int = SHOWN) -> str:
    """Return text for a terminal: the sentence, then the likeliest candidates."""
    lines = [verdict(result), ""]
    lines.append(f"{'':>4}  {'same eye':>9}  {'features':>8}  {'cosine':>6}  {'time':>12}  image")
    for c in result.candidates[:shown]:
        lines.append(
            f"{c.rank:>4}  {_percent(c.probability):>9}  {c.evidence.inliers:>8}  "
            f"{c.evidence.cosine:>6.3f}  {_gap(c):>12}  {plain(c.case.image)}"
        )
    if result.found:
        lines.append(f"\nno evidence shows more than {_percent(result.most)} among so many photographs")
    return "\n".join(lines)


def to_page(result: MatchResult, shown: int = SHOWN) -> str:
    """Make a page with each candidate beside the query, and both laid over each other."""
    own = read_square(Path(result.query.path))
    query = thumbnail(Path(result.query.path))
    pairs = []
    for c in result.candidates[:shown]:
        pictures = [
            report.Photograph(title="Query", picture=query, name=result.query.image),
            report.Photograph.of("In the archive", c.case, thumbnail(Path(c.case.path))),
        ]
        other = read_square(Path(c.case.path)) if c.evidence.inliers else None
        if own is not None and other is not None:
            board = jpeg(chessboard(own, other, c.affine))
            pictures.append(report.Photograph(title="Laid over each other", picture=board))
        pairs.append(
            report.Pair(
                title="Probably the same eye" if c in result.found else "Not shown to be the same",
                badge=_percent(c.probability),
                strong=c in result.found,
                pictures=pictures,
                evidence=_evidence(c),
            )
        )
    facts = [
        ("Question", "which photographs show the same eye as the query"),
        ("Purpose", result.purpose),
        ("Encoder", result.encoder),
        ("Prior", f"{_percent(result.prior)} that the archive holds another of this eye"),
        (
            "At most",
            f"{_percent(result.most)}: the pairs behind the calibration show no more among "
            f"{result.considered:,} photographs, however strong the evidence",
        ),
    ]
    cases = [result.query, *(c.case for c in result.candidates[:shown])]
    return report.pairs_page(
        pairs, title="Same eye", lead=verdict(result), facts=facts, phantoms=any(map(is_phantom, cases))
    )


def _evidence(c: Candidate) -> list[tuple[str, str]]:
    seen = c.evidence
    said = [("Descriptors", f"cosine {seen.cosine:.3f}")]
    if not seen.inliers:
        return [*said, ("Features", "no map that many agree on")]
    said.append(("Features", f"{seen.inliers} agree on one map"))
    if seen.overlap:
        shared = f"{_percent(seen.overlap)} of the smaller retina is on both"
        under = f"vessels and lesions correlate by {seen.correlation:.2f}; {shared}"
        said.append(("Under it", under))
    return said if c.months is None else [*said, ("Time", _gap(c))]


def _gap(c: Candidate) -> str:
    if c.months is None:
        return "-"
    size, way = abs(c.months), "earlier" if c.months > 0 else "later"
    if size < 0.5:
        return "same visit"
    return f"{size / 12:.1f} y {way}" if size >= 23.5 else f"{size:.0f} mo {way}"


def _percent(chance: float) -> str:
    """In %; never 0 or 100, which no experiment shows."""
    if chance < 0.001:
        return "< 0.1 %"
    return "> 99.9 %" if chance > 0.999 else f"{100 * chance:.1f} %"

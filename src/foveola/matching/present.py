"""A match in words: as JSON, as text for a terminal, as a page with pictures."""

from pathlib import Path

from foveola.images.pictures import jpeg, thumbnail
from foveola.labels import is_phantom
from foveola.matching.match import ACCEPTED, Candidate, MatchResult
from foveola.matching.pictures import chessboard, read_square
from foveola.plain import plain
from foveola.report import Pair, Photograph, pairs_page

SHOWN = 5  # candidates on a page


def to_json(result: MatchResult) -> dict[str, object]:
    """Plain types for json.dumps."""
    return {
        "match": bool(result.found),
        "probability_of_none": round(result.none, 6),
        "candidates": [_candidate_json(c) for c in result.candidates],
        "considered": result.considered,
        "in_archive": result.in_archive,
        "prior": result.prior,
        "most_probable": round(result.most, 6),
        "accepted_from": ACCEPTED,
        "encoder": result.encoder,
        "purpose": result.purpose,
    }


def _candidate_json(candidate: Candidate) -> dict[str, object]:
    seen, case = candidate.evidence, candidate.case
    return {
        "rank": candidate.rank,
        "probability": round(candidate.probability, 6),
        "image": case.image,
        "path": case.path,
        "subject": case.subject,
        "collection": case.collection,
        "eye": case.eye,
        "visit": case.visit,
        "months_to_query": None if candidate.months is None else round(candidate.months, 2),
        "evidence": {
            "cosine": round(seen.cosine, 4),
            "features_that_agree": seen.inliers,
            "correlation": round(seen.correlation, 4),
            "overlap": round(seen.overlap, 4),
        },
    }


def verdict(result: MatchResult) -> str:
    """One sentence."""
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
    """For a terminal: the sentence, then the likeliest candidates."""
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
    """A page with each candidate beside the query, and both laid over each other."""
    own = read_square(Path(result.query.path))
    query = thumbnail(Path(result.query.path))
    pairs = []
    for c in result.candidates[:shown]:
        pictures = [
            Photograph(title="Query", picture=query, name=result.query.image),
            Photograph.of("In the archive", c.case, thumbnail(Path(c.case.path))),
        ]
        other = read_square(Path(c.case.path)) if c.evidence.inliers else None
        if own is not None and other is not None:
            board = jpeg(chessboard(own, other, c.affine))
            pictures.append(Photograph(title="Laid over each other", picture=board))
        pairs.append(
            Pair(
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
    return pairs_page(pairs, title="Same eye", lead=verdict(result), facts=facts, phantoms=any(map(is_phantom, cases)))


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

"""What was found, to take along: as a page that needs nothing else, and as a table.

Cases are named by their ids. Subject, file name and date stay behind: whoever may use the archive
finds them by the id, and nobody else can.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from foveola.people_search import PersonResult
from foveola.plain import to_csv
from foveola.reading import Reading, pictures
from foveola.records import Case, Eye
from foveola.report import people_page, reading_page, search_page
from foveola.retrieval import Hit, SearchResult
from foveola.server.texts import texts
from foveola.trust.sentences import of_order

COLUMNS = (
    "rank",
    "id",
    "similarity",
    "score",
    "order",
    "grade",
    "findings",
    "eye",
    "visit",
    "age",
    "sex",
    "outcome",
    "sufficient",
    "same",
    "other",
    "agreement",
    "agreement_low",
    "agreement_high",
)

# Gives the picture of a case, by its id, as JPEG.
Thumbnails: TypeAlias = Callable[[int], bytes | None]
Card: TypeAlias = Mapping[str, object]


def search_report(result: SearchResult, own: bytes, thumbnails: Thumbnails, card: Card) -> str:
    """Write the hits of a search as one HTML file.

    Args:
        result: of `Retriever.search`.
        own: the photograph asked about, as JPEG.
        thumbnails: of the cases found.
        card: of the encoder.
    """
    query = anonymous(result.query, texts()("query.yours"))
    hits = tuple(replace(hit, case=_named(hit.case, hit.id)) for hit in result.hits)
    shown = {hit.case.path: thumbnails(hit.id) for hit in hits} | {query.path: own}
    return search_page(
        replace(result, query=query, hits=hits),
        images=lambda case: shown[case.path],
        title=texts()("query.title"),
        encoder_card=card,
    )


def people_report(result: PersonResult, own: Mapping[Eye, bytes], thumbnails: Thumbnails, card: Card) -> str:
    """Write the people most like one person as one HTML file; arguments as for `search_report`."""
    result, shown = _people(result, own, thumbnails)
    return people_page(result, images=lambda case: shown[case.path], title=texts()("tabs.people"), encoder_card=card)


def reading_report(
    reading: Reading,
    photographs: Mapping[Eye, NDArray[np.uint8]],
    similar: PersonResult | None,
    own: Mapping[Eye, bytes],
    thumbnails: Thumbnails,
) -> str:
    """Write what the reader says of one or two eyes as one HTML file.

    Args:
        reading: of these eyes.
        photographs: (H, W, 3) uint8 of each.
        similar: the people most like them; None where they can't be searched.
        own: the photographs asked about, as JPEG.
        thumbnails: of the cases found.
    """
    shown = pictures(reading, photographs)
    alike, images = (None, {}) if similar is None else _people(similar, own, thumbnails)
    return reading_page(
        reading,
        shown.photographs,
        shown.evidence,
        similar=alike,
        images=lambda case: images[case.path],
        title=texts()("reading.title"),
    )


def hits_csv(result: SearchResult) -> str:
    """Write a row a hit, in COLUMNS; an empty cell is unknown.

    They are ordered by score, as `order` says; similarity is the cosine. The last six are those of
    `foveola.trust.HitTrust`, shares from 0 to 1.
    """
    order = of_order(result.order, result.label)
    return to_csv(COLUMNS, (_row(hit, order) for hit in result.hits))


def _row(hit: Hit, order: str) -> list[object]:
    case, trust = hit.case, hit.trust
    agreement = trust.agreement if trust else None
    findings = None if case.findings is None else ";".join(sorted(case.findings)) or "none"
    visit = None if isinstance(case.visit, str) else case.visit
    known = [case.grade, findings, case.eye, visit, *(case.extra.get(key) for key in ("age", "sex", "outcome"))]
    trusted = [None] * 3 if trust is None else [int(trust.sufficient), trust.same, trust.other]
    share = [None] * 3 if agreement is None else [agreement.value, agreement.low, agreement.high]
    numbers = [None if value is None else round(value, 4) for value in (*trusted, *share)]
    ranked = [hit.rank, hit.id, round(hit.similarity, 6), round(hit.score, 6), order]
    return [*ranked, *known, *numbers]


def _people(
    result: PersonResult, own: Mapping[Eye, bytes], thumbnails: Thumbnails
) -> tuple[PersonResult, dict[str, bytes | None]]:
    """The same without what tells who they are, and the pictures of it all."""
    t = texts()
    query = {eye: anonymous(case, t(f"both.{eye}")) for eye, case in result.query.items()}
    hits = tuple(
        replace(hit, cases={eye: _named(case, hit.ids[eye]) for eye, case in hit.cases.items()}) for hit in result.hits
    )
    shown = {query[eye].path: own[eye] for eye in query} | {
        hit.cases[eye].path: thumbnails(hit.ids[eye]) for hit in hits for eye in hit.cases
    }
    return replace(result, query=query, hits=hits), shown


def _named(case: Case, id_: int) -> Case:
    return anonymous(case, texts()("query.case", id=id_))


def anonymous(case: Case, name: str) -> Case:
    """Return a case without what tells whose it is; the name stands for its file."""
    left_out = texts()("export.left_out")
    return replace(
        case,
        image=name,
        path=name,
        subject=None if case.subject is None else left_out,
        visit=left_out if isinstance(case.visit, str) else case.visit,
    )

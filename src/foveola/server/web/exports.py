"""What was found, as files to save."""

from collections.abc import Mapping

from fastapi import APIRouter, Response

from foveola.errors import FoveolaError
from foveola.people_search import PersonResult
from foveola.records import Eye
from foveola.server.services.exports import hits_csv, people_report, reading_report, search_report
from foveola.server.services.queries import Sent
from foveola.server.services.reading import ReadingService, pixels
from foveola.server.services.search import SearchService
from foveola.server.web.reading import OnBoth, Paired, one_eye
from foveola.server.web.search import Asked, OnService, Ticked, saved

router = APIRouter(include_in_schema=False)
# The file brings a fence of its own, as it leaves this one; and it never opens in place, where
# the page's would keep its style out.
PAGE = "text/html; charset=utf-8"
HTML, TABLE = (PAGE, "similar-cases.html"), ("text/csv", "similar-cases.csv")
READING = (PAGE, "reading.html")
ALIKE = 5  # people shown beside a reading, as `foveola read` has it


@router.get("/queries/{token}/report")
def report(service: OnService, sent: Asked, chosen: Ticked) -> Response:
    """The hits as a page that needs nothing else."""
    result = service.search(sent, chosen)
    return saved(search_report(result, sent.thumbnail, service.thumbnail, card(service)), *HTML)


@router.get("/queries/{token}/hits.csv")
def table(service: OnService, sent: Asked, chosen: Ticked) -> Response:
    """The hits as a table."""
    result = service.search(sent, chosen)
    return saved(hits_csv(result), *TABLE)


@router.get("/people/{token}/report")
def people(service: OnService, both: OnBoth, paired: Paired, chosen: Ticked) -> Response:
    """The people most like one person as a page that needs nothing else."""
    sent = paired[1]
    found = both.people(sent, chosen.count, chosen.condition())
    own = {eye: of.thumbnail for eye, of in sent.items()}
    return saved(people_report(found, own, service.thumbnail, card(service)), *HTML)


@router.get("/people/{token}/reading/report")
def reading(service: OnService, both: OnBoth, paired: Paired) -> Response:
    """What the reader says of two eyes as a page that needs nothing else."""
    return _reading(service, both, paired[1])


@router.get("/queries/{token}/reading/report")
def reading_of_one(service: OnService, both: OnBoth, sent: Asked) -> Response:
    """What it says of the one eye there is."""
    return _reading(service, both, {one_eye(sent): sent})


def _reading(service: SearchService, both: ReadingService, sent: Mapping[Eye, Sent]) -> Response:
    said = both.reading(sent)
    own = {eye: of.thumbnail for eye, of in sent.items()}
    photographs = {eye: pixels(of) for eye, of in sent.items()}
    similar = _alike(both, sent)
    return saved(reading_report(said, photographs, similar, own, service.thumbnail), *READING)


def _alike(both: ReadingService, sent: Mapping[Eye, Sent]) -> PersonResult | None:
    try:
        return both.people(sent, ALIKE, None)
    except FoveolaError:  # the reading stands without them
        return None


def card(service: SearchService) -> dict[str, object]:
    """What a report says of the encoder."""
    encoder = service.retriever.encoder
    return {"name": encoder.name, "fingerprint": encoder.fingerprint}

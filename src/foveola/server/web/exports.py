"""What was found, as files to save."""

from collections.abc import Mapping

from fastapi import APIRouter, Response

from foveola.cases import Eye
from foveola.errors import FoveolaError
from foveola.people_search import PersonResult
from foveola.server.services.exports import hits_csv, people_report, reading_report, search_report
from foveola.server.services.queries import Sent
from foveola.server.services.reading import Both, pixels
from foveola.server.services.search import Desk
from foveola.server.web.reading import OnBoth, Paired, one_eye
from foveola.server.web.search import Asked, OnDesk, Ticked, saved

router = APIRouter(include_in_schema=False)
# The file brings a fence of its own, as it leaves this one; and it never opens in place, where
# the page's would keep its style out.
PAGE = "text/html; charset=utf-8"
HTML, TABLE = (PAGE, "similar-cases.html"), ("text/csv", "similar-cases.csv")
READING = (PAGE, "reading.html")
ALIKE = 5  # people shown beside a reading, as `foveola read` has it


@router.get("/queries/{token}/report")
def report(desk: OnDesk, sent: Asked, chosen: Ticked) -> Response:
    """The hits as a page that needs nothing else."""
    result = desk.search(sent, chosen)
    return saved(search_report(result, sent.thumbnail, desk.thumbnail, card(desk)), *HTML)


@router.get("/queries/{token}/hits.csv")
def table(desk: OnDesk, sent: Asked, chosen: Ticked) -> Response:
    """The hits as a table."""
    result = desk.search(sent, chosen)
    return saved(hits_csv(result), *TABLE)


@router.get("/people/{token}/report")
def people(desk: OnDesk, both: OnBoth, paired: Paired, chosen: Ticked) -> Response:
    """The people most like one person as a page that needs nothing else."""
    sent = paired[1]
    found = both.people(sent, chosen.count, chosen.condition())
    own = {eye: of.thumbnail for eye, of in sent.items()}
    return saved(people_report(found, own, desk.thumbnail, card(desk)), *HTML)


@router.get("/people/{token}/reading/report")
def reading(desk: OnDesk, both: OnBoth, paired: Paired) -> Response:
    """What the reader says of two eyes as a page that needs nothing else."""
    return _reading(desk, both, paired[1])


@router.get("/queries/{token}/reading/report")
def reading_of_one(desk: OnDesk, both: OnBoth, sent: Asked) -> Response:
    """What it says of the one eye there is."""
    return _reading(desk, both, {one_eye(sent): sent})


def _reading(desk: Desk, both: Both, sent: Mapping[Eye, Sent]) -> Response:
    said = both.reading(sent)
    own = {eye: of.thumbnail for eye, of in sent.items()}
    photographs = {eye: pixels(of) for eye, of in sent.items()}
    similar = _alike(both, sent)
    return saved(reading_report(said, photographs, similar, own, desk.thumbnail), *READING)


def _alike(both: Both, sent: Mapping[Eye, Sent]) -> PersonResult | None:
    try:
        return both.people(sent, ALIKE, None)
    except FoveolaError:  # the reading stands without them
        return None


def card(desk: Desk) -> dict[str, object]:
    """What a report says of the encoder."""
    encoder = desk.retriever.encoder
    return {"name": encoder.name, "fingerprint": encoder.fingerprint}

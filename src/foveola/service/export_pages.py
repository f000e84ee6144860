"""What was found, as files to save."""

from fastapi import APIRouter, Response

from foveola.service.both_pages import OnBoth, Paired
from foveola.service.desk import Desk
from foveola.service.exports import hits_csv, people_report, search_report
from foveola.service.pages import Asked, OnDesk, Ticked, saved

router = APIRouter(include_in_schema=False)
# The file brings a fence of its own, as it leaves this one; and it never opens in place, where
# the page's would keep its style out.
HTML, TABLE = ("text/html; charset=utf-8", "similar-cases.html"), ("text/csv", "similar-cases.csv")


@router.get("/queries/{token}/report")
def report(desk: OnDesk, sent: Asked, chosen: Ticked) -> Response:
    """The hits as a page that needs nothing else."""
    result = desk.search(sent, chosen.count, chosen.condition(), chosen.marks)
    return saved(search_report(result, sent.thumbnail, desk.thumbnail, card(desk)), *HTML)


@router.get("/queries/{token}/hits.csv")
def table(desk: OnDesk, sent: Asked, chosen: Ticked) -> Response:
    """The hits as a table."""
    result = desk.search(sent, chosen.count, chosen.condition(), chosen.marks)
    return saved(hits_csv(result), *TABLE)


@router.get("/people/{token}/report")
def people(desk: OnDesk, both: OnBoth, paired: Paired, chosen: Ticked) -> Response:
    """The people most like one person as a page that needs nothing else."""
    sent = paired[1]
    found = both.people(sent, chosen.count, chosen.condition())
    own = {eye: of.thumbnail for eye, of in sent.items()}
    return saved(people_report(found, own, desk.thumbnail, card(desk)), *HTML)


def card(desk: Desk) -> dict[str, object]:
    """What a report says of the encoder."""
    encoder = desk.retriever.encoder
    return {"name": encoder.name, "fingerprint": encoder.fingerprint}

"""The pages that show an archive as a whole: numbers, a map, the card of its encoder."""

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import HTMLResponse

from foveola.labels import GRADES
from foveola.overview import Overviews
from foveola.report.markdown import blocks
from foveola.server.auth.context import NAMED, may, record_access
from foveola.server.web.filters import camera_columns
from foveola.server.web.matching import OnIdentity
from foveola.server.web.search import OnService, page
from foveola.server.web.texts import texts

router = APIRouter(include_in_schema=False)
LONGEST = 500_000  # bytes of a card


def overviews_of(request: Request) -> Overviews:
    """The map of the archive."""
    overviews: Overviews = request.app.state.overviews
    return overviews


OnOverviews = Annotated[Overviews, Depends(overviews_of)]


@router.get("/overview")
def overview(request: Request, service: OnService, drawn: OnOverviews, who: OnIdentity) -> HTMLResponse:
    """The archive in numbers and as a map."""
    archive = service.retriever.archive
    info = archive.info()
    cameras: dict[str, int] = {}
    for column in camera_columns(info):
        cameras |= archive.values(column)
    outcomes = archive.values("outcome") if "outcome" in info.columns else {}
    return page(
        "overview.html",
        info=info,
        cameras=cameras,
        outcomes=outcomes,
        drawn=drawn.get(),
        grades=sorted(GRADES),
        matching=who.allowed() is not None and may("matcher"),
        study=request.app.state.study is not None,
    )


@router.get("/overview/points")
def points(drawn: OnOverviews) -> Response:
    """The points of the map, packed as `Overview.packed` says."""
    made = drawn.get()
    record_access(made.ids.tolist(), NAMED)
    return Response(made.packed(), media_type="application/octet-stream")


@router.get("/card")
def card(service: OnService) -> HTMLResponse:
    """What the archive's encoder was trained on, and how good it is."""
    path = service.retriever.encoder.release.folder / "CARD.md"
    try:
        with path.open("rb") as file:
            text = file.read(LONGEST).decode("utf-8", errors="replace")
    except OSError:
        raise HTTPException(404, texts()("overview.no_card")) from None
    return page("card.html", blocks=blocks(text))

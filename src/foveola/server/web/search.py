"""The pages of the archive: the start, hits, a case, its maps, regions, the overview. Nothing is computed here."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Form, HTTPException, Query, Request, Response
from fastapi import UploadFile as Upload
from fastapi.responses import HTMLResponse, RedirectResponse

from foveola.errors import ImageError
from foveola.labels import GRADES, is_phantom
from foveola.overview import Overviews
from foveola.regions import Box, is_on
from foveola.regions.search import sentences
from foveola.report.views import timeline, view_answer
from foveola.server.auth.context import NAMED, may, may_match, record_access
from foveola.server.dependencies import Asked, CaseId, OnMatching, OnRegions, OnService, Ticked, Whose
from foveola.server.services.exports import hits_csv, search_report
from foveola.server.services.filters import Chosen, camera_columns, offered
from foveola.server.services.memory import Picture, Sent
from foveola.server.services.search import SearchService
from foveola.server.texts import texts
from foveola.server.web.pages import bytes_of, card_html, eye_of, jpeg, page, png, saved
from foveola.trust.sentences import of_hit, unrecorded

router = APIRouter(include_in_schema=False)
# The file brings a fence of its own, as it leaves this one; and it never opens in place, where
# the page's would keep its style out.
HTML = ("text/html; charset=utf-8", "similar-cases.html")
LONGEST = 500_000  # bytes of an encoder's card


@router.get("/")
def start(service: OnService) -> HTMLResponse:
    """Show where a photograph is dropped."""
    return page("start.html", info=service.info())


@router.post("/queries")
def send(
    service: OnService,
    whose: Whose,
    photograph: Annotated[Upload | None, File()] = None,
    eye: Annotated[str, Form()] = "",
) -> Response:
    """Take a photograph and go to its hits."""
    return RedirectResponse(f"/queries/{service.receive(bytes_of(photograph), eye_of(eye), *whose)}", 303)


@router.post("/cases/{id_}/like")
def more(id_: CaseId, service: OnService) -> Response:
    """Ask about a case of the archive."""
    return RedirectResponse(f"/queries/{service.receive_case(id_)}", 303)


@router.get("/queries/{token}")
def hits(token: str, request: Request, service: OnService, sent: Asked, chosen: Ticked) -> HTMLResponse:
    """Show the cases most like a photograph; only them where the page is there already."""
    whole = not request.headers.get("HX-Request")
    if sent.query.id is not None and may_match():
        record_access([sent.query.id])  # the page leads to it
    return page(
        "query.html" if whole else "hits.html",
        action=f"/queries/{token}",
        show="",
        offered=offered(service.retriever) if whole else None,  # counts the archive
        **hit_values(service, token, sent, chosen),
    )


def hit_values(service: SearchService, token: str, sent: Sent, chosen: Chosen) -> dict[str, Any]:
    """Return what hits.html says of the cases most like a photograph."""
    result = service.search(sent, chosen)
    return {
        "marked": {way: [(id_, service.case(id_)) for id_ in getattr(chosen.marks, way)] for way in ("more", "less")},
        "token": token,
        "sent": sent,
        "result": result,
        "chosen": chosen,
        "regions": is_on(service.retriever.archive.folder),
        "said": view_answer(result),
        "hits": [(hit, of_hit(hit.trust), unrecorded(hit.case, result.label)) for hit in result.hits],
        "phantoms": any(is_phantom(hit.case) for hit in result.hits),
    }


@router.get("/queries/{token}/compare/{id_}")
def compare(token: str, id_: CaseId, service: OnService, sent: Asked) -> HTMLResponse:
    """Show a photograph and a case side by side."""
    case, shown = service.case(id_), service.picture(id_)
    similarity = service.similarity(sent, id_)
    return page(
        "compare.html",
        token=token,
        sent=sent,
        id=id_,
        case=case,
        shown=shown,
        similarity=similarity,
        phantoms=is_phantom(case),
    )


@router.get("/cases/{id_}")
def case_page(id_: CaseId, service: OnService) -> HTMLResponse:
    """Show a case, and its subject's other photographs."""
    case = service.case(id_)
    try:
        shown: Picture | None = service.picture(id_)
    except ImageError:
        shown = None
    visits = service.visits(id_)
    return page(
        "case.html", id=id_, case=case, shown=shown, visits=visits, course=timeline(visits), phantoms=is_phantom(case)
    )


@router.get("/queries/{token}/picture")
def query_picture(sent: Asked) -> Response:
    """Show the photograph that was sent."""
    return jpeg(sent.picture.jpeg)


@router.get("/queries/{token}/thumbnail")
def query_thumbnail(sent: Asked) -> Response:
    """Show the same, small."""
    return jpeg(sent.thumbnail)


@router.get("/queries/{token}/map/{id_}/{side}")
def agreement(id_: CaseId, side: str, service: OnService, sent: Asked) -> Response:
    """Show what makes photograph and case alike, as a map to lay over one of the two."""
    if side not in ("query", "case"):
        raise HTTPException(404, "there is a map of the query and one of the case")
    own, other = service.agreement(sent, id_)
    return png(own if side == "query" else other)


@router.get("/queries/{token}/occlusion/{id_}/{side}")
def occlusion(token: str, id_: CaseId, side: str, service: OnService, sent: Asked) -> Response:
    """Show what the likeness of photograph and case loses where one of the two is covered up."""
    if side not in ("query", "case"):
        raise HTTPException(404, "there is a map of the query and one of the case")
    return png(service.occlusion(token, sent, id_, of_case=side == "case"))


@router.get("/queries/{token}/report")
def report(service: OnService, sent: Asked, chosen: Ticked) -> Response:
    """Save the hits as a page that needs nothing else."""
    result = service.search(sent, chosen)
    return saved(search_report(result, sent.thumbnail, service.thumbnail, service.card), *HTML)


@router.get("/queries/{token}/hits.csv")
def table(service: OnService, sent: Asked, chosen: Ticked) -> Response:
    """Save the hits as a table."""
    return saved(hits_csv(service.search(sent, chosen)), "text/csv", "similar-cases.csv")


@router.get("/queries/{token}/region")
def region_page(token: str, regions: OnRegions, sent: Asked) -> HTMLResponse:
    """Show where a place of the photograph is marked."""
    regions.check()  # an archive without places says so at once
    return page("region.html", token=token, sent=sent, result=None, said=[], noted=False)


@router.get("/queries/{token}/region/hits")
def region_hits(
    token: str,
    request: Request,
    regions: OnRegions,
    sent: Asked,
    chosen: Ticked,
    region: Annotated[str, Query(max_length=200)],
) -> HTMLResponse:
    """Show the cases with a place like it; only them where the page is there already."""
    result = regions.of_sent(sent, Box.parse(region), chosen.count, chosen.condition())
    template = "region_hits.html" if request.headers.get("HX-Request") else "region.html"
    within = template == "region_hits.html"  # the banner of a whole page is at its top
    phantoms = any(is_phantom(hit.case) for hit in result.hits)
    return page(
        template,
        token=token,
        sent=sent,
        result=result,
        said=sentences(result),
        phantoms=phantoms,
        noted=within and phantoms,
    )


@router.get("/cases/{id_}/picture")
def case_picture(id_: CaseId, service: OnService) -> Response:
    """Show the photograph of a case."""
    return jpeg(service.picture(id_).jpeg)


@router.get("/cases/{id_}/thumbnail")
def case_thumbnail(id_: CaseId, service: OnService) -> Response:
    """Show the same, small."""
    data = service.thumbnail(id_)
    if data is None:
        raise HTTPException(404, f"the photograph of case {id_} can't be read any more")
    return jpeg(data)


def _overviews(request: Request) -> Overviews:
    """Return the map of the archive."""
    overviews: Overviews = request.app.state.overviews
    return overviews


OnOverviews = Annotated[Overviews, Depends(_overviews)]


@router.get("/overview")
def overview(request: Request, service: OnService, drawn: OnOverviews, who: OnMatching) -> HTMLResponse:
    """Show the archive in numbers and as a map."""
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
    """Send the points of the map, packed as `Overview.packed` says."""
    made = drawn.get()
    record_access(made.ids.tolist(), NAMED)
    return Response(made.packed(), media_type="application/octet-stream")


@router.get("/card")
def card(service: OnService) -> HTMLResponse:
    """Show what the archive's encoder was trained on, and how good it is."""
    path = service.retriever.encoder.release.folder / "CARD.md"
    try:
        with path.open("rb") as file:
            text = file.read(LONGEST).decode("utf-8", errors="replace")
    except OSError:
        raise HTTPException(404, texts()("overview.no_card")) from None
    return page("card.html", card=card_html(text))

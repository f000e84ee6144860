"""The pages: requests in, HTML out. Nothing is computed here."""

from functools import cache
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Depends, File, Form, HTTPException, Query, Request, Response
from fastapi import UploadFile as Upload
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import ChoiceLoader, Environment, PackageLoader, PrefixLoader, StrictUndefined, select_autoescape

from foveola.errors import ImageError
from foveola.labels import finding_word, findings_of, grade_word, is_phantom, percent, visit_word
from foveola.records import Case, Eye
from foveola.regions import is_on
from foveola.report.timeline import timeline
from foveola.report.views import bar, view_answer
from foveola.retrieval import Marks
from foveola.server.auth.context import account, csrf, csrf_token, may, may_match, record_access
from foveola.server.ids import CaseId
from foveola.server.services.pictures import Picture
from foveola.server.services.queries import Sent
from foveola.server.services.search import SearchService
from foveola.server.web.filters import COUNT, MOST, Chosen, offered
from foveola.server.web.texts import texts
from foveola.trust.sentences import of_hit, unrecorded

router = APIRouter(include_in_schema=False)


def desk_of(request: Request) -> SearchService:
    """The archive that a request is about."""
    service: SearchService = request.app.state.service
    return service


def chosen_of(
    grade: Annotated[list[str] | None, Query()] = None,
    eye: str = "",
    finding: str = "",
    camera: str = "",
    youngest: str = "",
    oldest: str = "",
    where: str = "",
    by: str = "",
    label: str = "",
    count: Annotated[int, Query(ge=1, le=MOST)] = COUNT,
    more: Annotated[list[int] | None, Query(max_length=MOST)] = None,
    less: Annotated[list[int] | None, Query(max_length=MOST)] = None,
) -> Chosen:
    """What was ticked."""
    marks = Marks(tuple(more or ()), tuple(less or ())).plain
    return Chosen(tuple(grade or ()), eye, finding, camera, youngest, oldest, where, by, label, count, marks)


class Person(NamedTuple):
    """Whose photograph is sent: a pseudonym of the archive and its name space; None if not said."""

    subject: str | None
    collection: str


def whose_of(
    subject: Annotated[
        str, Form(max_length=200, description="pseudonym of whose photograph it is, who is left out")
    ] = "",
    collection: Annotated[str, Form(max_length=200, description="of that pseudonym")] = "",
) -> Person:
    """Whose photograph is sent; in a form, as what stands in an address is logged."""
    said = subject.strip()
    return Person(said, collection) if said else Person(None, "")


Whose = Annotated[Person, Depends(whose_of)]
OnService = Annotated[SearchService, Depends(desk_of)]
Ticked = Annotated[Chosen, Depends(chosen_of)]


def sent_of(token: str, service: OnService) -> Sent:
    """The photograph of a token.

    Raises:
        HTTPException: it is not kept any more.
    """
    service.evict()  # of a person who was forgotten meanwhile
    sent = service.queries.get(token)
    if sent is None:
        raise HTTPException(410, texts()("query.gone"))
    return sent


Asked = Annotated[Sent, Depends(sent_of)]


@router.get("/")
def start(service: OnService) -> HTMLResponse:
    """Where a photograph is dropped."""
    return page("start.html", info=service.info())


@router.post("/queries")
def send(
    service: OnService,
    whose: Whose,
    photograph: Annotated[Upload | None, File()] = None,
    eye: Annotated[str, Form()] = "",
) -> Response:
    """Take a photograph and go to its hits."""
    data = photograph.file.read() if photograph else b""
    if not data:
        raise HTTPException(422, texts()("error.no_file"))
    shown: Eye | None = "left" if eye == "left" else "right" if eye == "right" else None
    return RedirectResponse(f"/queries/{service.receive(data, shown, *whose)}", 303)


@router.post("/cases/{id_}/like")
def more(id_: CaseId, service: OnService) -> Response:
    """Ask about a case of the archive."""
    return RedirectResponse(f"/queries/{service.receive_case(id_)}", 303)


@router.get("/queries/{token}")
def hits(token: str, request: Request, service: OnService, sent: Asked, chosen: Ticked) -> HTMLResponse:
    """The cases most like a photograph; only them where the page is there already."""
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
    """What hits.html says of the cases most like a photograph."""
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
    """A photograph and a case side by side."""
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
    """A case, and its subject's other photographs."""
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
    """The photograph that was sent."""
    return jpeg(sent.picture.jpeg)


@router.get("/queries/{token}/thumbnail")
def query_thumbnail(sent: Asked) -> Response:
    """The same, small."""
    return jpeg(sent.thumbnail)


@router.get("/queries/{token}/map/{id_}/{side}")
def agreement(id_: CaseId, side: str, service: OnService, sent: Asked) -> Response:
    """What makes photograph and case alike, as a map to lay over one of the two."""
    if side not in ("query", "case"):
        raise HTTPException(404, "there is a map of the query and one of the case")
    own, other = service.agreement(sent, id_)
    return Response(own if side == "query" else other, media_type="image/png")


@router.get("/cases/{id_}/picture")
def case_picture(id_: CaseId, service: OnService) -> Response:
    """The photograph of a case."""
    return jpeg(service.picture(id_).jpeg)


@router.get("/cases/{id_}/thumbnail")
def case_thumbnail(id_: CaseId, service: OnService) -> Response:
    """The same, small."""
    data = service.thumbnail(id_)
    if data is None:
        raise HTTPException(404, f"the photograph of case {id_} can't be read any more")
    return jpeg(data)


def jpeg(data: bytes) -> Response:
    """As an answer."""
    return Response(data, media_type="image/jpeg")


def saved(text: str, kind: str, name: str) -> Response:
    """A file that a browser saves and does not open."""
    head = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text, media_type=kind, headers=head)


def refusal(request: Request, status: int, sentence: str) -> HTMLResponse:
    """One sentence, as a page or within one."""
    within = request.headers.get("HX-Request")
    return page("fault.html" if within else "error.html", status, sentence=sentence)


def page(template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A template with its values."""
    values = {"phantoms": False} | values
    return HTMLResponse(_environment().get_template(template).render(**values), status)


def facts(case: Case) -> dict[str, str | None]:
    """What is known of a case, by the key of its text."""
    further = {key: case.extra.get(key) for key in ("age", "sex", "outcome")}
    whose = case.subject if may_match() else None
    known = {"subject": whose, "eye": case.eye, "visit": visit_word(case.visit)}
    return known | {key: str(value) for key, value in further.items() if value not in (None, "")}


@cache
def _environment() -> Environment:
    made = Environment(
        loader=ChoiceLoader(
            [PackageLoader("foveola.server.web"), PrefixLoader({"report": PackageLoader("foveola.report")})]
        ),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    words = (grade_word, finding_word, findings_of, facts, bar, percent, account, csrf, csrf_token, may, may_match)
    made.globals |= {"t": texts()} | {word.__name__: word for word in words}
    made.filters["finding_word"] = finding_word
    return made

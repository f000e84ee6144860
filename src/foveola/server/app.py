"""The service as an ASGI application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser
from starlette.middleware.base import RequestResponseEndpoint

from foveola.errors import FoveolaError
from foveola.overview import Overviews
from foveola.resources import AnyPath
from foveola.retrieval import Retriever
from foveola.server.api import VERSION
from foveola.server.api import cases as cases_api
from foveola.server.api import search as search_api
from foveola.server.api import status as status_api
from foveola.server.audit import operator
from foveola.server.auth.middleware import AuthMiddleware
from foveola.server.auth.policies import Plan
from foveola.server.auth.service import AuthService, Settings
from foveola.server.errors import headers_of, nameless, status_of
from foveola.server.metrics import Measured, Metrics
from foveola.server.services.changes import Changes
from foveola.server.services.matching import MatchingService
from foveola.server.services.reading import ReadingService
from foveola.server.services.search import RegionService, SearchService
from foveola.server.startup import HEADERS, ONLY_TLS, PRIVATE
from foveola.server.study import open_study
from foveola.server.web import login, matching, reading, search
from foveola.server.web import study as study_pages
from foveola.server.web.pages import refusal

UPLOAD_MB = 64
MultiPartParser.spool_max_size = 0  # a photograph that is sent stays in memory, however large
STATIC = Path(__file__).with_name("web") / "static"
# An agent of OpenTelemetry that happens to be on this computer is told no address of a page (it has
# a case's number in it) and no fault's text. Older FastAPIs have no telemetry and ignore this.
SILENT: Any = dict.fromkeys(("tracing", "metrics", "logs", "operation_spans", "auto_configure"), False)
PAGES = (login, search, reading, matching, study_pages)
INTERFACE = (search_api, cases_api, status_api)


def create_app(
    archive: AnyPath,
    *,
    upload_mb: int = UPLOAD_MB,
    import_root: AnyPath | None = None,
    study: AnyPath | None = None,
    settings: Settings | None = None,
    retriever: Retriever | None = None,
) -> FastAPI:
    """Make the page and the interface on one archive.

    Args:
        archive: its folder; opened at once, so that a fault shows before anything listens.
        upload_mb: largest photograph that may be sent, in megabytes.
        import_root: folder on this computer that a job may import from; None forbids it.
        study: folder of a reader study to be answered; None for none.
        settings: how its doors stand; without, it answers to any host name.
        retriever: of the archive, where it was opened already, by an absolute path; the service
            closes it.

    Raises:
        ArchiveError, EncoderError: the archive can't be opened.
        StudyError: the study can't be opened, or was made from the archive of another encoder.
        AccessError: it has accounts, and they can't be read or the audit log not written.
        ValueError: a route has no line in POLICIES.
    """
    archive = Path(archive).absolute()  # no other word of a refusal is it: `nameless`
    sessions = None if study is None else study_pages.Sessions(open_study(Path(study).absolute()))
    auth = AuthService(archive, settings or Settings())
    metrics = Metrics()
    service = SearchService(retriever or Retriever.open(archive), metrics)
    if sessions is not None:
        sessions.study.check(service.retriever.archive)
    changes = Changes(service, None if import_root is None else Path(import_root))
    metrics.watch(cases=lambda: len(service.retriever.archive), jobs=changes.jobs.length)
    if auth.accounts is not None:
        auth.log.append(operator(), "serve")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        changes.start()
        yield
        changes.close()
        service.close()
        auth.close()

    app = FastAPI(
        title="Foveola",
        summary="Similar-case search for retinal photographs",
        version=VERSION,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=lifespan,
        telemetry=SILENT,
    )
    app.state.service, app.state.auth = service, auth
    app.state.changes, app.state.metrics = changes, metrics
    app.state.reading, app.state.matching = ReadingService(service), MatchingService(service)
    app.state.regions, app.state.study = RegionService(service), sessions
    app.state.overviews = Overviews(service.retriever.archive)
    for part in (*PAGES, *INTERFACE):
        app.include_router(part.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_exception_handler(FoveolaError, _explained)
    app.add_exception_handler(HTTPException, _explained)
    app.add_exception_handler(RequestValidationError, _explained)

    app.add_middleware(AuthMiddleware, auth=auth, plan=Plan(app), answer=answer, upload_mb=upload_mb)

    @app.middleware("http")
    async def guarded(request: Request, following: RequestResponseEndpoint) -> Response:
        return with_headers(request, await following(request))

    app.add_middleware(Measured, metrics=metrics)
    return app


async def _explained(request: Request, error: Exception) -> Response:
    """Say one sentence, as JSON to a program and as a page to a person."""
    if isinstance(error, HTTPException):
        return answer(request, error.status_code, str(error.detail))
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query"))
        return answer(request, 422, f"{where}: {first['msg']}" if where else str(first["msg"]))
    return answer(request, status_of(error), str(error))


def answer(request: Request, status: int, sentence: str) -> Response:
    """Refuse a request."""
    sentence = nameless(sentence, request.app.state.service.retriever.archive.folder)
    if request.url.path.startswith("/api/"):
        return JSONResponse({"detail": sentence}, status, headers_of(status))
    return refusal(request, status, sentence)


def with_headers(request: Request, response: Response) -> Response:
    """Put HEADERS on an answer; what is no asset is not to be stored."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.app.state.auth.is_secure(request):
        response.headers.setdefault("Strict-Transport-Security", ONLY_TLS)
    if not request.url.path.startswith("/static/"):
        response.headers.setdefault("Cache-Control", PRIVATE)
    return response

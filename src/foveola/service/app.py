"""The service as an ASGI application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from foveola.errors import ArchiveError, FoveolaError
from foveola.service import api, both_pages, pages
from foveola.service.both import Both
from foveola.service.desk import Desk
from foveola.service.guard import Next, add_headers, too_large
from foveola.service.texts import texts

UPLOAD_MB = 64
STATIC = Path(__file__).with_name("static")


def create_app(archive: Path, *, upload_mb: int = UPLOAD_MB) -> FastAPI:
    """The page and the interface on one archive.

    Args:
        archive: its folder; opened at once, so that a fault shows before anything listens.
        upload_mb: largest photograph that may be sent, in megabytes.

    Raises:
        ArchiveError, EncoderError: the archive can't be opened.
    """
    desk = Desk(archive)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        desk.close()

    app = FastAPI(
        title="Foveola", summary="Similar-case search for retinal photographs",
        version=api.VERSION, docs_url=None, redoc_url=None, openapi_url="/api/openapi.json",
        lifespan=lifespan,
    )  # fmt: skip
    app.state.desk = desk
    app.state.both = Both(desk)
    app.include_router(pages.router)
    app.include_router(both_pages.router)
    app.include_router(api.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_exception_handler(FoveolaError, _explained)
    app.add_exception_handler(HTTPException, _explained)
    app.add_exception_handler(RequestValidationError, _explained)

    @app.middleware("http")
    async def bounded(request: Request, following: Next) -> Response:
        if too_large(request, upload_mb * 1_000_000 + 10_000):
            sentence = texts()("error.too_large", limit=upload_mb)
            return answer(request, 413, sentence)
        return await following(request)

    app.middleware("http")(add_headers)
    return app


async def _explained(request: Request, error: Exception) -> Response:
    """One sentence, as JSON to a program and as a page to a person."""
    if isinstance(error, HTTPException):
        return answer(request, error.status_code, str(error.detail))
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query"))
        return answer(request, 422, f"{where}: {first['msg']}" if where else str(first["msg"]))
    return answer(request, 404 if isinstance(error, ArchiveError) else 422, str(error))


def answer(request: Request, status: int, sentence: str) -> Response:
    """A refusal."""
    if request.url.path.startswith("/api/"):
        return JSONResponse({"detail": sentence}, status)
    return pages.refusal(request, status, sentence)

"""Logging in and out."""

import math
import re
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from foveola.server.auth.accounts import ABSOLUTE
from foveola.server.auth.context import account
from foveola.server.auth.service import AuthService
from foveola.server.texts import texts
from foveola.server.web.pages import page

router = APIRouter(include_in_schema=False)
Next = Annotated[str, Query(alias="next")]


def _service_of(request: Request) -> AuthService:
    """Return what knows the accounts."""
    auth: AuthService = request.app.state.auth
    return auth


@router.get("/login")
def form(request: Request, after: Next = "/") -> Response:
    """Show where name and password are asked for; nothing where there are no accounts."""
    if _service_of(request).accounts is None or account():
        return RedirectResponse(local(after), 303)
    return page("login.html", after=local(after), sentence="")


@router.post("/login")
def log_in(
    request: Request,
    name: Annotated[str, Form(max_length=200)] = "",
    password: Annotated[str, Form(max_length=2000)] = "",
    after: Next = "/",
) -> Response:
    """Begin a session."""
    auth = _service_of(request)
    session, wait = auth.log_in(request, name, password)
    if session is None:
        sentence = texts()("login.wait", seconds=math.ceil(wait)) if wait else texts()("login.wrong")
        refusal = page("login.html", 429 if wait else 401, after=local(after), sentence=sentence)
        if wait:
            refusal.headers["Retry-After"] = str(math.ceil(wait))
        return refusal
    answer = RedirectResponse(local(after), 303)
    answer.set_cookie(
        auth.cookie(request),
        session.secret,
        max_age=int(ABSOLUTE),
        path="/",
        httponly=True,
        samesite="strict",
        secure=auth.is_secure(request),
    )
    return answer


@router.post("/logout")
def log_out(request: Request) -> Response:
    """End the session, and let the browser forget what it was shown."""
    auth = _service_of(request)
    auth.log_out(request, account())
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(
        auth.cookie(request), path="/", httponly=True, samesite="strict", secure=auth.is_secure(request)
    )
    answer.headers["Clear-Site-Data"] = '"cache"'
    return answer


def local(address: str) -> str:
    """Return an address of this service to go to; the start where it is another's."""
    return address if re.fullmatch(r"/(?![/\\])[\x21-\x7e]*", address) and "\\" not in address else "/"

"""Who asks, and what is shown to them: one `RequestContext` for each request, known wherever it leads."""

import hmac
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from markupsafe import Markup

from foveola.answers import StoredCase
from foveola.records import Case
from foveola.server.auth import Role, allowed

FIELD, HEADER = "csrf", "x-csrf-token"
NAMES = frozenset({"image", "path"})  # columns that nobody sees over a network
NAMED, SMALL, LARGE = 0, 1, 2  # a case's number, its record and small picture, its whole picture


@dataclass
class RequestContext:
    """One request.

    Attributes:
        account: name; empty where the archive has no accounts.
        role: of the account; nobody is kept from anything where there are no accounts.
        csrf: what a form of this session has to bring; empty without a session.
        shown: the cases in the answer by their ids, in the order in which they were looked up,
            and how each is shown: NAMED, SMALL or LARGE.
    """

    account: str = ""
    role: Role = "admin"
    csrf: str = ""
    shown: dict[int, int] = field(default_factory=dict)


_context: ContextVar[RequestContext | None] = ContextVar("visit", default=None)


def set_context(context: RequestContext) -> None:
    """Make this the context of the request from here on."""
    _context.set(context)


def record_access(ids: Iterable[int], size: int = SMALL) -> None:
    """Record that the answer shows these cases, and how; the audit log will say so."""
    if (context := _context.get()) is not None:
        for id_ in map(int, ids):
            context.shown[id_] = max(size, context.shown.get(id_, NAMED))


def account() -> str:
    """Return who asks; empty where the archive has no accounts, or nobody logged in."""
    context = _context.get()
    return context.account if context else ""


def may(role: Role) -> bool:
    """Return whether whoever asks may do what needs a role; for what a page offers."""
    context = _context.get()
    return context is None or allowed(context.role, role)


def may_match() -> bool:
    """Return whether whoever asks may tell people apart: others learn nobody's pseudonym."""
    return may("matcher")


def hidden_columns() -> frozenset[str]:
    """Return columns that no condition of theirs may name; it would be answered letter by letter."""
    return NAMES if may_match() else NAMES | {"subject"}


def discreet(found: Any) -> Any:
    """Return what was found, without what confirms a photograph or a person to who may not match."""
    if may_match():
        return found
    held = () if isinstance(found.in_archive, tuple) else None
    return replace(found, in_archive=held, excluded_same_subject=None, considered=None)


def show_case(id_: int, case: Case) -> StoredCase:
    """Return a case as whoever asks may see it, and record that they do.

    Nobody sees names of files over a network; pseudonyms see those who may match people.
    """
    record_access((id_,))
    shown = StoredCase.from_object(case, id=id_)
    return shown if may_match() else replace(shown, subject=None)


def csrf_token() -> str:
    """Return what a request of this session that changes something has to bring."""
    context = _context.get()
    return context.csrf if context else ""


def csrf() -> Markup:
    """Return the hidden field of a form; nothing where there is no session."""
    token = csrf_token()
    return Markup('<input type="hidden" name="{}" value="{}">').format(FIELD, token) if token else Markup()


def csrf_of(secret: str) -> str:
    """Compute the token that belongs to a session; who lacks its cookie can't make it."""
    return hmac.new(secret.encode(), b"csrf", sha256).hexdigest()

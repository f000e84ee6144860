"""Which role a request needs, and what the audit log calls it: one line for every route.

A route that is not in the table keeps the service from starting, so that none is open because
somebody forgot it. The tests have a table of their own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import fastapi.routing
from fastapi import FastAPI

from foveola.server.auth import Role


@dataclass(frozen=True)
class RoutePolicy:
    """What a route needs.

    Attributes:
        role: the least; None opens it to everybody, known or not.
        action: how the audit log calls it; empty where the answer shows no case.
        part: belongs to a page whose line in the log covers it, for an hour.
        heavy: encodes a photograph or compares two, so only a few run at a time.
    """

    role: Role | None = "viewer"
    action: str = ""
    part: bool = False
    heavy: bool = False


EVERYBODY = RoutePolicy(None)

POLICIES: dict[tuple[str, str], RoutePolicy] = {
    ("*", "/static"): EVERYBODY,
    ("GET", "/login"): EVERYBODY,
    ("POST", "/login"): EVERYBODY,
    ("POST", "/logout"): RoutePolicy(),
    # pages
    ("GET", "/"): RoutePolicy(),
    ("POST", "/queries"): RoutePolicy(heavy=True),
    ("GET", "/queries/{token}"): RoutePolicy(action="search"),
    ("GET", "/queries/{token}/picture"): RoutePolicy(),
    ("GET", "/queries/{token}/thumbnail"): RoutePolicy(),
    ("GET", "/queries/{token}/compare/{id_}"): RoutePolicy(action="compare"),
    ("GET", "/queries/{token}/occlusion/{id_}/{side}"): RoutePolicy(action="map", part=True, heavy=True),
    ("GET", "/queries/{token}/region"): RoutePolicy(),
    ("GET", "/queries/{token}/region/hits"): RoutePolicy(action="search", heavy=True),
    ("GET", "/queries/{token}/map/{id_}/{side}"): RoutePolicy(action="map", part=True, heavy=True),
    ("GET", "/queries/{token}/report"): RoutePolicy(action="export", heavy=True),
    ("GET", "/queries/{token}/hits.csv"): RoutePolicy(action="export"),
    ("GET", "/people/{token}/report"): RoutePolicy(action="export", heavy=True),
    ("GET", "/people/{token}/reading/report"): RoutePolicy(action="export", heavy=True),
    ("GET", "/queries/{token}/reading/report"): RoutePolicy(action="export", heavy=True),
    ("POST", "/people"): RoutePolicy(heavy=True),
    ("GET", "/eyes/{token}"): RoutePolicy(),
    ("POST", "/eyes/{token}"): RoutePolicy(heavy=True),
    ("GET", "/people/{token}"): RoutePolicy(action="search", heavy=True),
    ("POST", "/people/{token}/swap"): RoutePolicy(heavy=True),
    ("GET", "/people/{token}/evidence/{label}/{eye}"): RoutePolicy(),
    ("GET", "/queries/{token}/reading"): RoutePolicy(heavy=True),
    ("GET", "/queries/{token}/reading/evidence/{label}/{eye}"): RoutePolicy(),
    ("GET", "/overview"): RoutePolicy(),
    ("GET", "/overview/points"): RoutePolicy(action="overview", part=True),
    ("GET", "/card"): RoutePolicy(),
    ("GET", "/match"): RoutePolicy("matcher"),
    ("POST", "/match"): RoutePolicy("matcher", heavy=True),
    ("GET", "/match/{token}"): RoutePolicy("matcher", "match"),
    ("GET", "/match/{token}/thumbnail"): RoutePolicy("matcher"),
    ("GET", "/match/{token}/board/{rank}"): RoutePolicy("matcher", "map", part=True, heavy=True),
    ("GET", "/audit"): RoutePolicy("matcher", "audit"),
    ("POST", "/audit/run"): RoutePolicy("matcher", "audit"),
    ("POST", "/audit/{key}"): RoutePolicy("matcher", "decision"),
    ("GET", "/audit/{key}/board"): RoutePolicy("matcher", "map", part=True, heavy=True),
    ("GET", "/study"): RoutePolicy(),
    ("POST", "/study"): RoutePolicy(),
    ("GET", "/study/answers.csv"): RoutePolicy("curator", "export"),
    ("GET", "/study/readers/{reader}"): RoutePolicy(action="study"),
    ("POST", "/study/readers/{reader}/{place}"): RoutePolicy(),
    ("GET", "/study/readers/{reader}/{place}/{side}"): RoutePolicy(action="picture", part=True),
    ("GET", "/cases/{id_}"): RoutePolicy(action="case"),
    ("POST", "/cases/{id_}/like"): RoutePolicy(action="ask about", heavy=True),
    ("GET", "/cases/{id_}/picture"): RoutePolicy(action="picture", part=True),
    ("GET", "/cases/{id_}/thumbnail"): RoutePolicy(action="thumbnail", part=True),
    # for programs
    ("GET", "/api/openapi.json"): RoutePolicy(),
    ("POST", "/api/v1/search"): RoutePolicy(action="search", heavy=True),
    ("POST", "/api/v1/search/region"): RoutePolicy(action="search", heavy=True),
    ("GET", "/api/v1/cases/{id}"): RoutePolicy(action="case"),
    ("GET", "/api/v1/cases/{id}/picture"): RoutePolicy(action="picture", part=True),
    ("GET", "/api/v1/cases/{id}/thumbnail"): RoutePolicy(action="thumbnail", part=True),
    ("GET", "/api/v1/archive"): RoutePolicy(),
    ("GET", "/api/v1/cases"): RoutePolicy(action="list"),
    ("POST", "/api/v1/cases"): RoutePolicy("curator", "add", heavy=True),
    ("DELETE", "/api/v1/cases/{id}"): RoutePolicy("curator", "remove"),
    ("POST", "/api/v1/read"): RoutePolicy(action="read", heavy=True),
    ("POST", "/api/v1/match"): RoutePolicy("matcher", "match", heavy=True),
    ("GET", "/api/v1/jobs"): RoutePolicy("curator"),
    ("POST", "/api/v1/jobs"): RoutePolicy("curator", "job"),
    ("GET", "/api/v1/jobs/{id}"): RoutePolicy("curator"),
    ("DELETE", "/api/v1/jobs/{id}"): RoutePolicy("curator"),
    ("GET", "/api/v1/metrics"): RoutePolicy("admin"),
    ("GET", "/api/v1/health"): EVERYBODY,
    ("GET", "/api/v1/ready"): EVERYBODY,
}


class Plan:
    """The routes of an app, each with its policy.

    Raises:
        ValueError: a route has no line in POLICIES.
    """

    def __init__(self, app: FastAPI) -> None:
        self._routes = [(route, *_key(route)) for route in _routes(app)]
        missing = [
            (method, path) for _, methods, path in self._routes for method in methods if (method, path) not in POLICIES
        ]
        if missing:
            lines = ", ".join(f"{method} {path}" for method, path in missing)
            raise ValueError(f"no line in POLICIES of auth/policies.py says who may use: {lines}")

    def find(self, method: str, path: str) -> RoutePolicy | None:
        """Return what a request needs; None where no route fits it."""
        method = "GET" if method == "HEAD" else method
        for route, methods, template in self._routes:
            found = route.path_regex.match(path)
            if found and (method in methods or "*" in methods):
                return POLICIES[("*" if "*" in methods else method, template)]
        return None


def keys(app: FastAPI) -> list[tuple[str, str]]:
    """Return method and path of every route, as POLICIES names them."""
    return [(method, path) for m, path in map(_key, _routes(app)) for method in m]


def _routes(app: FastAPI) -> Iterator[Any]:
    """In the order in which the app tries them; newer versions of FastAPI keep them nested."""
    flat = getattr(fastapi.routing, "iter_route_contexts", iter)
    yield from flat(app.routes)


def _key(route: Any) -> tuple[tuple[str, ...], str]:
    methods = tuple(sorted((route.methods or set()) - {"HEAD"})) if hasattr(route, "methods") else ()
    return methods or ("*",), route.path

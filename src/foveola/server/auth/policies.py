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
class Door:
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


EVERYBODY = Door(None)

DOORS: dict[tuple[str, str], Door] = {
    ("*", "/static"): EVERYBODY,
    ("GET", "/login"): EVERYBODY,
    ("POST", "/login"): EVERYBODY,
    ("POST", "/logout"): Door(),
    # pages
    ("GET", "/"): Door(),
    ("POST", "/queries"): Door(heavy=True),
    ("GET", "/queries/{token}"): Door(action="search"),
    ("GET", "/queries/{token}/picture"): Door(),
    ("GET", "/queries/{token}/thumbnail"): Door(),
    ("GET", "/queries/{token}/compare/{id_}"): Door(action="compare"),
    ("GET", "/queries/{token}/occlusion/{id_}/{side}"): Door(action="map", part=True, heavy=True),
    ("GET", "/queries/{token}/region"): Door(),
    ("GET", "/queries/{token}/region/hits"): Door(action="search", heavy=True),
    ("GET", "/queries/{token}/map/{id_}/{side}"): Door(action="map", part=True, heavy=True),
    ("GET", "/queries/{token}/report"): Door(action="export", heavy=True),
    ("GET", "/queries/{token}/hits.csv"): Door(action="export"),
    ("GET", "/people/{token}/report"): Door(action="export", heavy=True),
    ("GET", "/people/{token}/reading/report"): Door(action="export", heavy=True),
    ("GET", "/queries/{token}/reading/report"): Door(action="export", heavy=True),
    ("POST", "/people"): Door(heavy=True),
    ("GET", "/eyes/{token}"): Door(),
    ("POST", "/eyes/{token}"): Door(heavy=True),
    ("GET", "/people/{token}"): Door(action="search", heavy=True),
    ("POST", "/people/{token}/swap"): Door(heavy=True),
    ("GET", "/people/{token}/evidence/{label}/{eye}"): Door(),
    ("GET", "/queries/{token}/reading"): Door(heavy=True),
    ("GET", "/queries/{token}/reading/evidence/{label}/{eye}"): Door(),
    ("GET", "/overview"): Door(),
    ("GET", "/overview/points"): Door(action="overview", part=True),
    ("GET", "/card"): Door(),
    ("GET", "/match"): Door("matcher"),
    ("POST", "/match"): Door("matcher", heavy=True),
    ("GET", "/match/{token}"): Door("matcher", "match"),
    ("GET", "/match/{token}/thumbnail"): Door("matcher"),
    ("GET", "/match/{token}/board/{rank}"): Door("matcher", "map", part=True, heavy=True),
    ("GET", "/audit"): Door("matcher", "audit"),
    ("POST", "/audit/run"): Door("matcher", "audit"),
    ("POST", "/audit/{key}"): Door("matcher", "decision"),
    ("GET", "/audit/{key}/board"): Door("matcher", "map", part=True, heavy=True),
    ("GET", "/study"): Door(),
    ("POST", "/study"): Door(),
    ("GET", "/study/answers.csv"): Door("curator", "export"),
    ("GET", "/study/readers/{reader}"): Door(action="study"),
    ("POST", "/study/readers/{reader}/{place}"): Door(),
    ("GET", "/study/readers/{reader}/{place}/{side}"): Door(action="picture", part=True),
    ("GET", "/cases/{id_}"): Door(action="case"),
    ("POST", "/cases/{id_}/like"): Door(action="ask about", heavy=True),
    ("GET", "/cases/{id_}/picture"): Door(action="picture", part=True),
    ("GET", "/cases/{id_}/thumbnail"): Door(action="thumbnail", part=True),
    # for programs
    ("GET", "/api/openapi.json"): Door(),
    ("POST", "/api/v1/search"): Door(action="search", heavy=True),
    ("POST", "/api/v1/search/region"): Door(action="search", heavy=True),
    ("GET", "/api/v1/cases/{id}"): Door(action="case"),
    ("GET", "/api/v1/cases/{id}/picture"): Door(action="picture", part=True),
    ("GET", "/api/v1/cases/{id}/thumbnail"): Door(action="thumbnail", part=True),
    ("GET", "/api/v1/archive"): Door(),
    ("GET", "/api/v1/cases"): Door(action="list"),
    ("POST", "/api/v1/cases"): Door("curator", "add", heavy=True),
    ("DELETE", "/api/v1/cases/{id}"): Door("curator", "remove"),
    ("POST", "/api/v1/read"): Door(action="read", heavy=True),
    ("POST", "/api/v1/match"): Door("matcher", "match", heavy=True),
    ("GET", "/api/v1/jobs"): Door("curator"),
    ("POST", "/api/v1/jobs"): Door("curator", "job"),
    ("GET", "/api/v1/jobs/{id}"): Door("curator"),
    ("DELETE", "/api/v1/jobs/{id}"): Door("curator"),
    ("GET", "/api/v1/metrics"): Door("admin"),
    ("GET", "/api/v1/health"): EVERYBODY,
    ("GET", "/api/v1/ready"): EVERYBODY,
}


class Plan:
    """The routes of an app, each with its door.

    Raises:
        ValueError: a route has no line in DOORS.
    """

    def __init__(self, app: FastAPI) -> None:
        self._routes = [(route, *_key(route)) for route in _routes(app)]
        missing = [
            (method, path) for _, methods, path in self._routes for method in methods if (method, path) not in DOORS
        ]
        if missing:
            lines = ", ".join(f"{method} {path}" for method, path in missing)
            raise ValueError(f"no line in DOORS of auth/policies.py says who may use: {lines}")

    def find(self, method: str, path: str) -> Door | None:
        """What a request needs; None where no route fits it."""
        method = "GET" if method == "HEAD" else method
        for route, methods, template in self._routes:
            found = route.path_regex.match(path)
            if found and (method in methods or "*" in methods):
                return DOORS[("*" if "*" in methods else method, template)]
        return None


def keys(app: FastAPI) -> list[tuple[str, str]]:
    """Method and path of every route, as DOORS names them."""
    return [(method, path) for m, path in map(_key, _routes(app)) for method in m]


def _routes(app: FastAPI) -> Iterator[Any]:
    """In the order in which the app tries them; newer versions of FastAPI keep them nested."""
    flat = getattr(fastapi.routing, "iter_route_contexts", iter)
    yield from flat(app.routes)


def _key(route: Any) -> tuple[tuple[str, ...], str]:
    methods = tuple(sorted((route.methods or set()) - {"HEAD"})) if hasattr(route, "methods") else ()
    return methods or ("*",), route.path

"""Numbers about the service for Prometheus; none of them is about a patient."""

import time
from collections.abc import Callable
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
METHODS = {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}


class Metrics:
    """What is counted of one service.

    Attributes:
        registry: of all numbers.
        encoding: times to decode and encode a photograph; `with metrics.encoding.time()`.
        searching: times of a search.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route")
        self._requests = Counter(
            "foveola_requests", "Answers by route and status.", (*labels, "status"), registry=self.registry
        )
        self._latency = Histogram(
            "foveola_request_seconds",
            "Until the last byte of an answer, by route.",
            labels,
            buckets=SECONDS,
            registry=self.registry,
        )
        self._faults = Counter(
            "foveola_errors", "Requests that ended in a fault of the program.", labels, registry=self.registry
        )
        self.encoding = Histogram(
            "foveola_encode_seconds",
            "To decode and encode a photograph that was sent.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.searching = Histogram(
            "foveola_search_seconds",
            "To find and judge the cases most like a photograph.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self._cases = Gauge("foveola_cases", "Cases in the archive.", registry=self.registry)
        self._jobs = Gauge("foveola_jobs", "Jobs waiting or at work.", registry=self.registry)

    def watch(self, *, cases: Callable[[], int], jobs: Callable[[], int]) -> None:
        """Say where numbers come from that are asked for when Prometheus asks."""
        self._cases.set_function(cases)
        self._jobs.set_function(jobs)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer; a status of 0 is a fault that has none."""
        self._requests.labels(method, route, str(status or 500)).inc()
        self._latency.labels(method, route).observe(seconds)
        if status == 0 or status == 500:
            self._faults.labels(method, route).inc()

    def text(self) -> bytes:
        """Return all numbers as Prometheus reads them."""
        return generate_latest(self.registry)


class Measured:
    """An ASGI application whose answers are counted.

    Args:
        app: the application.
        metrics: where they are counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            method = scope["method"] if scope["method"] in METHODS else "other"
            seconds = time.perf_counter() - start
            self.metrics.answered(method, template(scope), status, seconds)


def template(scope: Scope | dict[str, Any]) -> str:
    """Return the template of a request's address: /cases/{id}, never /cases/7; "none" where there is no such route."""
    route = scope.get("route")
    path = getattr(route, "path", None)
    if isinstance(path, str) and path:
        return path
    return "/static" if str(scope.get("path", "")).startswith("/static/") else "none"

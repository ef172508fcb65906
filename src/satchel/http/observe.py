"""Around each application: every request is counted, and leaves a span unless it is a poll that found nothing."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from satchel.telemetry import metrics
from satchel.telemetry.request import SeenRequest
from satchel.telemetry.start import running

SLOW_NS = 1_000_000_000
_SYNC = "/v1/orgs/{organization}/sync"
_NOTHING_NEW = 204
_QUIET = frozenset({"/health/live", "/health/ready", "/metrics"})


class Tally:
    """Counts of one process, plain numbers on the way of each request, read when somebody looks."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.requests: Counter[tuple[str, str, int]] = Counter()
        self.polls = 0
        self.open = 0
        metrics.Read(
            "satchel_requests_total",
            lambda: [((e, route, str(status)), n) for (e, route, status), n in list(self.requests.items())],
        )
        metrics.Read("satchel_polls_total", lambda: [((), self.polls)])
        metrics.Read("satchel_open_requests", lambda: [((), self.open)])


class Observed:
    """An ASGI application around another. Cost: two or three microseconds a poll (benchmarks measure it)."""

    def __init__(self, app: Any, tally: Tally) -> None:
        """Around one of the two applications."""
        self._app = app
        self._tally = tally
        paths = {route.path for route in getattr(app, "routes", ())}
        told = {"/v1/organizations": "management", "/console.css": "console"}
        self._endpoint = next((name for path, name in told.items() if path in paths), "sync")
        telemetry = running()
        self._hand_on = telemetry.tail.hand_on
        self._resource = telemetry.resource

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        traceparent = None
        for name, value in scope["headers"]:
            if name == b"traceparent":
                traceparent = value
                break
        seen = SeenRequest(traceparent)
        if not scope["path"].endswith("/sync"):  # there it is entered once there is something to do
            seen.enter()

        async def observed_send(message: Any) -> None:
            if message["type"] == "http.response.start":
                seen.status = message["status"]
            else:
                seen.bytes_sent += len(message.get("body", b""))
            await send(message)

        self._tally.open += 1
        try:
            await self._app(scope, receive, observed_send)
        finally:
            self._tally.open -= 1
            self._end(seen, scope)

    def _end(self, seen: SeenRequest, scope: Any) -> None:
        end_ns = time.time_ns()
        route = scope.get("path_template") or (_SYNC if scope["path"].endswith("/sync") else "other")
        self._tally.requests[self._endpoint, route, seen.status] += 1
        if seen.status == _NOTHING_NEW and (end_ns - seen.began_ns < SLOW_NS or b"wait=" in scope["query_string"]):
            self._tally.polls += 1
            return
        seconds = (end_ns - seen.began_ns) / 1e9
        metrics.observe("satchel_request_seconds", seconds, endpoint=self._endpoint, route=route)
        if scope["path"] in _QUIET:
            return
        if route == _SYNC:
            metrics.count("satchel_sync_bytes_total", seen.bytes_sent)
            metrics.count("satchel_sync_rows_total", seen.rows)
        attributes = {"route": route, "endpoint": self._endpoint}
        if scope.get("client"):
            attributes["client.address"] = scope["client"][0]  # behind a load balancer too, where it tells (PROXY)
        self._hand_on(seen.span(f"{scope['method']} {route}", self._resource, end_ns, attributes))

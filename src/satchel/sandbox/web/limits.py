"""Service protection: requests and execution time in a sliding window, and requests at once.

Source: powerapps-docs, developer/data-platform/api-limits.md.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from satchel.sandbox.faults import TOO_MANY_REQUESTS
from satchel.sandbox.odata.answers import ODataError

TOO_LONG = "0x80072321"
TOO_MANY_AT_ONCE = "0x80072326"


class Bounds(msgspec.Struct, frozen=True):
    """How much is allowed; the documented amounts unless others are given."""

    requests: int = 6000
    window_seconds: float = 300.0
    at_once: int = 52
    execution_seconds: float = 1200.0


class Limits:
    """Counts what the one application sends."""

    def __init__(
        self, *, is_on: bool, bounds: Bounds | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`monotonic` is the clock, in seconds."""
        self._is_on, self._bounds, self._monotonic = is_on, bounds or Bounds(), monotonic
        self._done: deque[tuple[float, float]] = deque()
        """When requests began and how many seconds they took, oldest first."""
        self._running = 0

    @contextmanager
    def counted(self) -> Iterator[dict[str, str]]:
        """Count a request while it runs; gives the headers that tell what is left. Errors: ODataError 429."""
        if not self._is_on:
            yield {}
            return
        began = self._monotonic()
        while self._done and self._done[0][0] < began - self._bounds.window_seconds:
            self._done.popleft()
        self._check(began)
        self._running += 1
        try:
            yield self._left()
        finally:
            self._running -= 1
            self._done.append((began, self._monotonic() - began))

    def _check(self, now: float) -> None:
        bounds, window = self._bounds, f"over time window of {self._bounds.window_seconds:.0f} seconds."
        if self._running >= bounds.at_once:
            text = f"Number of concurrent requests exceeded the limit of {bounds.at_once}."
            raise ODataError(429, TOO_MANY_AT_ONCE, text, Retry_After="1")
        wait = str(max(1, round(self._done[0][0] + bounds.window_seconds - now))) if self._done else "1"
        if len(self._done) + self._running >= bounds.requests:
            text = f"Number of requests exceeded the limit of {bounds.requests} {window}"
            raise ODataError(429, TOO_MANY_REQUESTS, text, Retry_After=wait)
        if self._spent() >= bounds.execution_seconds:
            limit = f"{bounds.execution_seconds * 1000:,.0f} milliseconds"
            text = f"Combined execution time of incoming requests exceeded limit of {limit} {window}"
            text += " Decrease number of concurrent requests or reduce the duration of requests and try again later."
            raise ODataError(429, TOO_LONG, text, Retry_After=wait)

    def _left(self) -> dict[str, str]:
        requests = self._bounds.requests - len(self._done) - self._running
        return {
            "x-ms-ratelimit-burst-remaining-xrm-requests": str(requests),
            "x-ms-ratelimit-time-remaining-xrm-requests": f"{self._bounds.execution_seconds - self._spent():,.2f}",
        }

    def _spent(self) -> float:
        return sum(seconds for _, seconds in self._done)

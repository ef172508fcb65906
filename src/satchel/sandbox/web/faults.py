"""Faults on demand: slowness, broken connections, errors, throttling, expired delta links, pages that shift."""

from __future__ import annotations

import random
import time
from collections import deque
from typing import Annotated

import msgspec
from msgspec import Meta

from satchel.sandbox.web.answers import ODataError

Probability = Annotated[float, Meta(ge=0, le=1)]
TOO_MANY_REQUESTS = "0x80072322"
TOO_MANY_AT_ONCE = "0x80072326"


class Switches(msgspec.Struct, forbid_unknown_fields=True):
    """What goes wrong; all off at first."""

    latency_seconds: Annotated[float, Meta(ge=0, le=60)] = 0.0
    drop_probability: Probability = 0.0
    error_probability: Probability = 0.0
    throttle_probability: Probability = 0.0
    retry_after_seconds: Annotated[int, Meta(ge=0, le=600)] = 1
    expire_delta_links: bool = False
    """Set: all links made until now are expired; later ones are good."""
    shifting_pages: bool = False
    down: bool = False
    page_limit: Annotated[int, Meta(ge=0, le=5000)] = 0
    """Rows a page at the most; 0: as documented."""


class Faults:
    """The switches, and the dice."""

    def __init__(self, seed: int = 0) -> None:
        """All off."""
        self.switches = Switches()
        self.delta_links_expired_before = 0.0
        self._random = random.Random(seed)

    def change(self, changes: bytes) -> Switches:
        """Change some of the switches. Errors: ODataError 400."""
        try:
            merged = msgspec.to_builtins(self.switches) | msgspec.json.decode(changes, type=dict)
            self.switches = msgspec.convert(merged, Switches)
        except msgspec.DecodeError as error:
            raise ODataError(400, "0x0", f"The switches are not usable: {error}") from error
        if self.switches.expire_delta_links:
            self.delta_links_expired_before = time.time()
            self.switches.expire_delta_links = False
        return self.switches

    def roll(self) -> None:
        """Fail, if it is this request's turn. Errors: ODataError."""
        switches = self.switches
        if switches.down:
            raise ODataError(503, "0x80040216", "The service is down.")
        if self._random.random() < switches.throttle_probability:
            raise ODataError(
                429, TOO_MANY_REQUESTS, "Number of requests exceeded the limit of 6000 over the time window of 300 s.",
                Retry_After=str(switches.retry_after_seconds),
            )  # fmt: skip
        if self._random.random() < switches.error_probability:
            raise ODataError(self._random.choice([500, 502, 503]), "0x80040216", "An unexpected error occurred.")

    @property
    def drops(self) -> bool:
        """This answer is broken off."""
        return self._random.random() < self.switches.drop_probability


class Limits:
    """Service protection: requests in a sliding window, and at once. Source: developer/data-platform/api-limits.md."""

    def __init__(self, *, is_on: bool, requests: int = 6000, window_seconds: float = 300.0, at_once: int = 52) -> None:
        """The documented limits unless others are given."""
        self._is_on = is_on
        self._requests, self._window_seconds, self._at_once = requests, window_seconds, at_once
        self._times: deque[float] = deque()
        self._running = 0

    def enter(self) -> dict[str, str]:
        """Count a request; returns the headers that tell what is left. Errors: ODataError 429."""
        if not self._is_on:
            return {}
        now = time.monotonic()
        while self._times and self._times[0] < now - self._window_seconds:
            self._times.popleft()
        if self._running >= self._at_once:
            message = f"Number of concurrent requests exceeded the limit of {self._at_once}."
            raise ODataError(429, TOO_MANY_AT_ONCE, message, Retry_After="1")
        if len(self._times) >= self._requests:
            wait = max(1, round(self._times[0] + self._window_seconds - now))
            window = f"{self._window_seconds:.0f} seconds"
            message = f"Number of requests exceeded the limit of {self._requests} over the time window of {window}."
            raise ODataError(429, TOO_MANY_REQUESTS, message, Retry_After=str(wait))
        self._times.append(now)
        self._running += 1
        return {"x-ms-ratelimit-burst-remaining-xrm-requests": str(self._requests - len(self._times))}

    def leave(self) -> None:
        """The request is done."""
        if self._is_on:
            self._running -= 1

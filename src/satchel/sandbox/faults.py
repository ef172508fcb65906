"""Faults on demand: slowness, broken connections, errors, throttling, expired delta links, pages that shift."""

from __future__ import annotations

import random
import time
from typing import Annotated

import msgspec
from msgspec import Meta

from satchel.sandbox.odata.answers import ODataError

TOO_MANY_REQUESTS = "0x80072322"
_THROTTLED = "Number of requests exceeded the limit of 6000 over time window of 300 seconds."
Probability = Annotated[float, Meta(ge=0, le=1)]


class Switches(msgspec.Struct, forbid_unknown_fields=True):
    """What goes wrong; all off at first."""

    latency_seconds: Annotated[float, Meta(ge=0, le=60)] = 0.0
    latency_probability: Probability = 1.0
    drop_probability: Probability = 0.0
    drop_after_probability: Probability = 0.0
    """A write is executed, and its answer never comes."""
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
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
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
            raise ODataError(429, TOO_MANY_REQUESTS, _THROTTLED, Retry_After=str(switches.retry_after_seconds))
        if self._random.random() < switches.error_probability:
            raise ODataError(self._random.choice([500, 502, 503]), "0x80040216", "An unexpected error occurred.")

    @property
    def latency_seconds(self) -> float:
        """How long this request is held back."""
        switches = self.switches
        is_slow = switches.latency_seconds and self._random.random() < switches.latency_probability
        return switches.latency_seconds if is_slow else 0.0

    @property
    def drops_after(self) -> bool:
        """Nobody hears of this write."""
        return self._random.random() < self.switches.drop_after_probability

    @property
    def drops(self) -> bool:
        """This answer is broken off."""
        return self._random.random() < self.switches.drop_probability

"""How many requests one source gets at once: more while it answers, half as many when it pushes back.

Source: Dataverse service protection limits, developer/data-platform/api-limits.md ("let the server tell you how much
it can handle"); additive increase, multiplicative decrease as in RFC 5681.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

RISE_AFTER_SUCCESSES = 10
BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 10.0


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Pace:
    """Time and chance, as arguments."""

    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = _now
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = random.random

    def backoff_seconds(self, attempt: int) -> float:
        """How long to wait before try `attempt` + 1 (the first is 0), with jitter so that clients do not march."""
        ceiling = min(MAX_BACKOFF_SECONDS, BACKOFF_SECONDS * 2.0**attempt)
        return ceiling * (0.5 + 0.5 * self.chance())


class Limiter:
    """Room for requests to one source, shared by all who read it."""

    def __init__(self, pace: Pace, *, start: int = 4, maximum: int = 32) -> None:
        """Begin with room for `start` requests; never give more than `maximum`."""
        self._pace = pace
        self._maximum = maximum
        self._limit = min(start, maximum)
        self._active = 0
        self._successes = 0
        self._generation = 0
        self._paused_until = 0.0
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def limit(self) -> int:
        """How many requests may be under way now."""
        return self._limit

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[int]:
        """Wait for room and for the end of a pause; yields the generation to report the outcome with."""
        await self._wait_for_room()
        self._active += 1
        try:
            await self._wait_for_pause()
            yield self._generation
        finally:
            self._active -= 1
            self._wake()

    def succeeded(self) -> None:
        """One request was answered: after a run of them there is room for one more."""
        self._successes += 1
        if self._successes >= RISE_AFTER_SUCCESSES and self._limit < self._maximum:
            self._limit += 1
            self._successes = 0
            self._wake()

    def pushed_back(self, generation: int, wait_seconds: float) -> None:
        """The source asks for less: halve the room, once for all requests that were under way, and pause."""
        self._successes = 0
        self._paused_until = max(self._paused_until, self._pace.monotonic() + wait_seconds)
        if generation == self._generation:
            self._generation += 1
            self._limit = max(1, self._limit // 2)

    async def _wait_for_room(self) -> None:
        while self._active >= self._limit:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter

    def _wake(self) -> None:
        """Let all who wait look again; so that no wake-up is lost when one of them is cancelled."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def _wait_for_pause(self) -> None:
        while (remaining := self._paused_until - self._pace.monotonic()) > 0:
            await self._pace.sleep(remaining)

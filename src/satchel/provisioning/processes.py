"""The register of processes: who is up, and who ended without a word."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import structlog

from satchel.database.pool import Database
from satchel.database.queries import load_queries
from satchel.errors import SatchelError

_SQL = load_queries(__file__)
BEAT_SECONDS = 5.0
DEAD_SECONDS = 20.0
log = structlog.get_logger()


class ProcessFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a process knows of itself."""

    disk_free_bytes: int = 0
    """Where its data folder is."""
    disk_total_bytes: int = 0
    telemetry_dropped: int = 0
    certificate_expires_at: datetime | None = None
    """Of the certificate it serves."""


class Process(msgspec.Struct, frozen=True):
    """A process as the register has it."""

    instance: str
    service: str
    host: str
    started_at: datetime
    silent_seconds: float
    skew_seconds: float
    """Its clock against the database's."""
    facts: ProcessFacts

    @property
    def is_dead(self) -> bool:
        """It has not been heard of for too long, and did not say that it stops."""
        return self.silent_seconds > DEAD_SECONDS


class Processes:
    """The register."""

    def __init__(self, control: Database) -> None:
        """Keep the control database."""
        self._control = control

    async def beat(self, instance: str, service: str, facts: ProcessFacts) -> None:
        """Say that a process is up."""
        told = {
            "instance": instance,
            "service": service,
            "host": socket.gethostname(),
            "now": datetime.now(UTC),
            "facts": msgspec.json.encode(facts).decode(),
        }
        await self._control.fetch(_SQL["beat"], told)
        await self._control.fetch(_SQL["forget"], {"instance": instance, "dead_seconds": DEAD_SECONDS})

    async def leave(self, instance: str) -> None:
        """Say that a process stops."""
        await self._control.fetch(_SQL["leave"], {"instance": instance})

    async def all(self) -> list[Process]:
        """All processes, those that ended without a word among them."""
        rows = await self._control.fetch(_SQL["all"])
        return [Process(row[0], row[1], row[2], row[3], float(row[4]), float(row[5]), _facts(row[6])) for row in rows]


def _facts(text: str) -> ProcessFacts:
    return msgspec.json.decode(text, type=ProcessFacts)


async def keep_beating(processes: Processes, instance: str, service: str, facts: Callable[[], ProcessFacts]) -> None:
    """Say every few seconds that this process is up, until cancelled; then that it stops."""
    try:
        while True:
            try:
                await processes.beat(instance, service, facts())
            except SatchelError as error:
                log.warning("sign of life not written", reason=error.message)
            await asyncio.sleep(BEAT_SECONDS)
    finally:
        try:
            async with asyncio.timeout(3):
                await processes.leave(instance)
        except (SatchelError, TimeoutError):
            log.info("end not written")

"""Where each organization stands, in memory: most polls are answered from here, without SQL.

Kept fresh by notifications on the control database, and re-read every few seconds in case one was lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import psycopg
import structlog

from satchel.staging.head import Head

CHANNEL = "satchel_head"
_RECONNECT_SECONDS = 1.0
log = structlog.get_logger()


class HeadNotice(msgspec.Struct):
    """The payload of a notification."""

    organization: str
    head: Head


class Heads:
    """The newest known head of each organization, and who waits for another."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._heads: dict[str, Head] = {}
        self._changed: dict[str, asyncio.Event] = {}

    def get(self, organization: str) -> Head | None:
        """The head, if it was ever read."""
        return self._heads.get(organization)

    def organizations(self) -> list[str]:
        """The organizations whose heads are known."""
        return list(self._heads)

    def update(self, organization: str, head: Head) -> None:
        """Take a newer head and wake those who wait; an older one (a late notification) is dropped."""
        known = self._heads.get(organization)
        if known == head:
            return
        if (
            known
            and known.epoch == head.epoch
            and (head.op, head.binding, head.verdict)
            < (
                known.op,
                known.binding,
                known.verdict,
            )
        ):
            return
        self._heads[organization] = head
        self._wake(organization)

    def forget(self, organization: str) -> None:
        """The organization went; those who wait find out."""
        self._heads.pop(organization, None)
        self._wake(organization)

    async def wait_for_change(self, organization: str, seconds: float) -> bool:
        """Wait until the head changes; False where the time ran out."""
        event = self._changed.setdefault(organization, asyncio.Event())
        try:
            await asyncio.wait_for(event.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _wake(self, organization: str) -> None:
        event = self._changed.pop(organization, None)
        if event is not None:
            event.set()


async def listen_for_heads(control_url: str, heads: Heads) -> None:
    """Take notifications until cancelled; reconnects where the database went away."""
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(control_url, autocommit=True) as connection:
                await connection.execute(f"listen {CHANNEL}")
                async for notice in connection.notifies():
                    _take(heads, notice.payload)
        except psycopg.Error as error:
            log.warning("head notifications interrupted", reason=type(error).__name__)
        await asyncio.sleep(_RECONNECT_SECONDS)


async def reread_heads(heads: Heads, read: Callable[[str], Awaitable[Head | None]], every_seconds: float) -> None:
    """Re-read the known heads every few seconds until cancelled."""
    while True:
        await asyncio.sleep(every_seconds)
        for organization in heads.organizations():
            head = await read(organization)
            if head is None:
                heads.forget(organization)
            else:
                heads.update(organization, head)


def _take(heads: Heads, payload: str) -> None:
    try:
        notice = msgspec.json.decode(payload, type=HeadNotice)
    except msgspec.DecodeError:
        log.warning("head notification not understood")
        return
    # An organization that nobody asked about is not tracked: its head is read when the first device comes.
    if heads.get(notice.organization) is not None:
        heads.update(notice.organization, notice.head)

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
from satchel.staging.users import Users
from satchel.sync.known_devices import DEVICE_CHANNEL, KnownDevices
from satchel.sync.standing import Standing

CHANNEL = "satchel_head"
_RECONNECT_SECONDS = 1.0
_REREAD_PAUSE_SECONDS = 0.1
log = structlog.get_logger()


class HeadNotice(msgspec.Struct):
    """The payload of a notification."""

    organization: str
    head: Head


class Heads:
    """The newest known head of each organization, and who waits for another."""

    def __init__(self, unsettled: Callable[[str], object] = lambda _: None) -> None:
        """Know nothing yet. `unsettled` gets the organization where somebody waits for what is to be read first."""
        self._standings: dict[str, Standing] = {}
        self._unsettled = unsettled
        self.is_draining = False

    def get(self, organization: str) -> Head | None:
        """The head, if it was ever read."""
        standing = self._standings.get(organization)
        return standing.head if standing is not None else None

    def standing(self, organization: str) -> Standing | None:
        """The head with what moved last, if it was ever read."""
        return self._standings.get(organization)

    def organizations(self) -> list[str]:
        """The organizations whose heads are known."""
        return list(self._standings)

    def update(self, organization: str, head: Head, users: Users | None = None) -> Standing:
        """Take a newer head and wake those whom it concerns. `users`: of an organization that was not known."""
        standing = self._standings.get(organization)
        if standing is None:
            standing = self._standings[organization] = Standing(head, users, lambda: self._unsettled(organization))
        else:
            standing.take(head)
        return standing

    def wake_device(self, device_id: str | None) -> None:
        """Let a device look again, wherever it waits; None: all of them."""
        for standing in self._standings.values():
            standing.wake_all() if device_id is None else standing.wake_device(device_id)

    def forget(self, organization: str) -> None:
        """The organization went; those who wait find out."""
        standing = self._standings.pop(organization, None)
        if standing is not None:
            standing.wake_all()

    def drain(self) -> None:
        """Answer everybody who waits: this server is about to end."""
        self.is_draining = True
        self.wake_device(None)


async def listen_for_heads(control_url: str, heads: Heads, devices: KnownDevices) -> None:
    """Take notifications, of heads and of devices, until cancelled; reconnects where the database went away."""
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(control_url, autocommit=True) as connection:
                await connection.execute(f"listen {CHANNEL}")
                await connection.execute(f"listen {DEVICE_CHANNEL}")
                async for notice in connection.notifies():
                    if notice.channel == DEVICE_CHANNEL:
                        heads.wake_device(devices.take_notice(notice.payload))
                    else:
                        _take(heads, notice.payload)
        except psycopg.Error as error:
            log.warning("head notifications interrupted", reason=type(error).__name__)
        await asyncio.sleep(_RECONNECT_SECONDS)


async def reread_heads(heads: Heads, read: Callable[[str], Awaitable[Head | None]], every_seconds: float) -> None:
    """Re-read the known heads every few seconds until cancelled; where they are many, not more than some a second."""
    while True:
        await asyncio.sleep(every_seconds)
        for organization in heads.organizations():
            head = await read(organization)
            if head is None:
                heads.forget(organization)
            else:
                heads.update(organization, head)
            await asyncio.sleep(_REREAD_PAUSE_SECONDS)


def _take(heads: Heads, payload: str) -> None:
    try:
        notice = msgspec.json.decode(payload, type=HeadNotice)
    except msgspec.DecodeError:
        log.warning("head notification not understood")
        return
    # An organization that nobody asked about is not tracked: its head is read when the first device comes.
    if heads.get(notice.organization) is not None:
        heads.update(notice.organization, notice.head)

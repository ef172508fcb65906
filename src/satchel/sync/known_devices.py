"""Devices whose tokens were checked a moment ago: a poll of one costs no SQL.

What is known of devices holds as long as their register has the revision that it was read at, and that was confirmed
within seconds: by the notification of each change, and by reading the revision now and then. So a block or a wipe acts
at once, and within seconds where notifications are lost or the database does not answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from satchel.errors import SatchelError
from satchel.identity.tokens import token_hash
from satchel.provisioning.devices import Device, Devices

DEVICE_CHANNEL = "satchel_device"
TRUST_SECONDS = 5.0
CONFIRM_SECONDS = 2.0
MAX_DEVICES = 50_000
log = structlog.get_logger()


class KnownDevices:
    """The register of devices, as far as it was read."""

    def __init__(self, devices: Devices, now: Callable[[], float] = time.monotonic) -> None:
        """Know nobody yet. `now`: monotonic seconds."""
        self._devices = devices
        self._now = now
        self._known: dict[bytes, Device] = {}
        self._digests: dict[str, bytes] = {}
        self._revision = -1
        self._trusted_until = 0.0
        self._seen: set[str] = set()

    def get(self, token: str) -> Device | None:
        """The device, where what is known of it holds."""
        if self._now() >= self._trusted_until:
            return None
        device = self._known.get(token_hash(token))
        if device is not None:
            self._seen.add(device.id)
        return device

    async def read(self, token: str) -> Device:
        """The device as the register has it now. Errors: TokenInvalid, StoreBusy."""
        revision = self._revision
        device = await self._devices.by_token(token)
        self._seen.add(device.id)
        if revision == self._revision:  # else it may have been read before a change that was told meanwhile
            if len(self._known) >= MAX_DEVICES:
                self._forget_all()
            digest = token_hash(token)
            self._known[digest], self._digests[device.id] = device, digest
        return device

    def take_notice(self, payload: str) -> str | None:
        """A change of a device was told: forget it; returns its id, None where it may be any."""
        number, _, device_id = payload.partition(" ")
        if not number.isdecimal() or int(number) > self._revision + 1:
            self._revision = -1
            self._forget_all()
            return None
        self._revision = max(self._revision, int(number))
        self._known.pop(self._digests.pop(device_id, b""), None)
        return device_id

    async def confirm(self) -> None:
        """Read the register's revision; what is known holds for another few seconds where it is the same."""
        asked_at = self._now()
        told = self._revision
        revision = await self._devices.revision()
        if self._revision not in {told, revision}:
            return  # another was told while this one was read
        if revision != self._revision:
            self._forget_all()
        self._revision = revision
        self._trusted_until = asked_at + TRUST_SECONDS

    async def note_seen(self) -> None:
        """Note in the register who was here. Cost: one statement."""
        seen, self._seen = self._seen, set()
        if seen:
            await self._devices.note_seen(sorted(seen))

    def _forget_all(self) -> None:
        self._known.clear()
        self._digests.clear()
        self._trusted_until = 0.0


async def keep_confirming(known: KnownDevices) -> None:
    """Keep what is known of devices fresh until cancelled."""
    while True:
        try:
            await known.confirm()
            await known.note_seen()
        except SatchelError as error:
            log.warning("devices not confirmed", reason=error.code)
        await asyncio.sleep(CONFIRM_SECONDS)

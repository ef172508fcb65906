"""Who calls: a device by its token, or one of our own services by a signed one."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

from satchel.errors import NotEntitled, TokenInvalid, WipeOrdered
from satchel.identity.tokens import check_service_token, token_hash
from satchel.provisioning.devices import Device, Devices

CACHE_SECONDS = 5.0
_CACHE_ENTRIES = 20_000


class DeviceAuth:
    """Checks device tokens. A good one is believed for a few seconds, so a block or a wipe takes effect within them."""

    def __init__(self, devices: Devices) -> None:
        """Keep the register."""
        self._devices = devices
        self._known: dict[bytes, tuple[float, Device]] = {}

    async def device(self, authorization: str | None, organization: str) -> Device:
        """The device that calls. Errors: TokenInvalid (unknown, blocked), NotEntitled (of another organization),
        WipeOrdered."""
        token = bearer(authorization)
        digest = token_hash(token)
        known = self._known.get(digest)
        if known is None or known[0] < time.monotonic():
            device = await self._devices.by_token(token)
            await self._devices.note_seen([device.id])
            if len(self._known) >= _CACHE_ENTRIES:
                self._known.clear()
            self._known[digest] = (time.monotonic() + CACHE_SECONDS, device)
        else:
            device = known[1]
        if device.must_wipe:  # also where it is blocked: a block alone erases nothing
            self._known.pop(digest, None)
            await self._devices.note_wipe_told(device.id)
            raise WipeOrdered(hint="It erases what it holds; ask your administrator for a new enrolment link.")
        if device.is_blocked:
            self._known.pop(digest, None)
            raise TokenInvalid("This device is blocked.", hint="Ask your administrator.")
        if device.organization != organization:
            raise NotEntitled("This device belongs to another organization.")
        return device

    async def wiped_device(self, authorization: str | None, organization: str) -> Device:
        """A device that says it is wiped: it is heard although it is let in no more. Errors: TokenInvalid (unknown),
        NotEntitled (of another organization, or no wipe was ordered)."""
        device = await self._devices.by_token(bearer(authorization))
        if device.organization != organization or not device.must_wipe:
            raise NotEntitled("No wipe of this device was ordered.")
        return device


class ServiceAuth:
    """Checks service tokens."""

    def __init__(self, key: bytes, now: Callable[[], datetime]) -> None:
        """`key` is the installation's service-token key."""
        self._key = key
        self._now = now

    def service(self, authorization: str | None) -> str:
        """The service that calls. Errors: TokenInvalid."""
        return check_service_token(self._key, bearer(authorization), self._now())


def bearer(authorization: str | None) -> str:
    """The token of an `Authorization: Bearer` header. Errors: TokenInvalid."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip() or len(token) > 4096:
        raise TokenInvalid("The request carries no bearer token.")
    return token.strip()

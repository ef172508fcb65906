"""Who calls: a device by its token, one of our own services by a signed one, others by an issuer's token."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from satchel.errors import NotEntitled, SignInNeeded, TokenInvalid, WipeOrdered
from satchel.identity.keys import PurposeKeys
from satchel.identity.sign_in import Caller, SignIn
from satchel.identity.tokens import check_service_token, is_service_token
from satchel.model.openid import MAX_TOKEN_CHARACTERS
from satchel.provisioning.devices import Device, Devices
from satchel.sync.known_devices import KnownDevices
from satchel.telemetry.request import note_caller


class DeviceAuth:
    """Checks device tokens."""

    def __init__(self, devices: Devices, known: KnownDevices) -> None:
        """Keep the register, and what is known of it."""
        self._devices = devices
        self._known = known

    async def device(self, authorization: str | None, organization: str) -> Device:
        """The device that calls. Errors: TokenInvalid (unknown, blocked), NotEntitled (of another organization),
        WipeOrdered, SignInNeeded."""
        token = bearer(authorization)
        now = datetime.now(UTC)
        device = self._known.get(token)
        if device is None or has_ended(device, now):  # it may have been proved anew a moment ago
            device = await self._known.read(token)
        try:
            admit(device, organization, now)
        except WipeOrdered:
            await self._devices.note_wipe_told(device.id)
            raise
        note_caller(organization, device.id)
        return device

    async def wiped_device(self, authorization: str | None, organization: str) -> Device:
        """A device that says it is wiped: it is heard although it is let in no more. Errors: TokenInvalid (unknown),
        NotEntitled (of another organization, or no wipe was ordered)."""
        device = await self._devices.by_token(bearer(authorization))
        if device.organization != organization or not device.must_wipe:
            raise NotEntitled("No wipe of this device was ordered.")
        return device


def admit(device: Device, organization: str, now: datetime) -> None:
    """Whether a device may come in now. Errors: WipeOrdered, TokenInvalid, NotEntitled, SignInNeeded."""
    refuse_barred(device, organization)
    if has_ended(device, now):
        raise SignInNeeded


def has_ended(device: Device, now: datetime) -> bool:
    """The device's user must prove the sign-in anew."""
    return device.signed_in_until is not None and device.signed_in_until <= now


def refuse_barred(device: Device, organization: str) -> None:
    """Refuse a device that does not come in by any sign-in. Errors: WipeOrdered, TokenInvalid, NotEntitled."""
    if device.must_wipe:  # also where it is blocked: a block alone erases nothing
        raise WipeOrdered(hint="It erases what it holds; ask your administrator for a new enrolment link.")
    if device.is_blocked:
        raise TokenInvalid("This device is blocked.", hint="Ask your administrator.")
    if device.organization != organization:
        raise NotEntitled("This device belongs to another organization.")


class ManagementAuth:
    """Checks who calls the management endpoint."""

    def __init__(self, keys: PurposeKeys, now: Callable[[], datetime], sign_in: SignIn | None = None) -> None:
        """`keys` are the installation's for service tokens; `sign_in` the rules for an issuer's tokens."""
        self._keys = keys
        self._now = now
        self._sign_in = sign_in

    async def require(self, authorization: str | None, permission: str) -> Caller:
        """Who calls, if they may do this. Errors: TokenInvalid, NotEntitled, IssuerUnreachable."""
        token = bearer(authorization, MAX_TOKEN_CHARACTERS)
        # Which of the two it claims to be decides only who checks it: neither takes the other's.
        if self._sign_in is None or is_service_token(token):
            caller = check_service_token(self._keys.all, token, self._now())
        else:
            caller = await self._sign_in.caller(token)
        caller.require(permission)
        return caller


def bearer(authorization: str | None, max_characters: int = 4096) -> str:
    """The token of an `Authorization: Bearer` header. Errors: TokenInvalid."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip() or len(token) > max_characters:
        raise TokenInvalid("The request carries no bearer token.")
    return token.strip()

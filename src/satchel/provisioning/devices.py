"""Devices and how they come in: one-time enrolment codes bound to a user, one token a device."""

from __future__ import annotations

import uuid
from datetime import datetime

import msgspec

from satchel.database.pool import Database
from satchel.database.queries import load_queries
from satchel.errors import EnrolmentRefused, InputInvalid, TokenInvalid
from satchel.identity.tokens import new_device_token, new_enrolment_code, token_hash
from satchel.provisioning.organizations import Organization

_SQL = load_queries(__file__)


class Device(msgspec.Struct, frozen=True):
    """Who a device token stands for."""

    id: str
    organization: str
    user_id: str
    user_name: str
    name: str
    is_blocked: bool
    must_wipe: bool = False
    """An administrator ordered that it erases all it holds."""
    issuer: str | None = None
    """Who vouches for its user; None: an enrolment link did."""
    subject: str | None = None
    signed_in_until: datetime | None = None
    """The sign-in must be proved anew until then; None: it came by a link."""


class DeviceRow(msgspec.Struct, frozen=True):
    """A device as an administrator sees it."""

    id: str
    name: str
    user_name: str
    user_id: str
    created_at: datetime
    last_seen_at: datetime | None
    is_blocked: bool
    wipe_requested_at: datetime | None
    wipe_told_at: datetime | None
    """When the device was told first."""
    wiped_at: datetime | None
    """When the device said that all is erased."""
    issuer: str | None
    signed_in_until: datetime | None


class SignedIn(msgspec.Struct, frozen=True):
    """Who signed in, proved by an issuer, and for how long that counts."""

    issuer: str
    subject: str
    seconds: float


class Devices:
    """The register of devices and enrolment codes."""

    def __init__(self, control: Database) -> None:
        """Keep the control database."""
        self._control = control

    async def make_code(
        self, organization: Organization, user_id: str, user_name: str, *, lifetime_seconds: float
    ) -> str:
        """Make a one-time code for a user; only its hash is kept."""
        code = new_enrolment_code()
        parameters = {
            "code_hash": token_hash(code),
            "organization": organization.id,
            "user_id": user_id,
            "user_name": user_name,
            "lifetime_seconds": lifetime_seconds,
        }
        await self._control.fetch(_SQL["add_code"], parameters)
        return code

    async def enroll(self, organization: str, code: str, device_name: str) -> tuple[Device, str]:
        """Use a code: the new device and its token, which is not kept. Errors: EnrolmentRefused."""
        token, device_id = new_device_token(), str(uuid.uuid4())
        parameters = {
            "code_hash": token_hash(code.upper()),
            "organization": organization,
            "id": device_id,
            "name": _usable(device_name),
            "token_hash": token_hash(token),
        }
        rows = await self._control.fetch(_SQL["use_code"], parameters)
        if not rows:
            raise EnrolmentRefused
        user_id, user_name = rows[0]
        return Device(device_id, organization, user_id, user_name, _usable(device_name), is_blocked=False), token

    async def sign_in(
        self, organization: str, user_id: str, user_name: str, device_name: str, signed_in: SignedIn
    ) -> tuple[Device, str]:
        """Register a device of a user who signed in: the new device and its token, which is not kept."""
        token = new_device_token()
        parameters = {
            "id": str(uuid.uuid4()),
            "organization": organization,
            "user_id": user_id,
            "user_name": user_name,
            "name": _usable(device_name),
            "token_hash": token_hash(token),
            **msgspec.structs.asdict(signed_in),
        }
        await self._control.fetch(_SQL["sign_in"], parameters)
        return await self.by_token(token), token

    async def renew(self, device: Device, signed_in: SignedIn) -> None:
        """The user of this device proved the sign-in anew."""
        await self._control.fetch(_SQL["renew"], {"id": device.id, **msgspec.structs.asdict(signed_in)})

    async def end_sign_in(self, device: Device) -> None:
        """The user signed out: the device is let in again once somebody signs in on it."""
        await self._control.fetch(_SQL["end_sign_in"], {"id": device.id})

    async def by_token(self, token: str) -> Device:
        """The device of a token. Errors: TokenInvalid."""
        rows = await self._control.fetch(_SQL["by_token"], {"token_hash": token_hash(token)})
        if not rows:
            raise TokenInvalid(hint="Enroll the device again: ask your administrator for a link.")
        return Device(*rows[0])

    async def note_seen(self, device_ids: list[str]) -> None:
        """Note that these devices were here."""
        await self._control.fetch(_SQL["seen"], {"ids": device_ids})

    async def revision(self) -> int:
        """Rises with every change of a device that decides whether, and as whom, it is let in."""
        rows = await self._control.fetch(_SQL["revision"])
        return int(rows[0][0])

    async def of_organization(self, organization: Organization) -> list[DeviceRow]:
        """The organization's devices, oldest first."""
        rows = await self._control.fetch(_SQL["list"], {"organization": organization.id})
        return [DeviceRow(*row) for row in rows]

    async def block(self, organization: Organization, device_id: str, *, is_blocked: bool) -> None:
        """Block or unblock a device. Errors: InputInvalid where there is no such device."""
        parameters = {"id": device_id, "organization": organization.id, "is_blocked": is_blocked}
        if not await self._control.fetch(_SQL["block"], parameters):
            raise InputInvalid(f"{organization.name} has no device {device_id!r}.")

    async def wipe(self, organization: Organization, device_id: str) -> None:
        """Order a device to erase all it holds, at its next contact. Errors: InputInvalid where there is none such."""
        if not await self._control.fetch(_SQL["wipe"], {"id": device_id, "organization": organization.id}):
            raise InputInvalid(f"{organization.name} has no device {device_id!r}.")

    async def note_wipe_told(self, device_id: str) -> None:
        """Note that the device was told of the order."""
        await self._control.fetch(_SQL["wipe_told"], {"id": device_id})

    async def note_wiped(self, device_id: str) -> None:
        """Note that the device says it erased all; nothing where no wipe was ordered."""
        await self._control.fetch(_SQL["wiped"], {"id": device_id})


def _usable(device_name: str) -> str:
    """What a device calls itself, as it can be kept: PostgreSQL has no text with a NUL."""
    return device_name.replace("\x00", "")[:100]

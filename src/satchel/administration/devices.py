"""Devices of an organization: which there are, refusing one, making one erase what it holds."""

from __future__ import annotations

from satchel.assembly import Rooms
from satchel.provisioning.devices import DeviceRow


async def devices_of(rooms: Rooms, name: str) -> list[DeviceRow]:
    """All devices, oldest first. Errors: OrganizationUnknown."""
    return await rooms.devices.of_organization(await rooms.organizations.get(name))


async def block_device(rooms: Rooms, name: str, device_id: str, *, is_blocked: bool) -> None:
    """Refuse a device from now on, or let it in again. Errors: OrganizationUnknown, InputInvalid."""
    await rooms.devices.block(await rooms.organizations.get(name), device_id, is_blocked=is_blocked)


async def wipe_device(rooms: Rooms, name: str, device_id: str) -> None:
    """Have a device erase all it holds, at its next contact. Errors: OrganizationUnknown, InputInvalid."""
    await rooms.devices.wipe(await rooms.organizations.get(name), device_id)

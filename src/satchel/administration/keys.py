"""Master keys: what is sealed with which, sealing all of it with the newest, and letting old ones go."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from satchel.assembly import Rooms
from satchel.errors import SettingInvalid
from satchel.identity.keys import key_name, new_key
from satchel.identity.secrets import is_sealed_with, open_sealed, seal
from satchel.provisioning.organizations import Organization

_LOCK = 7_274_312
"""Any number; one for all rotations."""


class KeyStatus(msgspec.Struct, frozen=True):
    """One master key."""

    name: str
    seals: bool
    """It is the newest."""
    organizations: list[str]
    """Whose connection is sealed with it."""


async def key_status(rooms: Rooms) -> list[KeyStatus]:
    """The keys, newest first."""
    organizations = await rooms.organizations.all()
    masters, derived = rooms.key.current(), rooms.key.keys("connection").all
    return [
        KeyStatus(
            key_name(master),
            master == masters[0],
            [each.name for each in organizations if is_sealed_with(key, each.sealed_connection)],
        )
        for master, key in zip(masters, derived, strict=True)
    ]


async def rotate(rooms: Rooms) -> AsyncIterator[str]:
    """Make a new key, or go on with a rotation that was broken off, and seal everything with it; tells each step.

    Order: the new key is kept before anything is sealed with it; old keys stay, so that it can end at any point.
    Errors: SettingInvalid where the keys are not ours to change, and nothing is left to be sealed again.
    """
    async with rooms.control.transaction() as connection:
        await connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
        if not await _begun(rooms):
            rooms.key.replace([new_key(), *rooms.key.current()])
            yield f"new key {key_name(rooms.key.newest)}"
        for organization in await rooms.organizations.all():
            if await _seal_again(rooms, organization):
                yield f"{organization.name}: connection sealed again"
            if organization.state != "registered":
                await rooms.databases.set_password(organization)
                yield f"{organization.name}: password of its database role set"


async def retire(rooms: Rooms) -> list[str]:
    """Let all keys but the newest go; returns their names. Errors: SettingInvalid where something needs them still."""
    async with rooms.control.transaction() as connection:
        await connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
        if await _begun(rooms):
            raise SettingInvalid("Something is still sealed with an old key.", hint="First: satchel key rotate")
        for organization in await rooms.organizations.all():
            if organization.state != "registered":
                await rooms.databases.set_password(organization)
        newest, *old = rooms.key.current()
        if old:
            rooms.key.replace([newest])
    return [key_name(key) for key in old]


async def _begun(rooms: Rooms) -> bool:
    """Something is not sealed with the newest key."""
    newest = rooms.key.keys("connection").newest
    return not all(is_sealed_with(newest, each.sealed_connection) for each in await rooms.organizations.all())


async def _seal_again(rooms: Rooms, organization: Organization) -> bool:
    keys, purpose = rooms.key.keys("connection"), f"connection/{organization.name}".encode()
    if is_sealed_with(keys.newest, organization.sealed_connection):
        return False
    plain = open_sealed(keys.all, organization.sealed_connection, purpose)
    await rooms.organizations.set_connection(organization, seal(keys.newest, plain, purpose))
    return True

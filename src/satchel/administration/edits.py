"""Edits of devices: what is on its way, what is stuck, and what an administrator does about it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from satchel.assembly import Rooms
from satchel.errors import InputInvalid
from satchel.journal.look import Chosen, SeenSet, close_sets, find_sets, try_again
from satchel.staging.head import read_head

MOST_AT_ONCE = 10_000
"""Sets of one call; those who want more call again."""


class Who(msgspec.Struct, frozen=True):
    """Whose device a set comes from."""

    device_name: str
    user_name: str


class Handled(msgspec.Struct, frozen=True):
    """What was done with the chosen sets, by number."""

    done: list[int]
    settled: list[int] = []
    """Nothing to be done: they are settled."""
    unsure: list[int] = []
    """Not closed: they may have been executed at the source."""


async def edits_of(rooms: Rooms, name: str, chosen: Chosen) -> list[tuple[SeenSet, Who]]:
    """The chosen edit sets, oldest first, with the names of device and user. Errors: OrganizationUnknown."""
    organization = await rooms.organizations.get(name)
    devices = {device.id: device for device in await rooms.devices.of_organization(organization)}
    async with rooms.databases.open(organization, pool_size=1) as staging, staging.connection() as connection:
        found = await find_sets(connection, chosen)
    who = {key: Who(device.name, device.user_name) for key, device in devices.items()}
    return [(each, who.get(each.device, Who("(gone)", ""))) for each in found]


async def retry(rooms: Rooms, name: str, chosen: Chosen) -> Handled:
    """Have the chosen sets tried again now. Errors: OrganizationUnknown, InputInvalid where a number is unknown."""
    organization = await rooms.organizations.get(name)
    async with rooms.databases.open(organization, pool_size=1) as staging, staging.transaction() as connection:
        found = await find_sets(connection, msgspec.structs.replace(chosen, limit=MOST_AT_ONCE))
        numbers = _numbers(name, chosen, found)
        done = await try_again(connection, numbers)
    if done:
        await rooms.begin_playback(name)
    return Handled(done, sorted(set(numbers) - set(done)))


async def close(rooms: Rooms, name: str, chosen: Chosen, *, reason: str, even_if_executed: bool) -> Handled:
    """Give the chosen sets up; their devices hear of it. Errors: as `retry`."""
    organization = await rooms.organizations.get(name)
    message = f"An administrator closed it: {reason}" if reason else "An administrator closed it."
    async with rooms.databases.open(organization, pool_size=1) as staging:
        async with staging.transaction() as connection:
            found = await find_sets(connection, msgspec.structs.replace(chosen, limit=MOST_AT_ONCE))
            numbers = _numbers(name, chosen, found)
            done, unsure = await close_sets(connection, numbers, message=message, even_if_executed=even_if_executed)
        async with staging.connection() as connection:
            head = await read_head(connection)
    if done:
        await rooms.notify_head(name, head)
        await rooms.begin_playback(name)  # what stood behind them
    return Handled(done, sorted(set(numbers) - set(done) - set(unsure)), unsure)


def _numbers(name: str, chosen: Chosen, found: Sequence[SeenSet]) -> list[int]:
    numbers = [each.number for each in found]
    unknown = sorted(set(chosen.numbers or ()) - set(numbers))
    if unknown:
        listed = ", ".join(map(str, unknown))
        raise InputInvalid(f"{name} has no edit set {listed}.", hint=f"`satchel edits list {name}` shows them.")
    return numbers

"""PostgreSQL servers of the staging databases: how they stand, and organizations on their way between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
from psycopg.conninfo import conninfo_to_dict

from satchel.assembly import Rooms, staging_urls
from satchel.database.server import server_version
from satchel.errors import SatchelError
from satchel.model.work import WorkItem, WorkName
from satchel.provisioning.moves import Move, begin_move

POLL_SECONDS = 0.2


class ServerStatus(msgspec.Struct, frozen=True):
    """How a server stands."""

    name: str
    address: str
    weight: float
    """Its share of new organizations."""
    organizations: int
    version: str | None
    problem: str | None


async def list_servers(rooms: Rooms) -> list[ServerStatus]:
    """All servers that the settings name, and those that organizations live on though they are not named."""
    loads, urls = await rooms.servers.loads(), staging_urls(rooms.settings)
    found = []
    for name in sorted({*urls, *loads}):
        version, problem = None, None
        try:
            version = await server_version(rooms.databases.server_url(name))
        except SatchelError as error:
            problem = error.message
        weight = rooms.servers.weights.get(name, 0.0)
        found.append(ServerStatus(name, _address(urls.get(name, "")), weight, loads.get(name, 0), version, problem))
    return found


async def request_move(rooms: Rooms, name: str, server: str) -> None:
    """Have an organization's staging database moved. Errors: OrganizationUnknown, InputInvalid."""
    organization = await rooms.organizations.get(name)
    rooms.servers.require(server)
    async with rooms.control.transaction() as connection:
        await begin_move(connection, organization, server)
        await rooms.queue.defer(connection, WorkItem(WorkName.MOVE, name))


async def abort_move(rooms: Rooms, name: str) -> None:
    """Have it stay where it is. Errors: OrganizationUnknown, InputInvalid."""
    organization = await rooms.organizations.get(name)
    await rooms.moves.abort(organization)
    async with rooms.control.transaction() as connection:
        await rooms.queue.defer(connection, WorkItem(WorkName.MOVE, name))


async def wait_until_moved(rooms: Rooms, name: str) -> AsyncIterator[Move]:
    """The move, a few times a second, until nothing of it is left to do."""
    organization = await rooms.organizations.get(name)
    while (found := await rooms.moves.find(organization)) is not None:
        yield found
        await asyncio.sleep(POLL_SECONDS)


def _address(url: str) -> str:
    """Host and port: what else stands in the connection string is nobody's business."""
    parts = conninfo_to_dict(url) if url else {}
    return f"{parts.get('host', '')}:{parts.get('port', 5432)}" if parts else ""

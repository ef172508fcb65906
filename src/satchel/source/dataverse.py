"""Microsoft Dataverse as a source: delta links by change tracking, `EntityDefinitions` besides CSDL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec

from satchel.errors import RequestRefused, SourceMisconfigured, SourceUnreachable
from satchel.model.changes import Page, SourceInfo, Watermark
from satchel.model.ids import Key
from satchel.model.metadata import Entity, Metadata
from satchel.source.changes import Changes, misconfigured
from satchel.source.client import Client
from satchel.source.connection import Connection
from satchel.source.csdl_reader import CsdlReader
from satchel.source.dataverse_metadata import dataverse_entities
from satchel.source.definitions import read_definitions, with_details
from satchel.source.offline_profiles import OfflineProfileRows, read_offline_profiles
from satchel.source.throttle import Pace


class _WhoAmI(msgspec.Struct, rename="pascal"):
    user_id: str
    organization_id: str


class _Version(msgspec.Struct, rename="pascal"):
    version: str


class DataverseSource:
    """An organization of Dataverse."""

    def __init__(self, connection: Connection, pace: Pace | None = None) -> None:
        """Open nothing yet. Errors: SourceMisconfigured."""
        pace = pace or Pace()
        self._client = Client(connection, pace)
        self._changes = Changes(self._client, connection, pace, _tracks_changes)

    async def check(self) -> SourceInfo:
        """Sign in and ask who we are there."""
        try:
            who = await self._client.read("WhoAmI", _WhoAmI)
        except RequestRefused as error:
            raise _not_dataverse(error) from error
        except SourceUnreachable as error:
            raise misconfigured(error) from error
        return SourceInfo(kind="dataverse", description=await self._description(), user_id=who.user_id.lower())

    async def metadata(self, detailed: frozenset[str] = frozenset()) -> Metadata:
        """Read `$metadata` and `EntityDefinitions`; details of the named entities only, side by side."""
        answer, definitions = await asyncio.gather(
            self._client.stream("$metadata", CsdlReader, accept="application/xml"), read_definitions(self._client)
        )
        entities = await asyncio.to_thread(dataverse_entities, answer.body, definitions)
        chosen = [entity for entity in entities if entity.name in detailed]
        found = await asyncio.gather(*(with_details(self._client, entity) for entity in chosen))
        by_name = {entity.name: entity for entity in found}
        return Metadata(tuple(by_name.get(entity.name, entity) for entity in entities))

    def changes(self, entity: Entity, watermark: Watermark | None, page_size: int) -> AsyncIterator[Page]:
        """Read by delta link where the entity tracks changes, else by modified time, else everything."""
        return self._changes.pages(entity, watermark, page_size)

    def keys(self, entity: Entity, page_size: int) -> AsyncIterator[Sequence[Key]]:
        """Read the keys of all rows, in pages; a key may come twice."""
        return self._changes.keys(entity, page_size)

    async def rows(self, entity: Entity, keys: Sequence[Key]) -> Page:
        """Read these rows."""
        return await self._changes.rows(entity, keys)

    async def offline_profiles(self) -> OfflineProfileRows:
        """Read the mobile offline profiles that the organization has there."""
        return await read_offline_profiles(self._client)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _description(self) -> str:
        try:
            return f"Dataverse {(await self._client.read('RetrieveVersion()', _Version)).version}"
        except RequestRefused:
            return "Dataverse"


async def _tracks_changes(entity: Entity) -> bool:
    return entity.tracks_changes


def _not_dataverse(error: RequestRefused) -> SourceMisconfigured:
    if error.facts.get("status") == 403:
        return SourceMisconfigured(
            error.message, hint="Add the application as a user of the organization, with a role."
        )
    return SourceMisconfigured(
        "There is no Dataverse Web API at this address.",
        hint="Give the organization's URL, such as https://contoso.crm.dynamics.com.",
    )

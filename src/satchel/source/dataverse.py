"""Microsoft Dataverse as a source: delta links by change tracking, `EntityDefinitions` besides CSDL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec

from satchel.errors import RequestRefused, SourceMisconfigured, SourceUnreachable
from satchel.model.changes import Page, SourceInfo, Watermark
from satchel.model.ids import Key
from satchel.model.metadata import Entity, Metadata
from satchel.model.writes import Abilities, Played, Sent, Write
from satchel.source.changes import Changes, misconfigured
from satchel.source.client import Client
from satchel.source.connection import Connection
from satchel.source.csdl_reader import CsdlReader
from satchel.source.dataverse_metadata import dataverse_entities
from satchel.source.definitions import read_definitions, with_details
from satchel.source.offline_profiles import OfflineProfileRows, read_offline_profiles
from satchel.source.throttle import Pace
from satchel.source.writing.audit import was_executed
from satchel.source.writing.player import Player


class _WhoAmI(msgspec.Struct, rename="pascal"):
    user_id: str
    organization_id: str


class _DirectoryUser(msgspec.Struct):
    object_id: str | None = msgspec.field(default=None, name="azureactivedirectoryobjectid")


class _Version(msgspec.Struct, rename="pascal"):
    version: str


class DataverseSource:
    """An organization of Dataverse."""

    def __init__(self, connection: Connection, pace: Pace | None = None) -> None:
        """Open nothing yet. Errors: SourceMisconfigured."""
        pace = pace or Pace()
        self._client = Client(connection, pace)
        self._changes = Changes(self._client, connection, pace, _tracks_changes)
        abilities = Abilities(impersonates=True, has_batch=True, has_etags=True, requires_etags=False)
        self._player = Player(self._client, creates_by_key=True, abilities=abilities)
        self._object_ids: dict[str, str | None] = {}

    async def check(self) -> SourceInfo:
        """Sign in and ask who we are there."""
        try:
            who = await self._client.read("WhoAmI", _WhoAmI)
        except RequestRefused as error:
            raise _not_dataverse(error) from error
        except SourceUnreachable as error:
            raise misconfigured(error) from error
        return SourceInfo(
            kind="dataverse",
            description=await self._description(),
            user_id=who.user_id.lower(),
            clock_skew_seconds=self._client.skew_seconds,
        )

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

    async def play(self, writes: Sequence[Write], user_id: str | None, request_id: str) -> Played:
        """Execute the writes on behalf of the user: their name stands on the rows, and their roles decide."""
        headers = {"x-ms-client-request-id": request_id, **await self._impersonation(user_id)}
        return await self._player.play(writes, headers, request_id)

    async def was_executed(self, write: Write, user_id: str | None, sent: Sent) -> bool | None:
        """Ask the audit."""
        told = await was_executed(self._client, write, user_id, sent)
        self._player.note(has_audit=True if told is not None else None)
        return told

    async def abilities(self, entities: Sequence[Entity] = ()) -> Abilities:
        """What is known of the organization."""
        return self._player.abilities

    async def offline_profiles(self) -> OfflineProfileRows:
        """Read the mobile offline profiles that the organization has there."""
        return await read_offline_profiles(self._client)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _impersonation(self, user_id: str | None) -> dict[str, str]:
        """Source: powerapps-docs, webapi/impersonate-another-user-web-api.md."""
        if user_id is None:
            return {}
        if user_id not in self._object_ids:
            try:
                row = await self._client.read(
                    f"systemusers({user_id})?$select=azureactivedirectoryobjectid", _DirectoryUser
                )
                self._object_ids[user_id] = row.object_id
            except RequestRefused:
                self._object_ids[user_id] = None
        object_id = self._object_ids[user_id]
        return {"CallerObjectId": object_id} if object_id else {"MSCRMCallerID": user_id}

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

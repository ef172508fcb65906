"""Any OData v4 service as a source: what it can do is found out, not assumed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec

from satchel.errors import RequestRefused, SourceMisconfigured, SourceUnreachable
from satchel.model.changes import Page, SourceInfo, Watermark
from satchel.model.ids import Key
from satchel.model.metadata import Entity, Metadata
from satchel.model.writes import Abilities, Played, Sent, Write
from satchel.source.answers import Answer
from satchel.source.changes import Changes, misconfigured
from satchel.source.client import Client
from satchel.source.connection import Connection
from satchel.source.csdl_reader import CsdlReader
from satchel.source.delta_links import confirms_tracking
from satchel.source.metadata import entities_of
from satchel.source.throttle import Pace
from satchel.source.writing.player import Player


class _Resource(msgspec.Struct):
    name: str


class _ServiceDocument(msgspec.Struct):
    value: list[_Resource]
    context: str = msgspec.field(name="@odata.context")


class ODataSource:
    """An OData v4 service that is not known beforehand."""

    def __init__(self, connection: Connection, pace: Pace | None = None) -> None:
        """Open nothing yet. Errors: SourceMisconfigured."""
        pace = pace or Pace()
        self._client = Client(connection, pace)
        self._changes = Changes(self._client, connection, pace, self._has_delta_links)
        self._player = Player(self._client, creates_by_key=False, abilities=Abilities(has_audit=False))

    async def check(self) -> SourceInfo:
        """Read the service document, which only an OData v4 service has."""
        try:
            answer = await self._client.get("")
        except RequestRefused as error:
            raise _refused(error) from error
        except SourceUnreachable as error:
            raise misconfigured(error) from error
        return SourceInfo(kind="odata", description=_description(answer), clock_skew_seconds=self._client.skew_seconds)

    async def metadata(self, detailed: frozenset[str] = frozenset()) -> Metadata:
        """Read `$metadata`, which holds all there is to know."""
        answer = await self._client.stream("$metadata", CsdlReader, accept="application/xml")
        entities = await asyncio.to_thread(entities_of, answer.body)
        return Metadata(tuple(entities))

    def changes(self, entity: Entity, watermark: Watermark | None, page_size: int) -> AsyncIterator[Page]:
        """Read by delta link where the service confirms them, else by modified time, else everything."""
        return self._changes.pages(entity, watermark, page_size)

    def keys(self, entity: Entity, page_size: int) -> AsyncIterator[Sequence[Key]]:
        """Read the keys of all rows, in pages; a key may come twice."""
        return self._changes.keys(entity, page_size)

    async def rows(self, entity: Entity, keys: Sequence[Key]) -> Page:
        """Read these rows."""
        return await self._changes.rows(entity, keys)

    async def play(self, writes: Sequence[Write], user_id: str | None, request_id: str) -> Played:
        """Execute the writes; they count for Satchel's own account there."""
        return await self._player.play(writes, {}, request_id)

    async def was_executed(self, write: Write, user_id: str | None, sent: Sent) -> bool | None:
        """OData knows no audit."""
        return None

    async def abilities(self, entities: Sequence[Entity] = ()) -> Abilities:
        """What was found out so far; the rest is tried."""
        await self._player.find_out(entities)
        return self._player.abilities

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _has_delta_links(self, entity: Entity) -> bool:
        return await confirms_tracking(self._client, entity)


def _description(answer: Answer[bytes]) -> str:
    try:
        document = msgspec.json.decode(answer.body, type=_ServiceDocument)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        is_old = "dataserviceversion" in answer.headers
        raise SourceMisconfigured(
            "This is an OData v2 or v3 service." if is_old else "There is no OData v4 service at this address.",
            hint="Give the root of an OData v4 service: the URL that `$metadata` is appended to.",
        ) from error
    version = answer.headers.get("odata-version", "4.0")
    return f"OData {version} with {len(document.value)} entity sets"


def _refused(error: RequestRefused) -> SourceMisconfigured:
    if error.facts.get("status") == 403:
        return SourceMisconfigured(error.message, hint=error.hint)
    return SourceMisconfigured(
        "There is no OData v4 service at this address.",
        hint="Give the service root: the URL that `$metadata` is appended to.",
    )

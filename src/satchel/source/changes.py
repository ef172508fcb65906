"""Rows of one service: changes by the strategy that fits an entity, keys, and single rows. Both sources read so."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import msgspec
import structlog

from satchel.errors import SourceMisconfigured, SourceUnreachable
from satchel.model.changes import Page, Strategy, Watermark
from satchel.model.ids import Key
from satchel.model.keys import row_key
from satchel.model.metadata import Entity
from satchel.source.client import Client
from satchel.source.connection import Connection
from satchel.source.delta_links import delta_pages
from satchel.source.envelope import keys_of
from satchel.source.full_reads import FullReads
from satchel.source.paging import Place, Read, Walker, fetch, follow, preferences
from satchel.source.throttle import Pace
from satchel.source.urls import key_attributes, key_queries

MAX_PAGE_SIZE = 5_000
"""Dataverse hands out no more; others are as fast with this."""

_log = structlog.get_logger(__name__)


class Changes:
    """Reads rows of one service; `has_delta_links` tells whether an entity has them."""

    def __init__(
        self, client: Client, connection: Connection, pace: Pace, has_delta_links: Callable[[Entity], Awaitable[bool]]
    ) -> None:
        """Nothing is asked yet."""
        self._client = client
        self._pace = pace
        self._has_delta_links = has_delta_links
        self._walker = Walker(client)
        self._full_reads = FullReads(client, pace, self._walker, overlap_seconds=connection.overlap_seconds)

    async def pages(self, entity: Entity, watermark: Watermark | None, page_size: int) -> AsyncIterator[Page]:
        """The pages that `Source.changes` promises."""
        page_size = min(page_size, MAX_PAGE_SIZE)
        watermark = watermark or Watermark(strategy=await self._choose(entity))
        if watermark.strategy is Strategy.DELTA_LINK:
            pages = delta_pages(
                self._client, self._pace, entity, watermark, page_size=page_size, instead=_without_delta_links(entity)
            )
        else:
            pages = self._full_reads.pages(entity, watermark, page_size)
        async for page in pages:
            yield page

    async def keys(self, entity: Entity, page_size: int) -> AsyncIterator[Sequence[Key]]:
        """The pages that `Source.keys` promises."""
        bare = entity.only(frozenset())
        read = Read(entity=bare, order=key_attributes(bare), page_size=min(page_size, MAX_PAGE_SIZE))
        async for envelope, _ in self._walker.walk(read, Place(begun_at=self._pace.now())):
            yield keys_of(envelope.rows, bare)

    async def rows(self, entity: Entity, keys: Sequence[Key]) -> Page:
        """The rows that `Source.rows` promises."""
        prefer = preferences(entity, MAX_PAGE_SIZE)
        found: list[msgspec.Raw] = []
        for url in key_queries(entity, keys):
            envelope = await fetch(self._client, entity, url, prefer)
            found += msgspec.json.decode(envelope.rows, type=list[msgspec.Raw])
            while envelope.next_link is not None:
                envelope = await follow(self._client, entity, envelope.next_link, prefer)
                found += msgspec.json.decode(envelope.rows, type=list[msgspec.Raw])
        rows = b"[" + b",".join(found) + b"]"
        there = set(keys_of(rows, entity)) if len(found) < len(keys) else None
        return Page(
            rows=rows,
            row_count=len(found),
            removed=() if there is None else tuple(sorted(k for k in set(keys) if row_key(entity, k) not in there)),
            watermark=Watermark(strategy=Strategy.FULL_COMPARE),
            is_last=True,
        )

    async def _choose(self, entity: Entity) -> Strategy:
        has_delta_links = await self._has_delta_links(entity)
        strategy = Strategy.DELTA_LINK if has_delta_links else _without_delta_links(entity)
        _log.info("strategy chosen", entity=entity.name, strategy=strategy)
        return strategy


def _without_delta_links(entity: Entity) -> Strategy:
    return Strategy.MODIFIED_SINCE if entity.modified_attribute else Strategy.FULL_COMPARE


def misconfigured(error: SourceUnreachable) -> SourceMisconfigured | SourceUnreachable:
    """While an address is checked for the first time, a name that nobody knows is a typing error."""
    if error.facts.get("is_name_unknown"):
        return SourceMisconfigured(error.message, hint="Check the URL.")
    return error

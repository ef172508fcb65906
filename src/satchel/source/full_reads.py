"""Changes without delta links: what was modified since the last read, or everything.

Deletions do not show here; the worker finds them by comparing keys.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import msgspec
import structlog

from satchel.errors import RequestRefused
from satchel.model.changes import Page, Strategy, Watermark
from satchel.model.metadata import Attribute, AttributeType, Entity
from satchel.source.answers import is_refusal_of_query
from satchel.source.client import Client
from satchel.source.envelope import Envelope, open_envelope, values_of
from satchel.source.paging import Place, Read, Walker
from satchel.source.throttle import Pace
from satchel.source.urls import key_attributes, query

COMPLETE = "complete"
"""The position of an entity that is always read whole."""
BEGINNING = "1970-01-01T00:00:00Z"
"""The position of an entity that had no row with a modified time."""

_log = structlog.get_logger(__name__)


class FullReads:
    """Reads of one service that need nothing but `$filter` and `$orderby`, or not even those."""

    def __init__(self, client: Client, pace: Pace, walker: Walker, *, overlap_seconds: float) -> None:
        """`overlap_seconds`: rows committed late under an earlier time are found by reading that far back again."""
        self._client = client
        self._pace = pace
        self._walker = walker
        self._overlap = timedelta(seconds=overlap_seconds)

    async def pages(self, entity: Entity, watermark: Watermark, page_size: int) -> AsyncIterator[Page]:
        """Read by `watermark.strategy`; where the service refuses to filter by time, read everything instead."""
        strategy, place = watermark.strategy, await self._begin(entity, watermark)
        if place is None:
            strategy, place = Strategy.FULL_COMPARE, Place(begun_at=self._pace.now())
        try:
            async for page in self._read(entity, place, strategy, watermark, page_size):
                yield page
        except RequestRefused as error:
            if place.since is None or not is_refusal_of_query(error):
                raise
            _log.warning("the source refuses to filter by time", entity=entity.name)
            whole = Place(begun_at=self._pace.now())
            async for page in self._read(entity, whole, Strategy.FULL_COMPARE, watermark, page_size):
                yield page

    async def _begin(self, entity: Entity, watermark: Watermark) -> Place | None:
        """Where to begin or go on; None: the modified time cannot be read in order."""
        if watermark.next_page is not None:
            return msgspec.json.decode(watermark.next_page, type=Place)
        begun_at = self._pace.now()
        if watermark.strategy is Strategy.FULL_COMPARE:
            return Place(begun_at=begun_at)
        if watermark.position is not None:
            return Place(begun_at=begun_at, since=watermark.position, highest=watermark.position)
        # Taken before the read, so that what changes meanwhile comes again with the next one.
        newest = await self._newest(entity)
        return Place(begun_at=begun_at, highest=newest) if newest is not None else None

    async def _newest(self, entity: Entity) -> str | None:
        modified = _modified(entity)
        options = {
            "$select": modified.wire_name,
            "$filter": f"{modified.wire_name} ne null",
            "$orderby": f"{modified.wire_name} desc",
            "$top": "1",
        }
        try:
            answer = await self._client.get(query(entity.set_name, options))
        except RequestRefused as error:
            if is_refusal_of_query(error):
                return None
            raise
        last_row = open_envelope(answer.body, entity).last_row
        return values_of(last_row, (modified,))[0] if last_row is not None else BEGINNING

    async def _read(
        self, entity: Entity, place: Place, strategy: Strategy, before: Watermark, page_size: int
    ) -> AsyncIterator[Page]:
        order, condition = key_attributes(entity), ""
        if place.since is not None:
            modified = _modified(entity)
            order = (modified, *order)
            condition = f"{modified.wire_name} ge {_earlier(place.since, self._overlap)}"
        read = Read(entity=entity, order=order, filter=condition, page_size=page_size)
        highest = place.highest
        async for envelope, behind in self._walker.walk(read, place):
            if place.since is not None and envelope.last_row is not None:
                highest = values_of(envelope.last_row, order)[0]
            if behind is not None:
                behind = msgspec.structs.replace(behind, highest=highest)
            end = Watermark(
                strategy=strategy,
                position=COMPLETE if strategy is Strategy.FULL_COMPARE else highest,
                is_full_read=place.since is None,
                taken_at=place.begun_at,
            )
            yield _page(envelope, end if behind is None else _under_way(end, behind, before))


def _under_way(end: Watermark, behind: Place, before: Watermark) -> Watermark:
    """While a read is under way the old position stays: it is what is complete."""
    return msgspec.structs.replace(
        end,
        position=before.position,
        next_page=msgspec.json.encode(behind).decode(),
        taken_at=before.taken_at,
    )


def _page(envelope: Envelope, watermark: Watermark) -> Page:
    return Page(
        rows=envelope.rows,
        row_count=envelope.row_count,
        removed=envelope.removed,
        watermark=watermark,
        is_last=watermark.next_page is None,
    )


def _modified(entity: Entity) -> Attribute:
    """The attribute to filter by, also where it is none of those to pull."""
    name = entity.modified_attribute or ""
    return entity.attribute_by_name.get(name) or Attribute(name=name, wire_name=name, type=AttributeType.DATETIME)


def _earlier(position: str, overlap: timedelta) -> str:
    """The position less the overlap; as it is where it is no time."""
    try:
        moment = datetime.fromisoformat(position)
    except ValueError:
        return position
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    moment = (moment - overlap).astimezone(UTC).replace(tzinfo=None)
    return moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds") + "Z"

"""Changes by delta link: the service remembers where we are.

Source: OData Version 4.01 Part 1: Protocol, sections 8.2.8.8 (track-changes) and 11.3 (requesting changes);
powerapps-docs, developer/data-platform/use-change-tracking-synchronize-data-external-systems.md.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import structlog

from satchel.errors import RequestRefused
from satchel.model.changes import Page, Strategy, Watermark
from satchel.model.metadata import Entity
from satchel.source.answers import is_refusal_of_query
from satchel.source.client import Client
from satchel.source.envelope import Envelope
from satchel.source.paging import Place, fetch, follow, preferences
from satchel.source.throttle import Pace
from satchel.source.urls import query, selected

TRACK_CHANGES = "odata.track-changes"

_log = structlog.get_logger(__name__)


async def confirms_tracking(client: Client, entity: Entity) -> bool:
    """Whether the service hands out delta links for the entity. Cost: one small request."""
    url = query(entity.set_name, {"$select": ",".join(entity.key)})
    try:
        answer = await client.get(url, prefer=(TRACK_CHANGES, "odata.maxpagesize=1"))
    except RequestRefused as error:
        if is_refusal_of_query(error):
            return False
        raise
    applied = answer.headers.get("preference-applied", "").lower()
    return any(word.strip().removeprefix("odata.") == "track-changes" for word in applied.split(","))


async def delta_pages(
    client: Client, pace: Pace, entity: Entity, watermark: Watermark, *, page_size: int, instead: Strategy
) -> AsyncIterator[Page]:
    """Everything with a delta link at the end, or what changed since the last one.

    `instead` is the strategy to go on with where a full read ends without a delta link.
    Errors: DeltaLinkExpired where the service no longer accepts the link.
    """
    is_resumed = watermark.next_page is not None
    place = (
        msgspec.json.decode(watermark.next_page or "", type=Place)
        if is_resumed
        else Place(begun_at=pace.now(), link=watermark.position, is_by_key=False)
    )
    is_full_read = watermark.is_full_read if is_resumed else watermark.position is None
    # A service must ignore the preference on its own next links; Dataverse wants it on every page of the first read.
    prefer = [*([TRACK_CHANGES] if is_full_read else []), *preferences(entity, page_size)]
    url = query(entity.set_name, {"$select": selected(entity)})
    while True:
        if place.link is not None:
            envelope = await follow(client, entity, place.link, prefer)
        else:
            envelope = await fetch(client, entity, url, prefer)
        place = msgspec.structs.replace(place, link=envelope.next_link)
        behind = _behind(envelope, place, watermark, is_full_read=is_full_read, instead=instead)
        is_last = envelope.next_link is None
        yield Page(
            rows=envelope.rows,
            row_count=envelope.row_count,
            removed=envelope.removed,
            watermark=behind,
            is_last=is_last,
        )
        if is_last:
            return


def _behind(envelope: Envelope, place: Place, before: Watermark, *, is_full_read: bool, instead: Strategy) -> Watermark:
    """The watermark behind a page."""
    if place.link is not None:
        return Watermark(
            strategy=Strategy.DELTA_LINK,
            position=before.position,
            next_page=msgspec.json.encode(place).decode(),
            is_full_read=is_full_read,
            taken_at=before.taken_at,
        )
    position = envelope.delta_link or before.position
    if position is None:
        _log.warning("a read ended without a delta link", instead=instead)
        return Watermark(strategy=instead, is_full_read=is_full_read)
    return Watermark(
        strategy=Strategy.DELTA_LINK, position=position, is_full_read=is_full_read, taken_at=place.begun_at
    )

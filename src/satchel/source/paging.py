"""A read goes from page to page, and can go on from any of them later.

Two ways: by key, where Satchel asks for the rows behind the last one it has, so that none is skipped or repeated
while others come and go; or by the service's next links, where it does not support the first.
Source: OData Version 4.01 Part 1: Protocol, section 11.2.6.7 (server-driven paging).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import datetime

import msgspec
import structlog

from satchel.errors import DeltaLinkExpired, RequestRefused
from satchel.model.metadata import Attribute, Entity
from satchel.source.answers import is_refusal_of_link, is_refusal_of_query
from satchel.source.client import Client
from satchel.source.envelope import Envelope, open_envelope, values_of
from satchel.source.urls import comes_after, query, selected

_log = structlog.get_logger(__name__)


class Place(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a read under way goes on. Stored as JSON in `Watermark.next_page`."""

    begun_at: datetime
    link: str | None = None
    """The service's own link; None: the first page, or by key."""
    is_by_key: bool = True
    after: tuple[str, ...] | None = None
    """By key: the last row's values in the order of the read."""
    since: str | None = None
    """The modified time that bounds the read; None: everything is read."""
    highest: str | None = None
    """The position that the read leaves when it has ended."""


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """What is read: which rows of an entity, in which order."""

    entity: Entity
    order: tuple[Attribute, ...]
    filter: str = ""
    page_size: int

    def url(self, place: Place) -> str:
        """The first page's URL, or the one behind `place.after`."""
        conditions = [self.filter] if self.filter else []
        if place.is_by_key and place.after is not None:
            conditions.append(comes_after(self.order, place.after))
        options = {
            "$select": selected(self.entity, self.order),
            "$filter": " and ".join(f"({c})" for c in conditions) if len(conditions) > 1 else "".join(conditions),
            "$orderby": ",".join(f"{a.wire_name} asc" for a in self.order) if place.is_by_key or place.since else "",
            "$top": str(self.page_size) if place.is_by_key else "",
        }
        return query(self.entity.set_name, options)


def preferences(entity: Entity, page_size: int) -> list[str]:
    """What to prefer in every request for rows: the page size, and the annotations that are attributes."""
    wanted = dict.fromkeys(a.wire_name.partition("@")[2] for a in entity.attributes if "@" in a.wire_name)
    prefer = [f"odata.maxpagesize={page_size}"]
    return [*prefer, f'odata.include-annotations="{",".join(wanted)}"'] if wanted else prefer


async def fetch(client: Client, entity: Entity, url: str, prefer: Iterable[str]) -> Envelope:
    """One page; its links come back whole. Errors: those of the client."""
    answer = await client.get(url, prefer=tuple(prefer))
    envelope = open_envelope(answer.body, entity)
    if envelope.next_link is None and envelope.delta_link is None:
        return envelope
    base = client.absolute(envelope.context, answer.url) if envelope.context else answer.url
    return msgspec.structs.replace(
        envelope,
        next_link=client.absolute(envelope.next_link, base) if envelope.next_link else None,
        delta_link=client.absolute(envelope.delta_link, base) if envelope.delta_link else None,
    )


async def follow(client: Client, entity: Entity, link: str, prefer: Iterable[str]) -> Envelope:
    """The page behind a link of the service. Errors: DeltaLinkExpired where the link leads nowhere any more."""
    try:
        envelope = await fetch(client, entity, link, prefer)
    except RequestRefused as error:
        if is_refusal_of_link(error):
            raise DeltaLinkExpired(entity=entity.name) from error
        raise
    if envelope.next_link == link:
        raise RequestRefused(f"The source's pages of {entity.name} lead in a circle.")
    return envelope


class Walker:
    """Walks reads to their end and remembers which entity sets cannot be read by key."""

    def __init__(self, client: Client) -> None:
        """Know nothing of the service yet."""
        self._client = client
        self._only_by_links: set[str] = set()

    async def walk(self, read: Read, place: Place) -> AsyncIterator[tuple[Envelope, Place | None]]:
        """Pages with the place behind each; None behind the last.

        A read by key that the service refuses begins anew by links: rows may then come twice.
        Errors: RequestRefused where it refuses that as well; DeltaLinkExpired for an old link.
        """
        at: Place | None = place
        if place.is_by_key and place.after is None and read.entity.set_name in self._only_by_links:
            at = msgspec.structs.replace(place, is_by_key=False)
        while at is not None:
            try:
                envelope, behind = await self._step(read, at)
            except RequestRefused as error:
                if not at.is_by_key or not is_refusal_of_query(error):
                    raise
                at = self._by_links(read, at)
                continue
            if behind is not None and behind.is_by_key and behind.after == at.after:
                # Times that the service cuts off in its answers let more than a page of rows look equal.
                at = self._by_links(read, at)
                continue
            yield envelope, behind
            at = behind

    async def _step(self, read: Read, at: Place) -> tuple[Envelope, Place | None]:
        prefer = preferences(read.entity, read.page_size)
        if at.link is not None:
            envelope = await follow(self._client, read.entity, at.link, prefer)
        else:
            envelope = await fetch(self._client, read.entity, read.url(at), prefer)
        if not at.is_by_key:
            link = envelope.next_link
            return envelope, msgspec.structs.replace(at, link=link) if link else None
        # A service may hand out less than `$top` asks for; then its next link says so.
        is_short = envelope.row_count < read.page_size and envelope.next_link is None
        if is_short or envelope.last_row is None:
            return envelope, None
        return envelope, msgspec.structs.replace(at, after=values_of(envelope.last_row, read.order))

    def _by_links(self, read: Read, at: Place) -> Place:
        _log.info("entity is read by links", entity=read.entity.name)
        self._only_by_links.add(read.entity.set_name)
        return msgspec.structs.replace(at, is_by_key=False, after=None)

"""What a source hands over: pages of changes, and the watermark that stands behind each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import msgspec

from satchel.model.ids import Key
from satchel.model.metadata import Entity, Metadata
from satchel.model.writes import Abilities, Played, Sent, Write


class Strategy(StrEnum):
    """How an entity's changes are found; chosen by what the source can do, recorded and shown."""

    DELTA_LINK = "delta link"
    MODIFIED_SINCE = "modified since"
    FULL_COMPARE = "full compare"


class Watermark(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Our stored position in the source for one entity. Only `source/` reads `position` and `next_page`."""

    strategy: Strategy
    position: str | None = None
    """Delta link or last modified value from which the next pull goes on; None: nothing read completely yet."""
    next_page: str | None = None
    """Where the read under way goes on; None: no read is under way."""
    is_full_read: bool = False
    """The read under way (or, on the last page, just ended) is a full one: reconcile keys after its last page."""
    taken_at: datetime | None = None
    """When the read that `position` stands for began (aware, UTC)."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One page of changes, to be staged in one transaction together with `watermark`."""

    rows: bytes
    """JSON array of row objects as the source sent them: wire names, `@odata.etag`."""
    row_count: int
    removed: tuple[Key, ...] = ()
    watermark: Watermark
    """The position after this page."""
    is_last: bool


class SourceInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a source says of itself when it is checked."""

    kind: str
    """`dataverse` or `odata`."""
    description: str
    """One line for a person: version, the user Satchel is there."""
    user_id: str | None = None
    clock_skew_seconds: float | None = None
    """Its clock against ours; None: it tells no time."""


class Source(Protocol):
    """An organization's system of record. Two implementations: Dataverse and generic OData v4.

    Errors: SourceMisconfigured (address, credentials), SourceBusy, SourceUnreachable, DeltaLinkExpired,
    RequestRefused.
    """

    async def check(self) -> SourceInfo:
        """Prove that the address and the credentials are right."""
        ...

    async def metadata(self, detailed: frozenset[str] = frozenset()) -> Metadata:
        """Read the entities that the credentials may see, as the service declares them.

        `detailed`: names of those to read with the details (options, labels, exact limits) that cost requests of their
        own; a name that is not in the answer does not exist.
        """
        ...

    def changes(self, entity: Entity, watermark: Watermark | None, page_size: int) -> AsyncIterator[Page]:
        """Read what changed since the watermark, or everything where there is none.

        `entity.attributes` are the ones to read. Resumes at `watermark.next_page` where a read was under way. The
        last page has `is_last`; a read that finds nothing still yields one empty last page.
        """
        ...

    def keys(self, entity: Entity, page_size: int) -> AsyncIterator[Sequence[Key]]:
        """Read the keys of all rows, in pages; a key may come twice."""
        ...

    async def rows(self, entity: Entity, keys: Sequence[Key]) -> Page:
        """Read these rows (at most 100); `removed` are the keys that do not exist. `watermark` is void."""
        ...

    async def play(self, writes: Sequence[Write], user_id: str | None, request_id: str) -> Played:
        """Execute the writes of one edit set, all or none, in the name of this user where the source can do that.

        A create never changes a row that is there, an update never creates one. Sent once: a failure whose effect is
        unknown is an error (SourceUnreachable), after which `was_executed` and `rows` tell more; SourceBusy: nothing
        was executed. `request_id` goes along for the source's own log.
        """
        ...

    async def was_executed(self, write: Write, user_id: str | None, sent: Sent) -> bool | None:
        """Whether a write that was sent was executed, by the source's audit; None: it does not know."""
        ...

    async def abilities(self, entities: Sequence[Entity] = ()) -> Abilities:
        """What the source can do for edits, as far as it is known by now. `entities`: find out, by reading some of
        them, what can be found out without changing anything."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...

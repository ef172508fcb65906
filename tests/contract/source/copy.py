"""A copy of one entity, kept as the worker keeps it: pages applied in order, keys compared after a full read."""

from __future__ import annotations

from typing import Any

import msgspec

from satchel.errors import DeltaLinkExpired, RetryLater
from satchel.model.changes import Source, Watermark
from satchel.model.ids import Key
from satchel.model.metadata import AttributeType, Entity


class Copy:
    """Rows by key, and the watermark that they stand for."""

    def __init__(self, source: Source, entity: Entity) -> None:
        self.source = source
        self.entity = entity
        self.rows: dict[Key, dict[str, Any]] = {}
        self.watermark: Watermark | None = None
        self.started_over = 0

    async def pull(self, page_size: int = 100) -> None:
        """Bring the copy up to date, however often the source is busy, down or has forgotten us."""
        while True:
            try:
                await self._read(page_size)
            except DeltaLinkExpired:
                self.watermark = None
                self.started_over += 1
            except RetryLater:
                continue
            else:
                return

    async def reconcile(self, page_size: int = 100) -> None:
        """Drop rows whose keys the source no longer has."""
        there = {key async for keys in self.source.keys(self.entity, page_size) for key in keys}
        self.rows = {key: row for key, row in self.rows.items() if key in there}

    async def _read(self, page_size: int) -> None:
        is_full_read = False
        async for page in self.source.changes(self.entity, self.watermark, page_size):
            for row in msgspec.json.decode(page.rows):
                self.rows[self._key(row)] = row
            for key in page.removed:
                self.rows.pop(key, None)
            self.watermark = page.watermark
            is_full_read = page.watermark.is_full_read
        if is_full_read:
            await self.reconcile(page_size)

    def _key(self, row: dict[str, Any]) -> Key:
        attributes = [self.entity.attribute_by_name[name] for name in self.entity.key]
        values = [str(row[attribute.wire_name]) for attribute in attributes]
        guids = [attribute.type is AttributeType.GUID for attribute in attributes]
        return tuple(value.lower() if is_guid else value for value, is_guid in zip(values, guids, strict=True))

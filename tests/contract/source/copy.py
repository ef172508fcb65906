"""A copy of one entity, kept as the worker keeps it: pages applied in order, keys compared after a full read."""

from __future__ import annotations

from collections.abc import Callable
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
        self.between_pages: Callable[[], object] = lambda: None

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
        """Compare keys; rows that only one side has are asked for one by one before they are believed to be gone."""
        there = {key async for keys in self.source.keys(self.entity, page_size) for key in keys}
        doubtful = sorted(there ^ self.rows.keys())
        for start in range(0, len(doubtful), 100):
            keys = doubtful[start : start + 100]
            page = await self.source.rows(self.entity, keys)
            for key in keys:
                self.rows.pop(key, None)
            self._keep(page.rows)

    async def _read(self, page_size: int) -> None:
        is_full_read = False
        async for page in self.source.changes(self.entity, self.watermark, page_size):
            self._keep(page.rows)
            for key in page.removed:
                self.rows.pop(key, None)
            self.watermark = page.watermark
            is_full_read = page.watermark.is_full_read
            self.between_pages()
        if is_full_read:
            await self.reconcile(page_size)

    def _keep(self, rows: bytes) -> None:
        for row in msgspec.json.decode(rows):
            self.rows[self._key(row)] = row

    def _key(self, row: dict[str, Any]) -> Key:
        attributes = [self.entity.attribute_by_name[name] for name in self.entity.key]
        values = [str(row[attribute.wire_name]) for attribute in attributes]
        guids = [attribute.type is AttributeType.GUID for attribute in attributes]
        return tuple(value.lower() if is_guid else value for value, is_guid in zip(values, guids, strict=True))

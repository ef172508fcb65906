"""Pull one entity: pages of the source become staged rows, members and ops, each page in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TypeVar

import msgspec
import structlog

from satchel.errors import DeltaLinkExpired
from satchel.jobs.apply import apply_page
from satchel.jobs.ask_again import ask_again
from satchel.jobs.organization import OrganizationWork
from satchel.jobs.publish import bring_into_force
from satchel.model.changes import Page, Strategy
from satchel.model.ids import Key
from satchel.model.metadata import Entity
from satchel.staging.head import Head, read_scopes
from satchel.staging.keys import begin_keys, compare_keys, end_keys, keep_keys
from satchel.staging.watermark import StoredWatermark, advance, read_watermark, reconciled, start_over
from satchel.staging.written import writes_now
from satchel.telemetry.trace import span

log = structlog.get_logger()
CONFIRM_CHUNK = 100
PROGRESS_ROWS = 100_000
T = TypeVar("T")


class Pulled(msgspec.Struct):
    """What a pull came to."""

    pages: int = 0
    rows: int = 0
    """Rows the source sent."""
    changed: int = 0
    """Rows that differ from what stood in staging, and rows that went away."""


async def pull(work: OrganizationWork, entity_name: str) -> Pulled:
    """Bring one entity to where its source stands.

    Order: page after page; a killed worker resumes at a page boundary. An expired delta link leads to a full read, and
    every full read to a comparison of keys, which finds what the pages repeated, skipped or left out.
    Errors: RetryLater (source or database), PullOvertaken, RequestRefused.
    """
    async with work.staging.connection() as connection:
        entity = (await read_scopes(connection)).maintained.entity_by_name.get(entity_name)
        if entity is None:
            return Pulled()
        stored = await read_watermark(connection, entity_name)
    pulled = Pulled()
    try:
        await _read_changes(work, entity, stored, pulled)
    except DeltaLinkExpired:
        log.info("delta link expired, reading all", organization=work.organization.name, entity=entity_name)
        async with work.staging.transaction() as connection:
            stored = await read_watermark(connection, entity_name)
            await start_over(connection, entity_name, version=stored.version)
            stored = await read_watermark(connection, entity_name)
        await _read_changes(work, entity, stored, pulled)
    await _reconcile_if_due(work, entity, pulled)
    await ask_again(work, entity.name)
    async with work.staging.connection() as connection:
        is_awaited = (await read_scopes(connection)).next is not None
    if is_awaited:
        await bring_into_force(work)
    return pulled


async def _read_changes(work: OrganizationWork, entity: Entity, stored: StoredWatermark, pulled: Pulled) -> None:
    version = stored.version
    is_resumed = stored.watermark is not None and stored.watermark.next_page is not None
    async with work.staging.connection() as connection:
        writes = None if is_resumed else await writes_now(connection)
    async with aclosing(ahead(work.source.changes(entity, stored.watermark, work.page_size))) as pages:
        async for page in pages:
            with span("page", rows=page.row_count, removed=len(page.removed)):
                async with work.staging.transaction() as connection:
                    changed, head = await apply_page(connection, entity, page, writes=writes)
                    position = page.watermark
                    version = await advance(connection, entity.name, position, version=version, is_last=page.is_last)
            await _count(work, entity, pulled, page, changed, head)


async def ahead(pages: AsyncIterator[T]) -> AsyncGenerator[T, None]:
    """The same pages, in order; the next one is read while the last one is being worked on, and no further.

    An error of the source comes behind the pages before it.
    """
    iterator = aiter(pages)
    coming = asyncio.ensure_future(_next(iterator))
    try:
        while (page := await coming) is not None:
            coming = asyncio.ensure_future(_next(iterator))
            yield page
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
        if isinstance(pages, AsyncGenerator):
            await pages.aclose()


async def _next(iterator: AsyncIterator[T]) -> T | None:
    return await anext(iterator, None)


async def _count(
    work: OrganizationWork, entity: Entity, pulled: Pulled, page: Page, changed: int, head: Head | None
) -> None:
    pulled.pages += 1
    if (pulled.rows + page.row_count) // PROGRESS_ROWS > pulled.rows // PROGRESS_ROWS:
        log.info(
            "pull under way", organization=work.organization.name, entity=entity.name, rows=pulled.rows + page.row_count
        )
    pulled.rows += page.row_count
    pulled.changed += changed
    if head is not None:
        await work.notify(head)


async def _reconcile_if_due(work: OrganizationWork, entity: Entity, pulled: Pulled) -> None:
    async with work.staging.connection() as connection:
        stored = await read_watermark(connection, entity.name)
    now = datetime.now(UTC)
    age = (now - stored.reconciled_at).total_seconds() if stored.reconciled_at else float("inf")
    tells_deletions = stored.strategy is Strategy.DELTA_LINK
    interval = work.reconcile_interval_seconds if tells_deletions else work.deletion_check_interval_seconds
    if stored.must_reconcile or age > interval:
        await _reconcile(work, entity, pulled)


async def _reconcile(work: OrganizationWork, entity: Entity, pulled: Pulled) -> None:
    """Compare keys with the source: fetch what is missing here, remove what is gone there.

    A key that the source did not list is asked for once more before its row is removed: a page may have skipped it.
    """
    async with work.staging.connection() as connection:
        await begin_keys(connection, entity)
        async with aclosing(ahead(work.source.keys(entity, work.page_size))) as pages:
            async for keys in pages:
                await keep_keys(connection, entity, keys)
        missing, surplus = await compare_keys(connection, entity)
        await end_keys(connection)
    for start in range(0, len(missing) + len(surplus), CONFIRM_CHUNK):
        chunk = (missing + surplus)[start : start + CONFIRM_CHUNK]
        await _settle_keys(work, entity, chunk, pulled)
    async with work.staging.transaction() as connection:
        await reconciled(connection, entity.name)


async def _settle_keys(work: OrganizationWork, entity: Entity, keys: Sequence[Key], pulled: Pulled) -> None:
    """Stage those of these rows that the source has, remove the others."""
    async with work.staging.connection() as connection:
        writes = await writes_now(connection)
    page = await work.source.rows(entity, keys)
    async with work.staging.transaction() as connection:
        changed, head = await apply_page(connection, entity, page, writes=writes)
    await _count(work, entity, pulled, page, changed, head)

"""The clock of the recurring work: what is due goes into the queue; what a dead worker left is taken over."""

from __future__ import annotations

import asyncio

import structlog

from satchel.database.pool import Database
from satchel.errors import SatchelError
from satchel.model.work import WorkItem, WorkName
from satchel.provisioning.databases import StagingDatabases
from satchel.provisioning.names import take_due_names
from satchel.provisioning.organizations import Organization, Organizations
from satchel.provisioning.schedule import take_due
from satchel.work.queue import WorkQueue

TAKE_OVER_SECONDS = 5.0
TIDY_SECONDS = 6 * 3600.0
log = structlog.get_logger()


async def keep_schedule(control: Database, queue: WorkQueue, *, tick_seconds: float) -> None:
    """Defer what is due, every tick, until cancelled. Order: due time and queue move in one transaction."""
    while True:
        try:
            async with control.transaction() as connection:
                for item in await take_due(connection):
                    await queue.defer(connection, item)
        except SatchelError as error:
            log.warning("schedule waits", reason=error.message)
        await asyncio.sleep(tick_seconds)


async def keep_names(control: Database, queue: WorkQueue, *, tick_seconds: float) -> None:
    """Defer the names of organizations that are to be looked at, every tick, until cancelled."""
    while True:
        try:
            async with control.transaction() as connection:
                for name in await take_due_names(connection):
                    await queue.defer(connection, WorkItem(WorkName.NAME, name))
        except SatchelError as error:
            log.warning("names wait", reason=error.message)
        await asyncio.sleep(tick_seconds)


async def keep_dropping(organizations: Organizations, databases: StagingDatabases, *, every_seconds: float) -> None:
    """Drop the databases that no organization uses any more, as soon as their servers answer, until cancelled."""
    while True:
        try:
            for server, name in await organizations.leftovers():
                await databases.drop_named(server, name)
                await organizations.leftover_dropped(server, name)
                log.info("database dropped", server=server, database=name)
        except SatchelError as error:
            log.warning("unused database not dropped yet", reason=error.message)
        await asyncio.sleep(every_seconds)


async def keep_migrating(organizations: Organizations, databases: StagingDatabases, *, every_seconds: float) -> None:
    """Bring staging databases up that were left while everything was migrated, as soon as it goes, until cancelled.

    Cost: one connection for each organization, once.
    """
    done: set[tuple[str, str]] = set()
    while True:
        for organization in await _migratable(organizations):
            place = (organization.place, organization.database_name)
            if place in done:
                continue
            try:
                count = await databases.migrate(organization, with_post=False)
            except SatchelError as error:
                log.warning("staging database not migrated", organization=organization.name, reason=error.message)
                continue
            done.add(place)
            if count:
                log.info("staging database migrated", organization=organization.name, migrations=count)
        await asyncio.sleep(every_seconds)


async def _migratable(organizations: Organizations) -> list[Organization]:
    try:
        return [each for each in await organizations.all() if each.state in {"active", "broken"}]
    except SatchelError as error:
        log.warning("databases not looked at", reason=error.message)
        return []


async def keep_tidying(control: Database, queue: WorkQueue) -> None:
    """Defer the tidying of logs and traces, at the start and every few hours, until cancelled."""
    while True:
        try:
            async with control.transaction() as connection:
                await queue.defer(connection, WorkItem(WorkName.TIDY_TELEMETRY, ""))
        except SatchelError as error:
            log.warning("tidying waits", reason=error.message)
        await asyncio.sleep(TIDY_SECONDS)


async def keep_looking_for_forgotten(control: Database, queue: WorkQueue) -> None:
    """Queue again what this process no longer does though the database says so, every few seconds, until cancelled."""
    while True:
        try:
            count = await queue.put_back_forgotten(control)
            if count:
                log.warning("forgotten work put back", work_items=count)
        except Exception as error:
            log.warning("forgotten work not looked for", reason=type(error).__name__)
        await asyncio.sleep(TAKE_OVER_SECONDS)


async def keep_taking_over(queue: WorkQueue) -> None:
    """Queue again what stalled workers were doing, every few seconds, until cancelled."""
    while True:
        try:
            count = await queue.take_over_stalled()
            if count:
                log.warning("stalled work taken over", work_items=count)
        except Exception as error:
            log.warning("stalled work not looked for", reason=type(error).__name__)
        await asyncio.sleep(TAKE_OVER_SECONDS)

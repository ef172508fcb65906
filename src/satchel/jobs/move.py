"""Move an organization's staging database to another server, with devices syncing and editing.

Killed between any two steps, exactly one place counts, and the work item goes on behind the last step that is done:
1. copy: table by table, then what changed meanwhile. The old place counts.
2. lock: writers wait, readers go on. The rest is copied, and committed over there.
3. fence: in the same transaction as the lock, the old place refuses all writes from now on. Nobody writes anywhere.
4. switch: one statement in the control database. The new place counts.
5. end: the old place is dropped, once it is seen that it bears this move's fence.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import structlog

from satchel.database.copying import fence
from satchel.database.copying.copy import Copy
from satchel.database.pool import Connection
from satchel.errors import StoreBusy
from satchel.jobs.provision import ProvisioningWork
from satchel.provisioning.moves import Move
from satchel.provisioning.organizations import Organization
from satchel.staging.timeline import notice_timeline, stamp_timeline

QUICK_SECONDS = 2.0
"""Where copying what changed takes no longer, writers need wait no longer either."""
MOST_ROUNDS = 6
NAME = "satchel move"
log = structlog.get_logger()


async def move(work: ProvisioningWork, organization: Organization) -> None:
    """Do what is left of an organization's move. Errors: RetryLater; again is harmless."""
    found = await work.moves.find(organization)
    if found is None:
        return
    if found.state == "copying":
        if found.is_aborted or organization.state != "active":
            await _undo(work, organization, found)
            return
        await _copy(work, organization, found)
        async with _connected(work, organization, found.to_server) as target:
            await stamp_timeline(target)
        if not await work.moves.switch(found):
            raise StoreBusy("The move was aborted.", wait_seconds=1.0)
    await _end(work, organization, found)
    log.info("moved", organization=organization.name, server=found.to_server)


async def _copy(work: ProvisioningWork, organization: Organization, found: Move) -> None:
    """Steps 1 to 3: all of it is over there, and nothing is written here any more."""
    async with _connected(work, organization, found.from_server) as source:
        if await fence.fenced_by(source) == found.id:
            return  # the copy over there was committed before the fence was
        await notice_timeline(source)
        await work.databases.make_empty(organization.database_name, found.to_server)
        async with _connected(work, organization, found.to_server) as target:
            copy = await Copy.begin(source, target, found.id)
            await work.moves.note(found, "copying")
            await copy.tables(lambda done, total: work.moves.note(found, f"copied {done} of {total} tables"))
            for _ in range(MOST_ROUNDS):
                began = time.monotonic()
                await copy.changes()
                await _require_wanted(work, organization)
                if time.monotonic() - began < QUICK_SECONDS:
                    break
            await work.moves.note(found, "copying the rest; edits wait")
            await copy.finish_behind_a_fence()


async def _require_wanted(work: ProvisioningWork, organization: Organization) -> None:
    found = await work.moves.find(organization)
    if found is None or found.is_aborted:
        raise StoreBusy("The move was aborted.", wait_seconds=1.0)


async def _undo(work: ProvisioningWork, organization: Organization, found: Move) -> None:
    """The old place counts and goes on; what was copied is dropped."""
    async with _connected(work, organization, found.from_server) as source, source.transaction():
        if await fence.fenced_by(source) == found.id:
            await fence.lower_fence(source)
    await work.databases.drop_copy(organization, found.to_server, found.id)
    await work.moves.end(found)
    log.info("move undone", organization=organization.name, server=found.to_server)


async def _end(work: ProvisioningWork, organization: Organization, found: Move) -> None:
    """Step 5. A server that was not told finds out by itself within seconds."""
    moved = await work.organizations.get(organization.name)
    if moved.place != found.to_server:
        raise StoreBusy("The organization does not live where it moved to; nothing is dropped. Look at it.")
    await work.sync_servers.announce(organization.name)  # first: checking a large copy takes minutes
    async with _connected(work, moved, found.to_server) as target:
        await Copy.end(target)
    if await work.databases.is_there(organization, found.from_server):
        async with _connected(work, organization, found.from_server) as source:
            is_old = await fence.fenced_by(source) == found.id
        if not is_old:
            raise StoreBusy("The old database does not bear this move's fence; it is kept. Look at it.")
        await work.databases.drop(organization, found.from_server)
    await work.moves.end(found)


@asynccontextmanager
async def _connected(work: ProvisioningWork, organization: Organization, server: str) -> AsyncIterator[Connection]:
    """The organization's database there, as its own role. What an earlier run of the move still has open is ended:
    a worker that was only asleep wakes up without its connections, and does no harm. Errors: StoreBusy."""
    try:
        url = work.databases.url(organization.database_name, server)
        async with await work.databases.connections(organization.database_name).connect(
            url, autocommit=True, connect_timeout=10, application_name=NAME
        ) as connection:
            await connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = %s"
                " and datname = current_database() and pid <> pg_backend_pid()",
                [NAME],
            )
            yield connection
    except psycopg.Error as error:
        if isinstance(error, psycopg.OperationalError | psycopg.errors.LockNotAvailable):
            raise StoreBusy(f"The move waits: {type(error).__name__}.", wait_seconds=1.0) from error
        raise

"""Provision an organization: staging database, model, recurring work - each step recorded, so that a crash resumes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import msgspec

from satchel.database.pool import Connection, Database
from satchel.jobs.organization import OrganizationWork
from satchel.jobs.refresh_model import refresh_model
from satchel.jobs.seal_snapshot import Sealing
from satchel.model.metadata import Entity
from satchel.model.scope import Scope
from satchel.model.work import WorkItem, WorkName
from satchel.naming.updates import Zone
from satchel.provisioning.databases import StagingDatabases, new_epoch
from satchel.provisioning.endpoints import SyncServers
from satchel.provisioning.moves import Moves
from satchel.provisioning.names import Names
from satchel.provisioning.organizations import Organization, Organizations, set_state
from satchel.provisioning.schedule import RecurringWork, set_schedule
from satchel.provisioning.servers import Servers
from satchel.staging.head import make_head, read_scope

PLAYBACK_SECONDS = 60.0
"""How often is looked whether edits wait; one that just came is played at once, one that waits soon again."""

Defer = Callable[[Connection, WorkItem], Awaitable[None]]
"""Puts a work item into the queue, as part of a transaction on the control database."""


class Intervals(msgspec.Struct, frozen=True):
    """How often recurring work comes, in seconds."""

    pull_seconds: float
    full_read_seconds: float
    """Between two pulls of an entity that is read in full each time."""
    model_refresh_seconds: float
    window_seconds: float
    seal_seconds: float = 30.0


class ProvisioningWork(msgspec.Struct, frozen=True):
    """What provisioning and deprovisioning work with."""

    control: Database
    organizations: Organizations
    databases: StagingDatabases
    servers: Servers
    moves: Moves
    names: Names
    zone: Zone | None
    """None: Satchel keeps no names."""
    name_check_seconds: float
    sync_servers: SyncServers
    intervals: Intervals
    defer: Defer
    open_work: Callable[[Organization], Awaitable[OrganizationWork]]
    close_work: Callable[[Organization], Awaitable[None]]
    drop_objects: Callable[[Organization], Awaitable[None]]
    """Deletes what object storage holds of an organization."""
    sealing: Sealing
    """How snapshots are sealed."""
    tidy_telemetry: Callable[[], Awaitable[int]]
    """Deletes logs and traces beyond their time."""
    drop_queue: Callable[[Connection, Organization], Awaitable[None]]
    """Deletes the organization's waiting work items."""


STEPS = ("make the staging database", "refresh the model", "tell the sync servers")
"""As the register has them."""


async def provision(work: ProvisioningWork, organization: Organization) -> None:
    """Make everything an organization needs, and start its recurring work.

    Errors: RetryLater, ProfileInvalid, SourceMisconfigured. Again is harmless: steps that are done are skipped.
    """
    if organization.state == "active":
        return
    organization = await work.servers.place(organization)
    done = await work.organizations.steps_done(organization)
    for name, step in zip(STEPS, (_make_database, _refresh_model, _announce), strict=True):
        if name not in done:
            await step(work, organization)
            await work.organizations.step_done(organization, name)
    await _activate(work, organization)


async def reschedule(work: ProvisioningWork, organization: Organization, scope: Scope) -> None:
    """Make the recurring work fit the scope, and pull what is new at once."""
    async with work.control.transaction() as connection:
        await set_schedule(connection, organization, recurring_work(scope, work.intervals))
        for entity in scope.entities:
            await work.defer(connection, WorkItem(WorkName.PULL, organization.name, entity.name))


def recurring_work(scope: Scope, intervals: Intervals) -> list[RecurringWork]:
    """Pulls of each staged entity, model refreshes, playback, sealing, and the moving of time windows."""
    pulls = [
        RecurringWork(WorkName.PULL, entity.name, _pull_seconds(scope, entity, intervals)) for entity in scope.entities
    ]
    windows = [RecurringWork(WorkName.MOVE_WINDOWS, "", intervals.window_seconds)] if scope.is_moving else []
    own = [
        RecurringWork(WorkName.REFRESH_MODEL, "", intervals.model_refresh_seconds),
        RecurringWork(WorkName.PLAYBACK, "", PLAYBACK_SECONDS),
        RecurringWork(WorkName.SEAL_SNAPSHOTS, "", intervals.seal_seconds),
    ]
    return [*own, *windows, *pulls]


def _pull_seconds(scope: Scope, entity: Entity, intervals: Intervals) -> float:
    minutes = scope.pull_minutes.get(entity.name)
    if minutes is not None:
        return minutes * 60.0
    is_cheap = entity.tracks_changes or entity.modified_attribute is not None
    return intervals.pull_seconds if is_cheap else intervals.full_read_seconds


async def _make_database(work: ProvisioningWork, organization: Organization) -> None:
    await work.databases.make(organization)
    async with work.databases.open(organization, pool_size=1) as database, database.transaction() as connection:
        await make_head(connection, new_epoch())


async def _refresh_model(work: ProvisioningWork, organization: Organization) -> None:
    await refresh_model(await work.open_work(organization), datetime.now(UTC))


async def _announce(work: ProvisioningWork, organization: Organization) -> None:
    await work.sync_servers.announce(organization.name)


async def _activate(work: ProvisioningWork, organization: Organization) -> None:
    """Order: state, schedule and first work items in one transaction - none without the others."""
    organization_work = await work.open_work(organization)
    async with organization_work.staging.connection() as connection:
        scope = await read_scope(connection)
    async with work.control.transaction() as connection:
        await set_schedule(connection, organization, recurring_work(scope, work.intervals))
        await set_state(connection, organization, "active")
        for entity in scope.entities:
            await work.defer(connection, WorkItem(WorkName.PULL, organization.name, entity.name))

"""Recurring work items of each organization: a table, so that a crash loses nothing and any process can go on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from satchel.database.pool import Connection, Database
from satchel.database.queries import load_queries
from satchel.model.work import WorkItem, WorkName
from satchel.provisioning.organizations import Organization

_SQL = load_queries(__file__)
DUE_LIMIT = 200


class RecurringWork(msgspec.Struct, frozen=True):
    """How often a work item comes again."""

    name: WorkName
    entity: str
    interval_seconds: float


async def set_schedule(connection: Connection, organization: Organization, work: Sequence[RecurringWork]) -> None:
    """Make these the organization's recurring work items; what stands keeps its next time."""
    for item in work:
        parameters = {
            "organization": organization.id,
            "work_item": item.name.value,
            "entity": item.entity,
            "interval_seconds": item.interval_seconds,
        }
        await connection.execute(_SQL["set"], parameters)
    kept = {"items": [item.name.value for item in work], "entities": [item.entity for item in work]}
    await connection.execute(_SQL["keep_only"], {"organization": organization.id, **kept})


async def clear_schedule(connection: Connection, organization: Organization) -> None:
    """Stop the organization's recurring work."""
    await connection.execute(_SQL["clear"], {"organization": organization.id})


async def take_due(connection: Connection) -> list[WorkItem]:
    """The work items that are due, to be deferred in this transaction."""
    rows = await (await connection.execute(_SQL["due"], {"limit": DUE_LIMIT})).fetchall()
    return [WorkItem(WorkName(name), organization, entity) for name, organization, entity in rows]


class Standing(msgspec.Struct, frozen=True):
    """How a recurring work item stands."""

    work_item: str
    entity: str
    interval_seconds: float
    next_at: datetime
    problem: str | None
    """Why it did not succeed the last time."""
    failing_since: datetime | None


async def standing_of(control: Database, organization: Organization) -> list[Standing]:
    """How an organization's recurring work stands."""
    return [Standing(*row) for row in await control.fetch(_SQL["of_organization"], {"organization": organization.id})]


async def all_failing_seconds(control: Database) -> float:
    """For how long all pulls have been failing; 0 where one succeeds."""
    return float((await control.fetch(_SQL["all_failing"]))[0][0])


async def succeeded(control: Database, item: WorkItem) -> None:
    """Note that a recurring work item is well (again)."""
    named = {"name": item.organization, "work_item": item.name.value, "entity": item.entity}
    await control.fetch(_SQL["succeeded"], named)


async def postpone(control: Database, item: WorkItem, seconds: float, problem: str) -> None:
    """Do not defer this item before so many seconds have passed, and note why it failed."""
    parameters = {
        "problem": problem[:500],
        "name": item.organization,
        "work_item": item.name.value,
        "entity": item.entity,
        "seconds": seconds,
    }
    await control.fetch(_SQL["postpone"], parameters)


async def hasten(control: Database, item: WorkItem, seconds: float) -> None:
    """Defer this item after so many seconds at the latest."""
    named = {"name": item.organization, "work_item": item.name.value, "entity": item.entity}
    await control.fetch(_SQL["hasten"], {**named, "seconds": seconds})

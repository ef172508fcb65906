"""Move time windows: rows go in and out of buckets as time passes, without a change at the source."""

from __future__ import annotations

from datetime import datetime

from satchel.buckets.assign import assign_reached, lock_head
from satchel.buckets.changed import begin_changes, take_moving
from satchel.buckets.families import family_ids
from satchel.jobs.organization import OrganizationWork
from satchel.staging.head import read_head, read_moment, read_scopes


async def move_windows(work: OrganizationWork, now: datetime) -> int:
    """Bring the organization's moment to now; returns how many ops that made.

    Order: moment, members and ops in one transaction under the write lock. Cost follows the rows whose times were
    passed. A clock that stands behind the moment changes nothing.
    """
    async with work.staging.transaction() as connection:
        await begin_changes(connection)
        op = await lock_head(connection)
        seconds = (now - await read_moment(connection)).total_seconds()
        if seconds <= 0:
            return 0
        scope = (await read_scopes(connection)).maintained
        if not await take_moving(connection, scope, seconds):
            return 0
        entities = {family.entity for family in scope.families}
        newest = await assign_reached(connection, scope, await family_ids(connection), entities, op)
        head = await read_head(connection)
    if newest != op:
        await work.notify(head)
    return newest - op

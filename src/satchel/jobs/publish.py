"""Bring compiled profiles into force: fill what is new beside what stands, then switch over in one transaction.

Until then devices get what they got before, and pulls maintain both. A crash anywhere resumes: what is prepared, how
far each family is filled, and what is in force stand in the staging database.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import structlog

from satchel.buckets.assign import Placed, assign_family, lock_head, raise_binding, set_head
from satchel.buckets.changed import begin_changes, take_chunk
from satchel.buckets.families import (
    StandingFamily,
    end_publishing,
    family_ids,
    make_families,
    retire_families,
    set_position,
    set_ready,
    standing_families,
    try_publishing,
)
from satchel.database.pool import Connection
from satchel.jobs.organization import OrganizationWork
from satchel.model.scope import Family, Scope
from satchel.staging.head import Scopes, has_scope, read_head, read_scopes, set_moment, set_next_scope, set_scope
from satchel.staging.schema import apply_entity, apply_indexes, drop_entity, note_unmaintained
from satchel.staging.watermark import being_read, read_watermark, start_over

log = structlog.get_logger()
FILL_CHUNK_ROWS = 20_000


async def prepare(work: OrganizationWork, scope: Scope, now: datetime) -> bool:
    """Stage what the scope needs and make its families; True where it is another than the one in force.

    Order: one transaction. Entities that are to be read again are, from the next pull on.
    """
    async with work.staging.transaction() as connection:
        await lock_head(connection)
        before = (await read_scopes(connection)) if await has_scope(connection) else None
        if before and (before.next or before.in_force) == scope:
            await _heal(connection, before)
            return before.next is not None
        standing = before.in_force if before else Scope()
        both = standing.together_with(scope)
        if before:
            await note_unmaintained(connection, before.maintained, both)
        for entity in both.entities:
            must_read_again = await apply_entity(connection, entity)
            stored = await read_watermark(connection, entity.name)
            if must_read_again and stored.watermark is not None:
                await start_over(connection, entity.name, version=stored.version)
        await apply_indexes(connection, both)
        await make_families(connection, both.families)
        if before is None:
            await _fill_at_once(connection, scope)
        await retire_families(connection, both.families)
        if not standing.is_moving:
            await set_moment(connection, now)
        if before is None or not before.in_force.entities:
            await set_scope(connection, scope)  # nobody holds anything yet: rows come as they are read
        else:
            await set_next_scope(connection, None if scope == before.in_force else scope)
    return True


async def _fill_at_once(connection: Connection, scope: Scope) -> None:
    """After an upgrade from a version that compiled otherwise: devices are to see no state in between."""
    await begin_changes(connection)
    before = op = await lock_head(connection)
    ids = await family_ids(connection)
    for family in scope.families:
        last_row: int | None = 0
        while last_row is not None:
            last_row = await take_chunk(connection, family.entity, last_row, FILL_CHUNK_ROWS)
            op = (await assign_family(connection, scope, family, ids, op)).op
            await connection.execute("truncate changed")
        await set_ready(connection, ids[family.name])
    await set_head(connection, before, Placed(op, is_for_all=True))


async def bring_into_force(work: OrganizationWork) -> bool:
    """Fill what is new and, where everything is there, switch over; True where the scope in force changed.

    Errors: RetryLater. Called again after every pull while a scope is in preparation.
    """
    async with work.staging.connection() as guard:
        if not await try_publishing(guard):
            return False  # somebody else is at it; the next pull looks again
        try:
            return await _fill_and_switch(work)
        finally:
            await end_publishing(guard)


async def _fill_and_switch(work: OrganizationWork) -> bool:
    async with work.staging.connection() as connection:
        scopes = await read_scopes(connection)
        waiting = await being_read(connection, _changed_entities(scopes))
    if waiting:
        return False
    await _fill(work, scopes.maintained)
    if scopes.next is None:
        return False
    async with work.staging.transaction() as connection:
        await lock_head(connection)
        if (await read_scopes(connection)).version != scopes.version:
            return False  # published anew meanwhile
        await _switch(connection, scopes.next)
        head = await read_head(connection)
    log.info("profiles in force", organization=work.organization.name, model=head.model_digest)
    await work.notify(head)
    return True


def _changed_entities(scopes: Scopes) -> Iterable[str]:
    """Entities that stood already, and must have been read with their new attributes before anyone gets them."""
    if scopes.next is None:
        return ()
    return [entity.name for entity in scopes.in_force.entities if entity.name in scopes.next.entity_by_name]


async def _switch(connection: Connection, scope: Scope) -> None:
    """Order: the caller's transaction; devices see all of it or nothing."""
    maintained = (await read_scopes(connection)).maintained
    for gone in sorted(maintained.entity_by_name.keys() - scope.entity_by_name.keys()):
        await drop_entity(connection, gone)
    await note_unmaintained(connection, maintained, scope)
    await retire_families(connection, scope.families)
    await set_scope(connection, scope)


async def _heal(connection: Connection, scopes: Scopes) -> None:
    """Make again what an entity that was rebuilt took with it."""
    for entity in scopes.maintained.entities:
        await apply_entity(connection, entity)
    await make_families(connection, scopes.maintained.families)


async def _fill(work: OrganizationWork, scope: Scope) -> None:
    """Fill new families chunk by chunk, sources first."""
    async with work.staging.connection() as connection:
        standing = await standing_families(connection)
    for family in scope.families:
        known = standing.get(family.name)
        if known is not None and known.state == "filling":
            await _fill_family(work, scope, family, known)


async def _fill_family(work: OrganizationWork, scope: Scope, family: Family, standing: StandingFamily) -> None:
    last_row: int | None = standing.position
    filled = 0
    while last_row is not None:
        async with work.staging.transaction() as connection:
            await begin_changes(connection)
            op = await lock_head(connection)
            ids = await family_ids(connection)
            if ids.get(family.name) != standing.id:
                return  # retired meanwhile
            last_row = await take_chunk(connection, family.entity, last_row, FILL_CHUNK_ROWS)
            newest = (await assign_family(connection, scope, family, ids, op)).op
            await set_head(connection, op, Placed(newest))  # nobody is bound to it yet
            if last_row is None:
                await set_ready(connection, standing.id)
                await raise_binding(connection)
            else:
                await set_position(connection, standing.id, last_row)
            head = await read_head(connection)
        filled += newest - op
        await work.notify(head)
    log.info("family filled", organization=work.organization.name, entity=family.entity, members=filled)

"""Refresh the model: metadata and profile become staging schema, families and client model, in one transaction."""

from __future__ import annotations

import structlog

from satchel.access.profiles import parse_profile
from satchel.access.scope import compile_profile, entity_names
from satchel.buckets.assign import assign_changed, lock_head, raise_binding, take_chunk
from satchel.buckets.families import StandingFamily, apply_families, set_ready, standing_families
from satchel.database.pool import Connection
from satchel.jobs.organization import OrganizationWork
from satchel.model.scope import Family, Scope
from satchel.staging.head import Head, read_head, read_scope, store_scope
from satchel.staging.rows import begin_changes
from satchel.staging.schema import apply_entity, drop_entity
from satchel.staging.watermark import read_watermark, start_over

log = structlog.get_logger()
FILL_CHUNK_ROWS = 20_000


async def refresh_model(work: OrganizationWork) -> tuple[Scope, bool]:
    """Bring the staging database to the source's metadata and the organization's profile.

    Returns the scope in force, and whether it differs from the one before.
    Errors: ProfileInvalid (the scope in force stays as it was), RetryLater.
    """
    profile = parse_profile(work.organization.profile)
    kind = work.organization.source_kind
    metadata = await work.source.metadata(entity_names(profile, kind))
    scope = compile_profile(profile, metadata, kind)
    async with work.staging.transaction() as connection:
        await lock_head(connection)
        is_changed = await _apply(connection, scope)
        head = await read_head(connection)
    if is_changed:
        log.info("client model changed", organization=work.organization.name, model=scope.client_model.digest)
        await work.notify(head)
    await _fill_families(work, scope)
    return scope, is_changed


async def _apply(connection: Connection, scope: Scope) -> bool:
    before = await read_scope(connection)
    for gone in sorted(before.entity_by_name.keys() - scope.entity_by_name.keys()):
        await drop_entity(connection, gone)
    for entity in scope.entities:
        must_read_again = await apply_entity(connection, entity)
        stored = await read_watermark(connection, entity.name)
        if must_read_again and stored.watermark is not None:
            await start_over(connection, entity.name, version=stored.version)
    await apply_families(connection, scope.families)
    return await store_scope(connection, scope)


async def _fill_families(work: OrganizationWork, scope: Scope) -> None:
    """Fill new families chunk by chunk; users are bound to one when all of it is there.

    A crash in between leaves it unbound, and the next refresh fills it anew.
    """
    async with work.staging.connection() as connection:
        standing = await standing_families(connection)
    for family in scope.families:
        known = standing[family.entity, family.name]
        if known.state == "filling":
            await work.notify(await _fill(work, scope, family, known))


async def _fill(work: OrganizationWork, scope: Scope, family: Family, standing: StandingFamily) -> Head:
    entity = scope.entity_by_name[family.entity]
    last_row: int | None = 0
    while last_row is not None:
        async with work.staging.transaction() as connection:
            await begin_changes(connection)
            op = await lock_head(connection)
            last_row = await take_chunk(connection, entity, last_row, FILL_CHUNK_ROWS)
            await assign_changed(connection, entity, {standing.id: family}, op)
            if last_row is None:
                await set_ready(connection, standing.id)
                await raise_binding(connection)
            head = await read_head(connection)
    return head

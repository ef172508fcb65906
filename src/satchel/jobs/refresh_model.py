"""Refresh the model: metadata and profiles become staging schema, families and client model."""

from __future__ import annotations

from datetime import datetime

from satchel.access.profiles import parse_profile
from satchel.access.scope import compile_profiles, entity_names
from satchel.jobs.organization import OrganizationWork
from satchel.jobs.publish import bring_into_force, prepare
from satchel.model.scope import Scope
from satchel.staging.abilities import save_abilities
from satchel.staging.head import read_scopes


async def refresh_model(work: OrganizationWork, now: datetime) -> tuple[Scope, bool]:
    """Bring the staging database to the source's metadata and the organization's profiles.

    Returns what is staged now, and whether something changed.
    Errors: ProfileInvalid (the scope in force stays as it was), RetryLater.
    """
    profiles = [parse_profile(text) for text in work.organization.profiles]
    kind = work.organization.source_kind
    metadata = await work.source.metadata(entity_names(profiles, kind))
    is_changed = await prepare(work, compile_profiles(profiles, metadata, kind), now)
    is_changed = await bring_into_force(work) or is_changed
    async with work.staging.connection() as connection:
        scope = (await read_scopes(connection)).maintained
    abilities = await work.source.abilities(scope.entities)
    async with work.staging.transaction() as connection:
        await save_abilities(connection, abilities)
    return scope, is_changed

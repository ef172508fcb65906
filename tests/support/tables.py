"""A small organization to stage rows for, without a source: entities, a scope, and ways to change rows."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from satchel.buckets.assign import assign_changed, lock_head, raise_binding
from satchel.buckets.families import apply_families, set_ready, standing_families
from satchel.database.pool import Connection, Database
from satchel.model.client_model import ClientAttribute, ClientEntity, ClientModel
from satchel.model.ids import Key
from satchel.model.metadata import Attribute, AttributeType, Entity
from satchel.model.scope import Binding, BoundBy, Family, Principals, Scope
from satchel.staging.head import make_head, store_scope
from satchel.staging.rows import begin_changes, remove_rows, stage_rows
from satchel.staging.schema import apply_entity
from satchel.staging.watermark import read_watermark

GUID, STRING, MONEY = AttributeType.GUID, AttributeType.STRING, AttributeType.MONEY


def entity(name: str, key: Sequence[str] = ("id",), /, **attributes: AttributeType) -> Entity:
    """An entity whose wire names are its names."""
    return Entity(
        name=name,
        set_name=f"{name}s",
        key=tuple(key),
        attributes=tuple(Attribute(name=a, wire_name=a, type=kind) for a, kind in attributes.items()),
    )


CONTACT = entity("contact", id=GUID, name=STRING, credit=MONEY, owner=GUID, unit=GUID)
PRODUCT = entity("product", ("code", "size"), code=STRING, size=AttributeType.INTEGER, name=STRING)
USER = entity("user", id=GUID, name=STRING, unit=GUID, disabled=AttributeType.BOOLEAN)
MEMBERSHIP = entity("membership", id=GUID, user=GUID, team=GUID)
PRINCIPALS = Principals("user", "name", "unit", "disabled", "membership", "user", "team")
BY_OWNER, BY_UNIT, ALL_PRODUCTS = Family("contact", "owner"), Family("contact", "unit"), Family("product")
ALL_BINDINGS = (
    Binding(BY_OWNER, BoundBy.USER),
    Binding(BY_OWNER, BoundBy.TEAMS),
    Binding(BY_UNIT, BoundBy.UNIT),
    Binding(ALL_PRODUCTS, BoundBy.EVERYONE),
)


def client_entity(staged: Entity) -> ClientEntity:
    """The entity as a device sees it, with all attributes."""
    return ClientEntity(
        name=staged.name,
        key=staged.key,
        attributes=tuple(ClientAttribute(name=a.name, type=a.type) for a in staged.attributes),
    )


def scope_of(bindings: Sequence[Binding] = ALL_BINDINGS) -> Scope:
    """The organization's scope."""
    model = ClientModel((client_entity(CONTACT), client_entity(PRODUCT)))
    return Scope((CONTACT, PRODUCT, USER, MEMBERSHIP), tuple(bindings), PRINCIPALS, model)


async def set_up(database: Database, scope: Scope) -> None:
    """Make tables, families and head, as provisioning and a model refresh do."""
    async with database.transaction() as connection:
        await make_head(connection, uuid.uuid4().hex)
        for staged in scope.entities:
            await apply_entity(connection, staged)
            await read_watermark(connection, staged.name)
        await apply_families(connection, scope.families)
        for family in (await standing_families(connection)).values():
            await set_ready(connection, family.id)
        await store_scope(connection, scope)


async def change(
    database: Database,
    scope: Scope,
    staged: Entity,
    rows: Sequence[Mapping[str, Any]] = (),
    removed: Sequence[Key] = (),
) -> int:
    """Stage a page and make its ops, as a pull does; returns how many rows changed."""
    async with database.transaction() as connection:
        return await _apply(connection, scope, staged, rows, removed)


async def _apply(
    connection: Connection, scope: Scope, staged: Entity, rows: Sequence[Mapping[str, Any]], removed: Sequence[Key]
) -> int:
    await begin_changes(connection)
    changed = await stage_rows(connection, staged, json.dumps(list(rows)).encode()) if rows else 0
    changed += await remove_rows(connection, staged, removed)
    op = await lock_head(connection)
    standing = await standing_families(connection)
    families = {standing[f.entity, f.name].id: f for f in scope.families if f.entity == staged.name}
    await assign_changed(connection, staged, families, op)
    if changed and staged.name in PRINCIPALS.entities:
        await raise_binding(connection)
    return changed

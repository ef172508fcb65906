"""The staging tables follow the metadata: additive changes in place, breaking ones by a rebuild of that entity only."""

from __future__ import annotations

import hashlib

from psycopg import sql

from satchel.database.columns import column_name, key_columns, postgres_type, table, table_name
from satchel.database.pool import Connection
from satchel.model.metadata import Entity
from satchel.model.scope import Scope

_INTERNAL_COLUMNS = sql.SQL(
    "_row bigint primary key default nextval('satchel.row_id'), _etag text, _live boolean not null default true"
)


async def apply_entity(connection: Connection, entity: Entity) -> bool:
    """Bring the entity's table to its metadata; True where rows must be read again from the source.

    Order: part of the caller's transaction. A column that is no longer needed is kept until the table is rebuilt: old
    readers may still name it. Where it comes back, its rows are read again (`note_unmaintained`).
    """
    standing = await _standing_columns(connection, entity)
    wanted = {column_name(a.name): postgres_type(a).as_string(None) for a in entity.attributes}
    if not standing:
        await _create(connection, entity)
        return True
    is_breaking = any(name in standing and standing[name] != kind for name, kind in wanted.items())
    if is_breaking or await _standing_key(connection, entity) != [column_name(name) for name in entity.key]:
        await drop_entity(connection, entity.name)
        await _create(connection, entity)
        return True
    added = [a for a in entity.attributes if column_name(a.name) not in standing]
    for attribute in added:
        statement = sql.SQL("alter table {} add column {} {}")
        name = sql.Identifier(column_name(attribute.name))
        await connection.execute(statement.format(table(entity.name), name, postgres_type(attribute)))
    revived = await connection.execute(
        "delete from satchel.unmaintained where entity = %s and attribute = any(%s)",
        [entity.name, [attribute.name for attribute in entity.attributes]],
    )
    return bool(added) or revived.rowcount > 0


async def note_unmaintained(connection: Connection, before: Scope, after: Scope) -> None:
    """Note the columns that pulls fill no more, now that they follow another scope. Order: the caller's transaction."""
    for entity in before.entities:
        kept = after.entity_by_name.get(entity.name)
        if kept is not None:
            gone = [a.name for a in entity.attributes if a.name not in kept.attribute_by_name]
            await connection.execute(
                "insert into satchel.unmaintained select %s, unnest(%s::text[]) on conflict do nothing",
                [entity.name, gone],
            )


async def apply_indexes(connection: Connection, scope: Scope) -> None:
    """Index the attributes by which changes find the rows they reach."""
    for entity, attribute in sorted(scope.indexed):
        staged = scope.entity_by_name.get(entity)
        if staged is None or attribute not in staged.attribute_by_name or staged.key == (attribute,):
            continue
        name = hashlib.sha256(f"{entity}/{attribute}".encode()).hexdigest()[:16]
        await connection.execute(
            sql.SQL("create index if not exists {} on {} ({})").format(
                sql.Identifier(f"reach_{name}"), table(entity), _name(attribute)
            )
        )


async def unstaged(connection: Connection, scope: Scope) -> list[tuple[str, str]]:
    """Attributes (entity, attribute) the scope needs that have no column yet."""
    found = []
    for entity in scope.entities:
        standing = await _standing_columns(connection, entity)
        found += [(entity.name, a.name) for a in entity.attributes if column_name(a.name) not in standing]
    return found


async def drop_entity(connection: Connection, entity: str) -> None:
    """Drop the entity's table, its members and its watermark.

    The members of its buckets go as well: devices that hold them are told to drop the whole entity.
    """
    await connection.execute("delete from satchel.family where entity = %s", [entity])
    await connection.execute("delete from satchel.watermark where entity = %s", [entity])
    await connection.execute("delete from satchel.unmaintained where entity = %s", [entity])
    await connection.execute(sql.SQL("drop table if exists {}").format(table(entity)))


async def _create(connection: Connection, entity: Entity) -> None:
    columns = [sql.SQL("{} {}").format(_name(a.name), postgres_type(a)) for a in entity.attributes]
    statement = sql.SQL("create table {} ({}, {}, unique ({}))").format(
        table(entity.name), _INTERNAL_COLUMNS, sql.SQL(", ").join(columns), sql.SQL(", ").join(key_columns(entity))
    )
    await connection.execute(statement)


def _name(attribute: str) -> sql.Identifier:
    return sql.Identifier(column_name(attribute))


async def _standing_columns(connection: Connection, entity: Entity) -> dict[str, str]:
    cursor = await connection.execute(
        "select column_name, case data_type when 'timestamp with time zone' then 'timestamptz'"
        " when 'time without time zone' then 'time' else data_type end"
        " from information_schema.columns where table_schema = 'staging' and table_name = %s"
        " and column_name not in ('_row', '_etag', '_live')",
        [table_name(entity.name)],
    )
    return dict(await cursor.fetchall())


async def _standing_key(connection: Connection, entity: Entity) -> list[str]:
    cursor = await connection.execute(
        "select a.attname from pg_constraint c"
        " join pg_class t on t.oid = c.conrelid join pg_namespace n on n.oid = t.relnamespace"
        " cross join unnest(c.conkey) with ordinality as k (number, place)"
        " join pg_attribute a on a.attrelid = t.oid and a.attnum = k.number"
        " where n.nspname = 'staging' and t.relname = %s and c.contype = 'u' order by k.place",
        [table_name(entity.name)],
    )
    return [row[0] for row in await cursor.fetchall()]

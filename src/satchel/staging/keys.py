"""Comparing keys with the source: which rows are missing here, which are gone there."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from satchel.database.columns import key_columns, table
from satchel.database.pool import Connection
from satchel.model.ids import Key
from satchel.model.metadata import Entity


async def forget_keys(connection: Connection, entity: Entity) -> None:
    """Drop the keys of an earlier comparison."""
    await connection.execute("delete from satchel.source_key where entity = %s", [entity.name])


async def keep_keys(connection: Connection, entity: Entity, keys: Sequence[Key]) -> None:
    """Keep a page of the source's keys."""
    async with connection.cursor() as cursor, cursor.copy("copy satchel.source_key (entity, key) from stdin") as copy:
        for key in keys:
            await copy.write_row((entity.name, list(key)))


async def compare_keys(connection: Connection, entity: Entity) -> tuple[list[Key], list[Key]]:
    """Keys that the source has and staging lacks, and the reverse."""
    own = sql.SQL("array[{}]").format(
        sql.SQL(", ").join(sql.SQL("{}::text").format(name) for name in key_columns(entity, of="t"))
    )
    missing = sql.SQL(
        "select distinct s.key from satchel.source_key s where s.entity = %s"
        " and not exists (select from {table} t where t._live and {own} = s.key)"
    )
    surplus = sql.SQL(
        "select {own} from {table} t where t._live"
        " and not exists (select from satchel.source_key s where s.entity = %s and s.key = {own})"
    )
    found = []
    for statement in (missing, surplus):
        cursor = await connection.execute(statement.format(table=table(entity.name), own=own), [entity.name])
        found.append([tuple(row[0]) for row in await cursor.fetchall()])
    return found[0], found[1]

"""Comparing keys with the source: which rows are missing here, which are gone there.

The source's keys stand in a temporary table: nothing is logged, and nothing is left of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from satchel.database.columns import key_parts, table
from satchel.database.pool import Connection
from satchel.model.ids import Key
from satchel.model.metadata import Entity


async def begin_keys(connection: Connection, entity: Entity) -> None:
    """Make the (empty) table of a comparison; it lasts as long as the connection, or until `end_keys`."""
    await end_keys(connection)
    columns = sql.SQL(", ").join(sql.SQL("{} text").format(name) for name in _parts(entity))
    await connection.execute(sql.SQL("create temp table source_key ({})").format(columns))


async def keep_keys(connection: Connection, entity: Entity, keys: Sequence[Key]) -> None:
    """Keep a page of the source's keys."""
    async with connection.cursor() as cursor, cursor.copy("copy source_key from stdin") as copy:
        for key in keys:
            await copy.write_row(key)


async def compare_keys(connection: Connection, entity: Entity) -> tuple[list[Key], list[Key]]:
    """Keys that the source has and staging lacks, and the reverse. Cost: two hash joins."""
    await connection.execute("analyze source_key")
    names = {
        "own": sql.SQL(", ").join(key_parts(entity, of="t")),
        "theirs": sql.SQL(", ").join(sql.SQL("s.{}").format(name) for name in _parts(entity)),
        "same": sql.SQL(" and ").join(
            sql.SQL("{} = s.{}").format(own, part)
            for own, part in zip(key_parts(entity, of="t"), _parts(entity), strict=True)
        ),
        "table": table(entity.name),
    }
    missing = sql.SQL(
        "select distinct {theirs} from source_key s where not exists (select from {table} t where t._live and {same})"
    )
    surplus = sql.SQL(
        "select {own} from {table} t where t._live and not exists (select from source_key s where {same})"
    )
    found = []
    for statement in (missing, surplus):
        cursor = await connection.execute(statement.format(**names))
        found.append([tuple(row) for row in await cursor.fetchall()])
    return found[0], found[1]


async def end_keys(connection: Connection) -> None:
    """Drop the keys."""
    await connection.execute("set client_min_messages = warning")
    await connection.execute("drop table if exists source_key")


def _parts(entity: Entity) -> list[sql.Identifier]:
    return [sql.Identifier(f"k{place}") for place in range(len(entity.key))]

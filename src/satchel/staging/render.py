"""Staged rows as the JSON that goes to devices, made by PostgreSQL in ready-made text."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from psycopg import sql

from satchel.database.columns import key_columns, key_json, ordered_key, row_json, table, wire_values
from satchel.database.pool import Connection
from satchel.model.ids import BucketId
from satchel.model.metadata import Entity


async def render_rows(
    connection: Connection, entity: Entity, attributes: Sequence[str], row_ids: Sequence[int], *, rows_per_line: int
) -> list[tuple[int, str]]:
    """JSON arrays of these rows sorted by key, joined by commas: one (row count, text) a line. Cost: one query."""
    if not row_ids:
        return []
    statement = _rows_statement(msgspec.json.encode(entity), tuple(attributes))
    cursor = await connection.execute(statement, {"ids": list(row_ids), "per_line": rows_per_line})
    return [(count, text) for count, text in await cursor.fetchall()]


async def row_texts(
    connection: Connection, entity: Entity, attributes: Sequence[str], row_ids: Sequence[int]
) -> dict[int, str]:
    """Each of these rows that is there as a JSON array, by id, in the order of their keys. Cost: one query."""
    if not row_ids:
        return {}
    statement = sql.SQL("select t._row, {row} from {table} t where t._row = any(%s) and t._live order by {key}").format(
        row=row_json(entity, attributes, of="t"),
        table=table(entity.name),
        key=sql.SQL(", ").join(key_columns(entity, of="t")),
    )
    return dict(await (await connection.execute(statement, [list(row_ids)])).fetchall())


async def row_bytes(connection: Connection, entity: Entity, sample: int = 500) -> float:
    """About how many bytes a row of the entity has as JSON, by a sample."""
    statement = sql.SQL("select avg(length({row})) from (select * from {table} where _live limit %s) t").format(
        row=row_json(entity, [a.name for a in entity.attributes], of="t"), table=table(entity.name)
    )
    found = await (await connection.execute(statement, [sample])).fetchone()
    return float(found[0] or 0) if found else 0.0


async def render_keys(connection: Connection, entity: Entity, row_ids: Sequence[int]) -> list[str]:
    """The keys of these rows as JSON, also of rows that are gone."""
    return list((await key_texts(connection, entity, row_ids)).values())


async def key_texts(connection: Connection, entity: Entity, row_ids: Sequence[int]) -> dict[int, str]:
    """The keys of these rows as JSON, by row id."""
    if not row_ids:
        return {}
    statement = sql.SQL("select t._row, {} from {} t where t._row = any(%s)").format(
        key_json(entity, of="t"), table(entity.name)
    )
    return dict(await (await connection.execute(statement, [list(row_ids)])).fetchall())


async def read_bucket(
    connection: Connection, entity: Entity, attributes: Sequence[str], bucket: BucketId, *, rows_at_once: int
) -> AsyncIterator[list[tuple[Any, ...]]]:
    """All rows of a bucket in wire values, sorted by key, so many at once; the parts of the key as text stand behind.

    Order: inside the caller's transaction, of which it is a snapshot.
    """
    texts = ordered_key(entity, of="t")
    statement = sql.SQL(
        "select {values} from satchel.member m join {table} t on t._row = m.row_id and t._live"
        " where m.bucket = %s and m.is_live order by {order}"
    ).format(
        values=sql.SQL(", ").join([*wire_values(entity, attributes, of="t"), *texts]),
        table=table(entity.name),
        order=sql.SQL(", ").join(texts),
    )
    async with connection.cursor(name="bucket") as cursor:
        await cursor.execute(statement, [bucket])
        while rows := await cursor.fetchmany(rows_at_once):
            yield rows


async def read_keys(
    connection: Connection, entity: Entity, row_ids: Sequence[int]
) -> list[tuple[tuple[str, ...], tuple[Any, ...]]]:
    """The keys of these rows, also of rows that are gone: parts as text, and in wire values."""
    parts = [*ordered_key(entity, of="t"), *wire_values(entity, entity.key, of="t")]
    statement = sql.SQL("select {} from {} t where t._row = any(%s)").format(
        sql.SQL(", ").join(parts), table(entity.name)
    )
    rows = await (await connection.execute(statement, [list(row_ids)])).fetchall()
    count = len(entity.key)
    return [(row[:count], row[count:]) for row in rows]


@lru_cache(maxsize=512)
def _rows_statement(entity_json: bytes, attributes: tuple[str, ...]) -> sql.Composed:
    entity = msgspec.json.decode(entity_json, type=Entity)
    key = sql.SQL(", ").join(key_columns(entity, of="t"))
    return sql.SQL("""
        with numbered as materialized (
            select {row} as text, (row_number() over (order by {key}) - 1) / %(per_line)s as line
            from {table} t where t._row = any(%(ids)s::bigint[]) and t._live
        )
        select count(*), string_agg(text, ',') from numbered group by line order by line
    """).format(row=row_json(entity, attributes, of="t"), key=key, table=table(entity.name))

"""A page of the source becomes staged rows: set-based, PostgreSQL decodes the JSON.

What changed is left in the temporary table `changed` for `buckets/` to assign, in the same transaction.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import msgspec
import psycopg
from psycopg import sql

from satchel.database.columns import column, key_columns, postgres_type, table, wire_column
from satchel.database.pool import Connection
from satchel.model.ids import Key
from satchel.model.metadata import Entity

# A NUL cannot stand in PostgreSQL text; the lookbehind keeps an escaped backslash before "u0000" from counting.
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")
_REPLACEMENT = rb"\1\\ufffd"
_NOTHING = [sql.SQL("null").format()]  # an entity may have nothing but its key


async def stage_rows(connection: Connection, entity: Entity, rows: bytes, watched: Sequence[str] = ()) -> int:
    """Insert or update the rows of a JSON array; returns how many differ from what stood there.

    Order: part of the caller's transaction, after `begin_changes`. Of watched attributes the old values are noted:
    other rows' buckets depend on them. A row that comes twice counts once, the last one wins. A row that cannot be
    staged is set aside in `satchel.unusable_row`; the others go on.
    """
    if b"\\u0000" in rows:
        rows = _NUL.sub(_REPLACEMENT, rows)
    rows = _with_short_names(entity, rows)
    try:
        async with connection.transaction():
            cursor = await connection.execute(_upsert(entity, watched), {"rows": rows.decode()})
            return cursor.rowcount
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        return await _stage_halves(connection, entity, rows, watched, error)


async def remove_rows(connection: Connection, entity: Entity, keys: Sequence[Key], watched: Sequence[str] = ()) -> int:
    """Remove rows by key; returns how many stood there. The row keeps its key until its tombstones retire."""
    if not keys:
        return 0
    parts = [list(part) for part in zip(*keys, strict=True)]
    cursor = await connection.execute(_remove(entity, watched), parts)
    return cursor.rowcount


async def find_row(connection: Connection, entity: Entity, key: Sequence[str]) -> int | None:
    """The row's id by its key, as text; None where there is none."""
    if len(key) != len(entity.key):
        return None
    same = [sql.SQL("lower({}::text) = lower(%s)").format(name) for name in key_columns(entity, of="t")]
    statement = sql.SQL("select t._row from {} t where t._live and {}").format(
        table(entity.name), sql.SQL(" and ").join(same)
    )
    row = await (await connection.execute(statement, list(key))).fetchone()
    return int(row[0]) if row else None


async def staged_count(connection: Connection, entity: str) -> int:
    """How many rows the entity has."""
    row = await (
        await connection.execute(sql.SQL("select count(*) from {} where _live").format(table(entity)))
    ).fetchone()
    return int(row[0]) if row else 0


async def unusable_counts(connection: Connection) -> dict[str, int]:
    """How many rows of each entity could not be staged; entities without such rows are left out."""
    cursor = await connection.execute("select entity, count(*) from satchel.unusable_row group by 1 order by 1")
    return dict(await cursor.fetchall())


async def unusable_count(connection: Connection, entity: str) -> int:
    """How many rows of the entity were set aside."""
    cursor = await connection.execute("select count(*) from satchel.unusable_row where entity = %s", [entity])
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


def _with_short_names(entity: Entity, rows: bytes) -> bytes:
    """Properties whose names PostgreSQL would cut off get short ones (annotations of lookups are that long)."""
    for attribute in entity.attributes:
        short = wire_column(attribute)
        if short != attribute.wire_name:
            # Inside of a JSON string a quote stands behind a backslash, so only a property's name can match.
            name = re.escape(attribute.wire_name.encode())
            rows = re.sub(rb'"' + name + rb'"(?=\s*:)', b'"' + short.encode() + b'"', rows)
    return rows


async def _stage_halves(
    connection: Connection, entity: Entity, rows: bytes, watched: Sequence[str], error: psycopg.Error
) -> int:
    """Narrow down to the row that cannot be staged, and set that one aside."""
    items = msgspec.json.decode(rows, type=list[msgspec.Raw])
    if len(items) == 1:
        await _set_aside(connection, entity, bytes(items[0]), error)
        return 0
    middle = len(items) // 2
    changed = 0
    for half in (items[:middle], items[middle:]):
        changed += await stage_rows(connection, entity, b"[" + b",".join(half) + b"]", watched)
    return changed


async def _set_aside(connection: Connection, entity: Entity, row: bytes, error: psycopg.Error) -> None:
    values = msgspec.json.decode(row)
    wire_names = [entity.attribute_by_name[name].wire_name for name in entity.key]
    key = ",".join(str(values.get(name)) for name in wire_names)
    reason = (error.diag.message_primary or "cannot be staged").split(":")[0]  # the part behind it is row content
    await connection.execute(
        "insert into satchel.unusable_row (entity, key, reason) values (%s, %s, %s)"
        " on conflict (entity, key) do update set reason = excluded.reason, seen_at = now()",
        [entity.name, key[:400], reason],
    )


@lru_cache(maxsize=512)
def _upsert_text(entity_json: bytes, watched: tuple[str, ...]) -> sql.Composed:
    entity = msgspec.json.decode(entity_json, type=Entity)
    attributes = entity.attributes
    names = [column(a.name) for a in attributes]
    data = [column(a.name) for a in attributes if a.name not in entity.key]
    listed = sql.SQL(", ").join
    declared = [sql.SQL("{} {}").format(sql.Identifier(wire_column(a)), postgres_type(a)) for a in attributes]
    stored = listed([sql.SQL("t.{}").format(name) for name in data] or _NOTHING)
    given = listed([sql.SQL("i.{}").format(name) for name in data] or _NOTHING)
    return _UPSERT.format(
        table=table(entity.name),
        columns=listed(names),
        declared=listed(declared),
        key=listed(key_columns(entity)),
        same_key=sql.SQL(" and ").join(sql.SQL("t.{0} = i.{0}").format(name) for name in key_columns(entity)),
        assignments=listed([sql.SQL("{0} = excluded.{0}").format(n) for n in (*data, sql.Identifier("_etag"))]),
        stored=stored,
        given=given,
        noted=_noted(entity, "written", watched),
        excluded=listed([sql.SQL("excluded.{}").format(name) for name in data] or _NOTHING),
    )


def _upsert(entity: Entity, watched: Sequence[str]) -> sql.Composed:
    return _upsert_text(msgspec.json.encode(entity), tuple(watched))


def _noted(entity: Entity, rows: str, watched: Sequence[str]) -> sql.Composed:
    """Put rows into `changed`. The statement still sees the table as it was: that is where old values come from."""
    if not watched:
        return sql.SQL(
            "insert into changed (row_id, entity, is_content) select _row, {}, true from {} on conflict do nothing"
        ).format(sql.Literal(entity.name), sql.SQL(rows))
    return sql.SQL(
        "insert into changed (row_id, entity, is_content, was_live, old)"
        " select w._row, {entity}, true, coalesce(o._live, false), array[{old}]::text[]"
        " from {rows} w left join {table} o on o._row = w._row on conflict do nothing"
    ).format(
        entity=sql.Literal(entity.name),
        old=sql.SQL(", ").join(sql.SQL("{}::text").format(column(name, of="o")) for name in watched),
        rows=sql.SQL(rows),
        table=table(entity.name),
    )


# `touched`: the source gave a new ETag but nothing we hold changed - keep the ETag, tell no device.
_UPSERT = sql.SQL("""
with incoming as materialized (
    select distinct on ({key}) {columns}, _etag
    from rows from (json_to_recordset(%(rows)s::json) as ({declared}, "@odata.etag" text))
        with ordinality as x ({columns}, _etag, _place)
    order by {key}, _place desc
), touched as (
    update {table} t set _etag = i._etag from incoming i
    where {same_key} and t._live and t._etag is distinct from i._etag and ({stored}) is not distinct from ({given})
), written as (
    insert into {table} as t ({columns}, _etag) select {columns}, _etag from incoming
    on conflict ({key}) do update set {assignments}, _live = true
    where not t._live or ({stored}) is distinct from ({excluded})
    returning t._row
)
{noted}
""")


def _remove(entity: Entity, watched: Sequence[str]) -> sql.Composed:
    kinds = [postgres_type(entity.attribute_by_name[name]) for name in entity.key]
    data = [column(a.name) for a in entity.attributes if a.name not in entity.key]
    names = [sql.Identifier(f"k{i}") for i in range(len(kinds))]
    same = [
        sql.SQL("t.{} = k.{}::{}").format(own, name, kind)
        for own, name, kind in zip(key_columns(entity), names, kinds, strict=True)
    ]
    return sql.SQL("""
        with gone as (
            update {table} t set {emptied} _etag = null, _live = false
            from unnest({arrays}) as k ({names}) where {same} and t._live returning t._row
        )
        {noted}
    """).format(
        noted=_noted(entity, "gone", watched),
        table=table(entity.name),
        emptied=sql.SQL("").join(sql.SQL("{} = null, ").format(name) for name in data),
        arrays=sql.SQL(", ").join([sql.SQL("%s::text[]")] * len(kinds)),
        names=sql.SQL(", ").join(names),
        same=sql.SQL(" and ").join(same),
    )

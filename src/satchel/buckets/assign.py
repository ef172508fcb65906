"""Assign changed rows to buckets: membership is recomputed for the rows in `changed`, differences become ops.

One statement, set-based, in the transaction that changed the rows and under the organization's write lock. Cost follows
the change, not the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psycopg import sql

from satchel.database.columns import column, table
from satchel.database.pool import Connection
from satchel.model.ids import OpId
from satchel.model.metadata import Entity
from satchel.model.scope import Family

_WANTED = sql.SQL(
    "select {family}::integer as family, {key} as key, t._row as row_id"
    " from changed c join {table} t on t._row = c.row_id where t._live{has_key}"
)

# `placed`: where the changed rows belong now - each is told anew, its content changed. `gone`: where they no longer do.
_ASSIGN = sql.SQL("""
with wanted as materialized ({wanted}),
made as (
    insert into satchel.bucket (family, key)
    select distinct w.family, w.key from wanted w
    where not exists (select from satchel.bucket b where b.family = w.family and b.key = w.key)
    returning id, family, key
),
placed as materialized (
    select coalesce(b.id, m.id) as bucket, w.row_id
    from wanted w
    left join satchel.bucket b on b.family = w.family and b.key = w.key
    left join made m on m.family = w.family and m.key = w.key
),
gone as (
    select m.bucket, m.row_id
    from changed c
    join satchel.member m on m.row_id = c.row_id and m.is_live
    join satchel.bucket b on b.id = m.bucket and b.family = any(%(families)s)
    where not exists (select from placed p where p.bucket = m.bucket and p.row_id = m.row_id)
),
ops as (
    select bucket, row_id, true as is_live from placed union all select bucket, row_id, false from gone
)
insert into satchel.member (row_id, bucket, op, is_live)
select row_id, bucket, %(op)s + row_number() over (order by bucket, row_id), is_live from ops
on conflict (row_id, bucket) do update set op = excluded.op, is_live = excluded.is_live
""")


async def lock_head(connection: Connection) -> OpId:
    """Take the organization's write lock until the end of the transaction; returns the newest op id.

    Order: every transaction that makes ops takes it before the first op, so op order is commit order.
    """
    row = await (await connection.execute("select op from satchel.head for update")).fetchone()
    assert row is not None  # noqa: S101 - made with the database
    return OpId(row[0])


async def assign_changed(connection: Connection, entity: Entity, families: Mapping[int, Family], op: OpId) -> OpId:
    """Turn the changed rows of one entity into ops of these families (by id); returns the newest op id."""
    if not families:
        return op
    selects = [_wanted(entity, family_id, family) for family_id, family in families.items()]
    statement = _ASSIGN.format(wanted=sql.SQL(" union all ").join(selects))
    cursor = await connection.execute(statement, {"families": list(families), "op": op})
    newest = OpId(op + cursor.rowcount)
    if newest != op:
        await connection.execute("update satchel.head set op = %s", [newest])
    return newest


async def raise_binding(connection: Connection) -> None:
    """Note that users' buckets may be others now."""
    await connection.execute("update satchel.head set binding = binding + 1")


async def take_chunk(connection: Connection, entity: Entity, after_row: int, limit: int) -> int | None:
    """Put the entity's next rows into `changed`, to fill a new family; returns the last one, None at the end."""
    statement = sql.SQL(
        "with chunk as (select _row from {} where _row > %s and _live order by _row limit %s),"
        " put as (insert into changed (row_id) select _row from chunk) select max(_row) from chunk"
    )
    row = await (await connection.execute(statement.format(table(entity.name)), [after_row, limit])).fetchone()
    return None if row is None or row[0] is None else int(row[0])


def _wanted(entity: Entity, family_id: int, family: Family) -> sql.Composed:
    if family.key_attribute is None:
        key: sql.Composable = sql.SQL("''::text")
        has_key: sql.Composable = sql.SQL("")
    else:
        name = column(family.key_attribute, of="t")
        key = sql.SQL("{}::text").format(name)
        has_key = sql.SQL(" and {} is not null").format(name)
    return _WANTED.format(family=sql.Literal(family_id), key=key, table=table(entity.name), has_key=has_key)


__all__: Sequence[str] = ["assign_changed", "lock_head", "raise_binding", "take_chunk"]

"""Assign changed rows to buckets: keys are recomputed for the rows in `changed`, differences become ops.

Set-based, in the transaction that changed the rows and under the organization's write lock. A change goes from family
to family: rows that moved may move the rows related to them. Cost follows the change, not the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

import msgspec
from psycopg import sql

from satchel.buckets.changed import reach, reach_moved
from satchel.buckets.expressions import Expressions
from satchel.database.columns import table
from satchel.database.pool import Connection
from satchel.model.ids import BucketId, OpId
from satchel.model.metadata import Entity
from satchel.model.packing import pack_buckets
from satchel.model.scope import Family, Scope

# `placed`: where the rows belong now - told anew if their content changed, or if they were not there. `gone`: where
# they no longer belong. `content` keeps the op of the last change of content, which a mere move does not make newer.
_ASSIGN = sql.SQL("""
with keyed as materialized (
    select c.row_id, c.is_content, {key} as key
    from changed c join {table} t on t._row = c.row_id and t._live {related}
    where c.entity = {entity}{where}
),
wanted as materialized (
    select {distinct} k.row_id, k.is_content, k.key, md5(k.key::text)::uuid as digest
    from keyed k
),
made as (
    insert into satchel.bucket (family, key, digest)
    select distinct %(family)s::integer, w.key, w.digest from wanted w
    where not exists (select from satchel.bucket b where b.family = %(family)s and b.digest = w.digest)
    returning id, digest
),
placed as materialized (
    select coalesce(b.id, m.id) as bucket, w.row_id, w.is_content
    from wanted w
    left join satchel.bucket b on b.family = %(family)s and b.digest = w.digest
    left join made m on m.digest = w.digest
),
held as materialized (
    select m.bucket, m.row_id
    from changed c
    join satchel.member m on m.row_id = c.row_id and m.is_live and m.family = %(family)s
    where c.entity = {entity}
),
arrived as (
    select p.bucket, p.row_id, p.is_content, h.bucket is null as is_new
    from placed p left join held h on h.bucket = p.bucket and h.row_id = p.row_id
    where p.is_content or h.bucket is null
),
gone as (
    select h.bucket, h.row_id from held h
    where not exists (select from placed p where p.bucket = h.bucket and p.row_id = h.row_id)
),
ops as (
    select bucket, row_id, true as is_live, is_content from arrived
    union all select bucket, row_id, false, false from gone
){noted}
, put as (
insert into satchel.member (row_id, bucket, op, is_live, family, content)
select o.row_id, o.bucket, o.op, o.is_live, %(family)s, case when o.is_content then o.op else coalesce(
    (select max(c.content) from satchel.member c
     where c.row_id = o.row_id and c.is_live and c.family = any(%(families)s)), o.op) end
from (select ops.*, %(op)s + row_number() over (order by bucket, row_id) as op from ops) o
on conflict (row_id, bucket) do update set op = excluded.op, is_live = excluded.is_live, content = excluded.content
returning bucket
)
select count(*), array_agg(distinct bucket), (select array_agg(id) from made) from put
""")
_NOTED = sql.SQL(""",
noted as (
    insert into moved (row_id, family)
    select row_id, %(family)s from arrived where is_new union select row_id, %(family)s from gone
    on conflict do nothing
)""")
_MOST_BUCKETS_BYTES = 4_000  # a notification takes 8,000 bytes, and they travel as base64
_RELATED = sql.SQL("""
    join lateral (
        select distinct m.bucket::text as bucket from {path}
        join satchel.member m on m.row_id = {last}._row and m.is_live and m.family = any(%(sources)s)
        where {tied}
    ) r on true""")


class Placed(msgspec.Struct, frozen=True):
    """What an assignment came to."""

    op: OpId
    """The newest op."""
    buckets: frozenset[BucketId] = frozenset()
    """The buckets that the ops are in."""
    made: frozenset[BucketId] = frozenset()
    """Those that were not there before: nobody holds them, but someone may be bound to them."""
    is_for_all: bool = False
    """Anyone may be concerned."""

    def and_then(self, more: Placed) -> Placed:
        """What both came to."""
        return Placed(more.op, self.buckets | more.buckets, self.made | more.made, self.is_for_all or more.is_for_all)

    def packed(self) -> tuple[bytes | None, bytes | None]:
        """The buckets, and those made among them, for those who wait; None: anyone may be concerned."""
        packed, made = pack_buckets(self.buckets), pack_buckets(self.made)
        is_told = not self.is_for_all and len(packed) + len(made) <= _MOST_BUCKETS_BYTES
        return (packed, made) if is_told else (None, None)


async def lock_head(connection: Connection) -> OpId:
    """Take the organization's write lock until the end of the transaction; returns the newest op id.

    Order: every transaction that makes ops takes it before the first op, so op order is commit order.
    """
    row = await (await connection.execute("select op from satchel.head for update")).fetchone()
    assert row is not None  # noqa: S101 - made with the database
    return OpId(row[0])


async def assign_changed(
    connection: Connection, scope: Scope, ids: Mapping[str, int], entities: Iterable[str], op: OpId
) -> OpId:
    """Turn the changed rows of these entities into ops, also of rows they reach; returns the newest op id.

    `ids`: the standing families by name; those that do not stand are left out.
    """
    reached = set(entities)
    for entity in sorted(reached):
        reached |= await reach(connection, scope, entity)
    return await assign_reached(connection, scope, ids, reached, op)


async def assign_reached(
    connection: Connection, scope: Scope, ids: Mapping[str, int], entities: set[str], op: OpId
) -> OpId:
    """Turn the rows in `changed`, of these entities, into ops; returns the newest op id."""
    placed = Placed(op)
    for family in scope.families:
        if family.name not in ids:
            continue
        sources = [ids[name] for name in family.sources if name in ids]
        if await reach_moved(connection, scope, family, sources):
            entities = entities | {family.entity}
        if family.entity in entities:
            more = await assign_family(connection, scope, family, ids, placed.op)
            placed = placed.and_then(more)
    if placed.op != op:
        await set_head(connection, op, placed)
    return placed.op


async def set_head(connection: Connection, before: OpId, placed: Placed) -> None:
    """Note the newest op, and what the ops behind `before` touched; under the write lock."""
    buckets, made = placed.packed()
    await connection.execute(
        "update satchel.head set op = %(op)s, moved_from = %(from)s, moved_to = %(op)s, moved_buckets = %(moved)s,"
        " made_to = %(op)s, made_buckets = %(made)s, touched_buckets = %(touched)s",
        {
            "op": placed.op,
            "from": before,
            "moved": None if placed.made else buckets,
            "made": made if placed.made else None,
            "touched": buckets if placed.made else None,
        },
    )


async def assign_family(
    connection: Connection, scope: Scope, family: Family, ids: Mapping[str, int], op: OpId
) -> Placed:
    """Turn the rows in `changed` into ops of this family alone; the head gets the newest op id later."""
    statement = _statement(scope, family)
    sources = [ids[name] for name in family.sources if name in ids]
    parameters = {"family": ids[family.name], "families": list(ids.values()), "sources": sources, "op": op}
    row = await (await connection.execute(statement, parameters)).fetchone()
    assert row is not None  # noqa: S101 - an aggregate
    count, buckets, made = row
    return Placed(OpId(op + count), frozenset(buckets or ()), frozenset(made or ()))


async def raise_binding(connection: Connection) -> None:
    """Note that users' buckets may be others now."""
    await connection.execute("update satchel.head set binding = binding + 1")


def _statement(scope: Scope, family: Family) -> sql.Composed:
    needed = {family.entity} | {step.entity for path in family.reaches for step in path}
    entities = {name: scope.entity_by_name[name] for name in sorted(needed)}
    return _statement_text(msgspec.json.encode((family, entities, family.name in scope.sources)))


@lru_cache(maxsize=512)
def _statement_text(definition: bytes) -> sql.Composed:
    family, entities, is_source = msgspec.json.decode(definition, type=tuple[Family, dict[str, Entity], bool])
    expressions = Expressions(entities)
    entity = entities[family.entity]
    keys: list[sql.Composable] = [
        expressions.part(part, entity, "t") for part in family.parts if part is not family.related
    ]
    related: sql.Composable = sql.SQL("")
    if family.related is not None:
        tables, tied, _, last = expressions.joined(family.related.path, entity, "t")
        related = _RELATED.format(path=tables, tied=tied, last=sql.Identifier(last))
        keys.append(sql.SQL("r.bucket"))
    where: sql.Composable = sql.SQL("")
    if family.where is not None:
        where = sql.SQL(" and {}").format(expressions.condition(family.where, entity, "t"))
    return _ASSIGN.format(
        key=sql.SQL("array[{}]::text[]").format(sql.SQL(", ").join(keys)),
        table=table(entity.name),
        entity=sql.Literal(entity.name),
        related=related,
        distinct=sql.SQL("distinct" if family.related else ""),  # else a row has one key
        where=where,
        noted=_NOTED if is_source else sql.SQL(""),
    )
